//go:build unix

package main

import (
	"math"

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
