package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/shotglass-ir/shotglass/cmd/internal/fusefs"
)

// scratchPrefix begins the names of the folders that triages have for their time beside the results.
const scratchPrefix = ".shotglass-triage-"

// scratch makes a folder for the time of this run, beside the results. Folders of runs that were killed are removed before, with what is
// mounted or unpacked there. remove removes it.
func (t *triageRun) scratch() (dir string, remove func(), err error) {
	beside := filepath.Dir(t.o.Folder)
	t.sweep(beside)
	for range 10 {
		if dir, err = os.MkdirTemp(beside, scratchPrefix); err != nil {
			return "", nil, err
		}
		unlock, err := lockFolder(dir)
		if os.IsNotExist(err) { // another run took it for one that is left over
			continue
		}
		if err != nil { // this file system has no locks: the folder is ours alone as long as nobody else can lock it either
			unlock = func() {}
		}
		return dir, func() { os.RemoveAll(dir); unlock() }, nil
	}
	return "", nil, err
}

// sweep removes what runs left beside that were killed: they hold a view, or a copy, of the image. A run that is alive has its
// folder locked. What cannot be removed is told, and no reason to stop.
func (t *triageRun) sweep(beside string) {
	entries, err := os.ReadDir(beside)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), scratchPrefix) {
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
