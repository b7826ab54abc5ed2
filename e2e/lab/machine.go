package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// machine is a QEMU process.
type machine struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer  // readable once done is closed
	done   chan struct{} // closed when the process has been waited for
}

// startQEMU starts a QEMU with one end of a unix socket pair as its descriptor 3,
// and returns the other end: no path, no waiting for it to appear.
func startQEMU(program string, args []string) (*machine, net.Conn, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make QEMU's monitor: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "qmp")
	defer theirs.Close()
	ours := os.NewFile(uintptr(fds[0]), "qmp")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, fmt.Errorf("make QEMU's monitor: %w", err)
	}

	m := &machine{cmd: exec.Command(program, args...), done: make(chan struct{})}
	m.cmd.Stderr = &m.stderr
	m.cmd.ExtraFiles = []*os.File{theirs}
	// QEMU must not outlive us even if we are killed. Its own group, so that a
	// terminal's Ctrl-C reaches only us, who then close it.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}

	if err := m.start(); err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("start QEMU: %w", err)
	}
	return m, conn, nil
}

// start starts the process. done is closed when it has ended.
func (m *machine) start() error {
	started := make(chan error)
	go func() {
		// Pdeathsig is sent when the starting *thread* ends, so that thread is kept
		// here until the process has ended: https://go.dev/issue/27505.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := m.cmd.Start()
		started <- err
		if err == nil {
			_ = m.cmd.Wait() // ProcessState has it
			close(m.done)
		}
	}()
	return <-started
}

// kill ends the process and returns when it is gone.
func (m *machine) kill() {
	_ = m.cmd.Process.Kill() // fails only when it has ended already
	<-m.done
}

var errQEMU = errors.New("the process ended")

// exited tells whether and how the process ended.
func (m *machine) exited() error {
	select {
	case <-m.done:
		return fmt.Errorf("%w: %v: %s", errQEMU, m.cmd.ProcessState, bytes.TrimSpace(m.stderr.Bytes()))
	default:
		return nil
	}
}

// explain turns a failure of the monitor into its cause: unless ctx ended it, QEMU
// is ending and has said why.
func (m *machine) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	m.kill()
	return errors.Join(m.exited(), err)
}
