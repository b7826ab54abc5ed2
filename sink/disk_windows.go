package sink

import (
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// Windows does not follow a link when it creates a file exclusively; Open
// checks what it got.
const (
	noFollow = 0
	nonBlock = 0
)

var fullErrors = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED}

// syncDir does nothing: Windows has no such call, MOVEFILE_WRITE_THROUGH stands
// in for it.
func syncDir(string) error { return nil }

// renameNoReplace renames a file; without MOVEFILE_REPLACE_EXISTING it fails when
// to is taken.
func renameNoReplace(from, to string) error {
	old, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	if err := windows.MoveFileEx(old, name, windows.MOVEFILE_WRITE_THROUGH); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func startWriteback(*os.File, int64, int64) {}

func freeBytes(path string) (int64, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: path, Err: err}
	}
	return int64(min(free, math.MaxInt64)), nil
}

// volume is the drive, or the share of a network.
func volume(path string) string { return filepath.VolumeName(path) }
