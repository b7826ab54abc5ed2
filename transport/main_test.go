//go:build unix

package transport_test

import (
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

var nil0 = syscall.Signal(0)

// The test binary is its own ProxyCommand.
func TestMain(m *testing.M) {
	addr := os.Getenv("SHOTGLASS_PROXY")
	if addr == "" {
		os.Exit(m.Run())
	}
	os.WriteFile(os.Getenv("SHOTGLASS_PID"), []byte(strconv.Itoa(os.Getpid())), 0o600)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		os.Exit(1)
	}
	go io.Copy(c, os.Stdin)
	io.Copy(os.Stdout, c)
}
