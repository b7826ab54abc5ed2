//go:build unix

package triage

import (
	"os/exec"
	"syscall"
)

// killGroup makes cancelling end all that the program started: vol may be a script that runs Python. Being a group of its own, it
// does not get the terminal's Ctrl-C; the context does.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
