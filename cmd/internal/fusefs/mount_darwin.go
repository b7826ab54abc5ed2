package fusefs

import (
	"fmt"
	"os/exec"
	"strings"
)

const (
	onLinux    = false
	mountFlags = 0
)

func readAhead(string, int) {}

func keepFromChildren() {}

// Free frees nothing here.
func Free(string) (bool, error) { return false, nil }

// detach frees the folder though files are open.
func detach(dir string) error {
	out, err := exec.Command("umount", "-f", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("umount: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
