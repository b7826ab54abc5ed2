package repository

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockHandle locks an open file until it is closed.
func lockHandle(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
}
