//go:build unix

package transport

import (
	"os/exec"
	"syscall"
)

func shell(command string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", "exec "+command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func kill(cmd *exec.Cmd) {
	// The leader is not reaped yet, so its group cannot be another's.
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}
