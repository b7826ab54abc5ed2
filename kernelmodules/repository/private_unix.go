//go:build unix

package repository

import (
	"fmt"
	"os"
	"syscall"
)

// private refuses a key that is ours and open to others.
func private(info os.FileInfo) error {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) == os.Getuid() && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("is open to others (mode %04o): run chmod 600", info.Mode().Perm())
	}
	return nil
}
