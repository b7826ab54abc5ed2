//go:build unix

package repository

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockHandle locks an open file until it is closed.
func lockHandle(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
