package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestScratchTaken: another run that looks for what is left over has locked the new folder first, and removes it. It is not used.
func TestScratchTaken(t *testing.T) {
	beside := t.TempDir()
	var taken []string
	lock := func(dir string) (func(), error) {
		if len(taken) == 2 {
			return lockFolder(dir)
		}
		taken = append(taken, dir)
		other, err := lockFolder(dir)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(taken) == 2 { // it is gone already
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
		defer other()
		return lockFolder(dir)
	}
	dir, remove, err := newScratch(beside, lock)
	if err != nil || len(taken) != 2 || dir == taken[0] || dir == taken[1] || !isScratch(filepath.Base(dir)) {
		t.Fatalf("%s of %q, %v", dir, taken, err)
	}
	if _, err := lockFolder(dir); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("it is not locked: %v", err)
	}
	remove()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Error(err)
	}
	if _, _, err := newScratch(beside, func(string) (func(), error) { return nil, syscall.EWOULDBLOCK }); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("always taken: %v", err)
	}
	if _, remove, err := newScratch(beside, func(string) (func(), error) { return nil, syscall.ENOLCK }); err != nil {
		t.Errorf("without locks: %v", err)
	} else {
		remove()
	}
}

// TestSweepOthers: folders of other machines and users, and of other names, stay.
func TestSweepOthers(t *testing.T) {
	if _, err := lockFolder(t.TempDir()); err != nil {
		t.Skip(err)
	}
	beside := t.TempDir()
	ours := scratchPrefix() + "12"
	names := []string{ours, ".shotglass-triage-elsewhere-12", scratchPrefix() + "2-12", scratchPrefix()}
	if os.Geteuid() == 0 {
		names = append(names, scratchPrefix()+"34")
	}
	for _, name := range names {
		if err := os.Mkdir(filepath.Join(beside, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(beside, names[4]), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	var said strings.Builder
	(&triageRun{c: newConsole(nil, &said, &said)}).sweep(beside)
	for i, name := range names {
		if _, err := os.Stat(filepath.Join(beside, name)); os.IsNotExist(err) != (i == 0) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Count(said.String(), "removed") != 1 {
		t.Error(said.String())
	}
}
