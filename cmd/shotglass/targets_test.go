package main

import (
	"strings"
	"testing"
)

func TestParseHost(t *testing.T) {
	const fails = "fails"
	for _, c := range []struct {
		in         string
		user, host string
		port       int
	}{
		{"web1", "", "web1", 0},
		{"root@web1", "root", "web1", 0},
		{"root@web1:2222", "root", "web1", 2222},
		{"10.0.0.5:22", "", "10.0.0.5", 22},
		{"a@corp.example@web1", "a@corp.example", "web1", 0},
		{`CORP\alice@web1`, `CORP\alice`, "web1", 0},
		{"[::1]", "", "::1", 0},
		{"root@[fe80::1%eth0]:2222", "root", "fe80::1%eth0", 2222},
		{"::1", "", fails, 0},
		{"fe80::1:22", "", fails, 0},
		{"[::1", "", fails, 0},
		{"[::1]22", "", fails, 0},
		{"[::1]:", "", fails, 0},
		{"[web1]:22", "", fails, 0},
		{"web1:", "", fails, 0},
		{"web1:0", "", fails, 0},
		{"web1:65536", "", fails, 0},
		{"web1:+22", "", fails, 0},
		{"web1:022", "", fails, 0},
		{"web1:ssh", "", fails, 0},
		{"@web1", "", fails, 0},
		{"root@", "", fails, 0},
		{"root@-oProxyCommand=x", "", fails, 0},
		{"-l@web1", "", fails, 0},
		{"web1;id", "", fails, 0},
		{"$(id)", "", fails, 0},
		{"a b", "", fails, 0},
		{"a,b", "", fails, 0},
		{"a\x1b[2J", "", fails, 0},
		{"x`id`@web1", "", fails, 0},
	} {
		h, err := parseHost(c.in)
		if c.host == fails {
			if err == nil {
				t.Errorf("parseHost(%q) = %+v, want an error", c.in, h)
			} else if exitCode(err) != exitUsage {
				t.Errorf("parseHost(%q): %v is no usage error", c.in, err)
			}
			continue
		}
		if err != nil || h != (hostSpec{User: c.user, Host: c.host, Port: c.port}) {
			t.Errorf("parseHost(%q) = %+v, %v", c.in, h, err)
		}
	}
	if _, err := parseHost("::1"); !strings.Contains(strings.Join(hints(err), ""), "[::1]:22") {
		t.Errorf("no hint about brackets: %v", hints(err))
	}
}
