//go:build linux || darwin

package sink

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	noFollow = unix.O_NOFOLLOW
	nonBlock = unix.O_NONBLOCK // a planted FIFO must not block Open
)

// fullErrors are the ways to say that the disk, or our share of it, is full.
var fullErrors = []error{syscall.ENOSPC, syscall.EDQUOT}

// syncDir makes the names in a folder durable. File systems that cannot sync a
// folder (CIFS, some FUSE ones) say EINVAL or ENOTSUP: there is no more to do.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// Allocated returns how many bytes of the file the disk holds: a file with holes has fewer than its size.
func (r *diskReader) Allocated() (int64, error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(r.Fd()), &s); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	return int64(s.Blocks) * 512, nil
}

// renameNoReplace renames a file in its folder; it fails with EEXIST when to is
// taken.
func renameNoReplace(from, to string) error {
	err := renameExclusive(from, to)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP):
		return linkNoReplace(from, to)
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// linkNoReplace renames by link and unlink: for NFS, and kernels without
// renameat2. link never replaces (POSIX).
func linkNoReplace(from, to string) error {
	err := os.Link(from, to)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTSUP) {
		return fmt.Errorf("cannot rename without the risk of replacing a file: %w", err)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(from); err != nil {
		return errors.Join(err, os.Remove(to)) // two names would look like two objects
	}
	return nil
}

func freeBytes(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	blocks, size := uint64(s.Bavail), uint64(s.Bsize) //nolint:unconvert // the types differ between systems
	if size != 0 && blocks > math.MaxInt64/size {
		return math.MaxInt64, nil
	}
	return int64(blocks * size), nil
}

// volume is the number of the device. A folder that cannot be looked at stands for
// itself.
func volume(path string) string {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return path
	}
	return fmt.Sprintf("device %d", s.Dev)
}
