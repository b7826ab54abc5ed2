package fusefs

import (
	"fmt"
	"os"
	"os/exec"
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
