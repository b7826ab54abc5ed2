//go:build unix

package convert

import (
	"syscall"
	"testing"
)

// blocks is how much room a file takes.
func blocks(t *testing.T, name string) int64 {
	var s syscall.Stat_t
	if err := syscall.Stat(name, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Blocks) * 512
}
