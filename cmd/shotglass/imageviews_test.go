package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
)

func TestViewBase(t *testing.T) {
	for name, want := range map[string]string{
		"/evidence/web1-mem.lime.zst":              "web1-mem",
		"web1-mem.lime.zst.age":                    "web1-mem",
		"s3://bucket/case/web1-mem.lime.s2":        "web1-mem",
		"web1-mem.lime.partial":                    "web1-mem",
		"web1-mem.lime.zst.json":                   "web1-mem",
		"memory.bin":                               "memory.bin",
		".lime":                                    "memory",
		"s3://bucket/x/web1-mem.lime.partial.json": "web1-mem",
	} {
		if got := viewBase(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestListenAddress(t *testing.T) {
	for s, want := range map[string]struct {
		network, address string
		open             bool
	}{
		"127.0.0.1:10809":    {"tcp", "127.0.0.1:10809", false},
		"localhost:1":        {"tcp", "127.0.0.1:1", false},
		"[::1]:0":            {"tcp", "[::1]:0", false},
		"[::ffff:1.2.3.4]:1": {"tcp", "[::ffff:1.2.3.4]:1", true},
		"0.0.0.0:1":          {"tcp", "0.0.0.0:1", true},
		"10.1.2.3:1":         {"tcp", "10.1.2.3:1", true},
		":1":                 {"tcp", ":1", true},
		"unix:/run/x":        {"unix", "/run/x", false},
	} {
		network, address, open, err := listenAddress(s)
		if err != nil || network != want.network || address != want.address || open != want.open {
			t.Errorf("%s: %s %s %t, %v", s, network, address, open, err)
		}
	}
	for _, s := range []string{"", "10809", "unix:", "example.org:1"} {
		if _, _, _, err := listenAddress(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

// The same failure is told once in a while, another at once, and damage where it is met.
func TestNagger(t *testing.T) {
	var stderr bytes.Buffer
	n := &nagger{c: newConsole(nil, nil, &stderr), said: map[string]time.Time{}}
	for range 5 {
		n.failed("x.lime", 0, errors.New("the server is gone"))
		n.failed("x.lime", 0, fmt.Errorf("frame 1: %w", frame.ErrDigest))
	}
	n.failed("x.lime", 7, errors.New("no bucket"))
	n.damage(errors.New("frame 1"))
	want := "shotglass: error: x.lime: read at 0 failed: the server is gone; whoever read it was told, and may try again\n" +
		"shotglass: error: x.lime: read at 7 failed: no bucket; whoever read it was told, and may try again\n" +
		"shotglass: error: damaged: frame 1\n"
	if got := stderr.String(); got != want {
		t.Errorf("told:\n%s", got)
	}
	if n.damages() != 1 || n.failures() != 6 {
		t.Errorf("%d damages, %d failures", n.damages(), n.failures())
	}
}
