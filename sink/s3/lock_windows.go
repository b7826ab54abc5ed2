package s3

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lock holds a byte far behind the file's end, so that others can read it meanwhile, or fails at once.
func lock(f *os.File) error {
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errBusy
	}
	return os.NewSyscallError("LockFileEx", err)
}

func syncDir(string) error { return nil } // NTFS journals names itself
