package fusefs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	onLinux    = true
	mountFlags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
)

// readAhead asks the kernel to read further ahead than its 128 KiB, which only root may. It is no matter if it does
// not.
func readAhead(dir string, bytes int) {
	var st unix.Stat_t
	if os.Geteuid() != 0 || unix.Stat(dir, &st) != nil {
		return
	}
	name := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
	if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
		fmt.Fprint(f, bytes>>10)
		f.Close()
	}
}

// detach frees the folder though files are open.
func detach(dir string) error {
	if os.Geteuid() == 0 {
		return os.NewSyscallError("umount", syscall.Unmount(dir, syscall.MNT_DETACH))
	}
	out, err := exec.Command("fusermount3", "-u", "-z", "--", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fusermount3: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Free ends a mount of this package at dir whose program is gone, and reports whether there was one. Nothing else is touched: the kernel says of
// the open folder whether it is dead, and by the number of its mount of what kind it is. That one is ended, though others should have laid mounts or
// links over its path since; of who is not root fusermount3 wants the path, which is to lead to it still.
func Free(dir string) (freed bool, err error) {
	if _, err := os.ReadDir(dir); !errors.Is(err, syscall.ENOTCONN) {
		return false, nil
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	return freeOpen(fd)
}

// freeOpen is Free of an open folder.
func freeOpen(fd int) (freed bool, err error) {
	self := fmt.Sprintf("/proc/self/fd/%d", fd)
	if _, err := os.ReadDir(self); !errors.Is(err, syscall.ENOTCONN) { // another has freed the folder, and may have mounted there anew
		return false, nil
	}
	id, kind, err := mountOf(fd)
	if err != nil {
		return false, err
	}
	if kind != "fuse."+subtype {
		return false, fmt.Errorf("it is of type %q, and not ours", kind)
	}
	if os.Geteuid() == 0 {
		return true, detach(self)
	}
	path, err := os.Readlink(self)
	if err != nil {
		return false, err
	}
	now, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, os.NewSyscallError("open", err)
	}
	defer unix.Close(now)
	at, _, err := mountOf(now)
	if err == nil && at != id {
		err = fmt.Errorf("%s leads to another mount by now", path)
	}
	if err != nil {
		return false, err
	}
	return true, detach(path)
}

// mountOf is the number of the mount that an open file lies on, and the type of its file system.
func mountOf(fd int) (id, kind string, err error) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(info)) {
		if n, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			id = strings.TrimSpace(n)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if n, rest, _ := strings.Cut(line, " "); n == id {
			_, rest, _ = strings.Cut(rest, " - ")
			kind, _, _ = strings.Cut(rest, " ")
			return id, kind, nil
		}
	}
	return "", "", fmt.Errorf("the kernel lists no mount of number %q", id)
}

// keepFromChildren closes /dev/fuse in programs that are started from here, which go-fuse leaves open where it mounts by itself: while a
// child has it open, the kernel does not notice that this program was killed, and who reads waits for ever.
func keepFromChildren() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		var fd int
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err != nil || to != "/dev/fuse" {
			continue
		}
		if _, err := fmt.Sscan(e.Name(), &fd); err == nil {
			unix.CloseOnExec(fd)
		}
	}
}
