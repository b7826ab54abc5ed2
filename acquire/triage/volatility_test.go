//go:build unix

package triage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Volatility that is a script, which runs another program that hangs, ends when the context does, and so does that program.
func TestHangs(t *testing.T) {
	program, _ := install(t, "#!/bin/sh\nsleep 100 &\necho $! >\"$(dirname \"$0\")/pid.new\"; mv \"$(dirname \"$0\")/pid.new\" \"$(dirname \"$0\")/pid\"\nwait\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	pidFile, enough := filepath.Join(filepath.Dir(program), "pid"), errors.New("enough")
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(pidFile); err == nil {
				cancel(enough)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	begin := time.Now()
	err := (&Options{Volatility: program}).Find(ctx)
	if !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("it took %s", d)
	}
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if !gone(strings.TrimSpace(string(b))) {
		t.Error("what it started runs on")
	}
}

// gone waits until a process has ended.
func gone(pid string) bool {
	for range 500 {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// Where the first plugin finds no kernel, no other one looks for it through the whole image.
func TestNoKernel(t *testing.T) {
	program, calls := install(t, strings.Replace(fake, "case $plugin in\n", `case $plugin in
linux.pslist.PsList) echo "Unable to validate the plugin requirements: ['plugins.PsList.kernel.layer_name', 'plugins.PsList.kernel.symbol_table_name']" >&2; exit 1 ;;
`, 1))
	rep := new(Report)
	err := Run(t.Context(), Options{Image: "/x", Symbols: "/x", Folder: filepath.Join(t.TempDir(), "out"), Volatility: program, Plugins: []string{Lsmod, PsList}}, rep)
	if err != nil || strings.Count(calls(), "\n") != 1 {
		t.Fatalf("%v, calls %q", err, calls())
	}
	if !strings.Contains(rep.Plugins[1].Error, "the symbols are another kernel's") || rep.Plugins[0].Error != "not run: linux.pslist.PsList found no kernel in the image" {
		t.Errorf("%+v", rep.Plugins)
	}
}
