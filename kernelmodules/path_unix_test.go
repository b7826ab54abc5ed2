//go:build unix

package kernelmodules_test

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// TestPathFIFO: a pipe in the folder must not hang a capture.
func TestPathFIFO(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "lime.ko"), 0o600); err != nil {
		t.Skip(err)
	}
	_, err := newPath(t, dir).Find(t.Context(), testKernel)
	if !errors.Is(err, kernelmodules.ErrNoModule) || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Find: %v", err)
	}
}
