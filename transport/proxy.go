package transport

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A proxy is a ProxyCommand: its standard input and output are the transport.
type proxy struct {
	cmd    *exec.Cmd
	in     *os.File // we write
	out    *os.File // we read
	stderr *tail

	once sync.Once
	err  error // how the command ended, after Close
}

var _ net.Conn = (*proxy)(nil)

// startProxy runs command in a process group of its own, so that Close ends
// its children too and a ^C at our terminal does not reach it before we hang up.
func startProxy(command string) (*proxy, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		inR.Close()
		inW.Close()
		return nil, err
	}
	p := &proxy{cmd: shell(command), in: inW, out: outR, stderr: new(tail)}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = inR, outW, p.stderr
	// A process that left the group may keep stderr open after the kill.
	p.cmd.WaitDelay = time.Second
	err = p.cmd.Start()
	inR.Close()
	outW.Close()
	if err != nil {
		inW.Close()
		outR.Close()
		return nil, fmt.Errorf("start proxy command %q: %w", proxyName(command), err)
	}
	return p, nil
}

// proxyName is the program of a proxy command; its arguments may be secret.
func proxyName(command string) string {
	name, _, _ := strings.Cut(strings.TrimSpace(command), " ")
	return name
}

// Close kills the command and reaps it.
func (p *proxy) Close() error {
	p.once.Do(func() {
		p.in.Close()
		p.out.Close()
		kill(p.cmd)
		p.err = p.cmd.Wait()
	})
	return nil
}

// describe says how the command ended, after Close.
func (p *proxy) describe(command string, err error) error {
	p.Close()
	said := strings.TrimSpace(p.stderr.String())
	if exit, ok := errors.AsType[*exec.ExitError](p.err); ok && exit.Exited() {
		err = fmt.Errorf("%s: %w", exit, err)
	}
	if said != "" {
		return fmt.Errorf("proxy command %q: %w (it said %q)", proxyName(command), err, said)
	}
	return fmt.Errorf("proxy command %q: %w", proxyName(command), err)
}

func (p *proxy) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p *proxy) Write(b []byte) (int, error) { return p.in.Write(b) }

func (p *proxy) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (p *proxy) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (p *proxy) SetDeadline(time.Time) error      { return errNoDeadline }
func (p *proxy) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (p *proxy) SetWriteDeadline(time.Time) error { return errNoDeadline }
