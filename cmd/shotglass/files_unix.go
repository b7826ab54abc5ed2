//go:build unix

package main

import (
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFiles is how many files this process may have open; 0 when there is no limit. The Go
// runtime has raised the soft limit to the hard one by now (package os does, since Go 1.19).
func openFiles() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil || uint64(l.Cur) > math.MaxInt32 {
		return 0
	}
	return int(l.Cur)
}

// hideNewFiles makes that nobody but this user may open what this process creates, until back is called.
func hideNewFiles() (back func()) {
	old := unix.Umask(0o177)
	return func() { unix.Umask(old) }
}

// isOurs reports whether a file belongs to this user.
func isOurs(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// lockFolder locks a folder until unlock is called or this process ends, however it ends. It does not wait.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	// Whoever removed it before it was locked has another one of that name, or none, in its place.
	was, err := f.Stat()
	if err == nil {
		var is os.FileInfo
		if is, err = os.Lstat(dir); err == nil && !os.SameFile(was, is) {
			err = os.ErrNotExist
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
