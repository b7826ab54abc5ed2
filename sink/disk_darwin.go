package sink

import (
	"os"

	"golang.org/x/sys/unix"
)

func renameExclusive(from, to string) error {
	return unix.RenamexNp(from, to, unix.RENAME_EXCL)
}

// startWriteback does nothing: macOS has no call for it, and writes early.
func startWriteback(*os.File, int64, int64) {}
