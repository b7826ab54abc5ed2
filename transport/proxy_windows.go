package transport

import (
	"os/exec"
	"syscall"
)

func shell(command string) *exec.Cmd {
	cmd := exec.Command("cmd")
	// cmd.exe does not take arguments apart as other programs do.
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: "cmd /C " + command}
	return cmd
}

func kill(cmd *exec.Cmd) { cmd.Process.Kill() }
