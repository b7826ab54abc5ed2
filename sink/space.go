package sink

import (
	"errors"
	"fmt"
	"syscall"
)

// A SpaceError says that the place is full. It wraps the system's error, and
// errors.Is(err, syscall.ENOSPC) holds on every system.
type SpaceError struct {
	Written int64 // bytes of this object that were stored
	Free    int64 // bytes left for us when it happened; -1 when not known
	Err     error
}

func (e *SpaceError) Error() string {
	free := "free space not known"
	if e.Free >= 0 {
		free = fmt.Sprintf("%d bytes free", e.Free)
	}
	return fmt.Sprintf("%v (%d bytes were written, %s)", e.Err, e.Written, free)
}

// Unwrap returns the system's error.
func (e *SpaceError) Unwrap() error { return e.Err }

// Is reports whether target is syscall.ENOSPC, whatever the system calls it.
func (e *SpaceError) Is(target error) bool { return target == syscall.ENOSPC }

// spaceError adds what was written and what is free to an error that means
// full.
func (d *Disk) spaceError(err error, written int64) error {
	if !isFull(err) {
		return err
	}
	free, ferr := freeBytes(d.existing())
	if ferr != nil {
		free = -1
	}
	return &SpaceError{Written: written, Free: free, Err: err}
}

func isFull(err error) bool {
	for _, e := range fullErrors {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
