package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"

	"github.com/shotglass-ir/shotglass/cmd/internal/fusefs"
)

// scratchPrefix begins the names of the folders that triages have for their time beside the results. The name of the machine follows: over
// a network others may have the place too, and locks of its folders may be unknown to them.
func scratchPrefix() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	plain := func(r rune) rune {
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.' || r == '-') {
			return r
		}
		return '_'
	}
	return ".shotglass-triage-" + strings.Map(plain, host) + "-"
}

// isScratch reports whether a folder has a name that this machine's triages give theirs.
func isScratch(name string) bool {
	number, ok := strings.CutPrefix(name, scratchPrefix())
	return ok && number != "" && strings.Trim(number, "0123456789") == "" // web-2 is not web
}

// scratch makes a folder for the time of this run, beside the results. Folders of runs that were killed are removed before, with what is
// mounted or unpacked there. remove removes it.
func (t *triageRun) scratch() (dir string, remove func(), err error) {
	beside := filepath.Dir(t.o.Folder)
	t.sweep(beside)
	return newScratch(beside, lockFolder)
}

// newScratch makes a folder that no other run takes for one that is left over.
func newScratch(beside string, lock func(dir string) (unlock func(), err error)) (dir string, remove func(), err error) {
	for range 10 {
		if dir, err = os.MkdirTemp(beside, scratchPrefix()); err != nil {
			return "", nil, err
		}
		var unlock func()
		unlock, err = lock(dir)
		if os.IsNotExist(err) || errors.Is(err, syscall.EWOULDBLOCK) { // another run took it for one, and removes it
			continue
		}
		if err != nil { // this file system has no locks: the folder is ours alone as long as nobody else can lock it either
			unlock = func() {}
		}
		return dir, func() { os.RemoveAll(dir); unlock() }, nil
	}
	return "", nil, fmt.Errorf("%s: other triages take its new folders: %w", beside, err)
}

// sweep removes what runs of this user and machine left beside that were killed: they hold a view, or a copy, of the image. A run that is alive has its
// folder locked. What cannot be removed is told, and no reason to stop.
func (t *triageRun) sweep(beside string) {
	entries, err := os.ReadDir(beside)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !isScratch(e.Name()) {
			continue
		}
		if info, err := e.Info(); err != nil || !isOurs(info) { // who made it could have changed what is removed
			continue
		}
		dir := filepath.Join(beside, e.Name())
		unlock, err := lockFolder(dir)
		if err != nil {
			continue // it is another run's, or another user's
		}
		if err := discard(dir); err != nil {
			t.c.warn("%s is left of a triage that was killed: %v: %s && rm -r %s", dir, err, unmountHint(filepath.Join(dir, viewFolder)), dir)
		} else {
			t.c.info("removed %s, which was left of a triage that was killed", dir)
		}
		unlock()
	}
}

// discard removes a folder of a run that is gone. Nothing that is mounted there is gone into.
func discard(dir string) error {
	view := filepath.Join(dir, viewFolder)
	if _, err := fusefs.Free(view); err != nil {
		return err
	}
	if err := os.Remove(view); err != nil && !os.IsNotExist(err) { // it is empty, unless something is mounted
		return err
	}
	return os.RemoveAll(dir)
}
