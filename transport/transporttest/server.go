//go:build unix

package transporttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/shotglass-ir/shotglass/transport"
	"golang.org/x/crypto/ssh"
)

// A Server is an SSH server inside the test process, on the loopback address.
// Set the fields, then call Start. Without Exec it runs commands with /bin/sh on
// this machine.
type Server struct {
	// Exec replaces /bin/sh. It returns the exit status; a negative one ends
	// the session without any, as a server does whose session is killed. It
	// should return when stdin ends.
	Exec func(cmd string, stdin io.Reader, stdout, stderr io.Writer) int
	// Dial replaces net.Dial for forwarded connections.
	Dial func(addr string) (net.Conn, error)
	// HostKeys are what the server presents; nil makes an Ed25519 key.
	HostKeys []ssh.Signer
	// Configure has the last word on authentication and algorithms. A server
	// without it accepts the key of Target, for any user.
	Configure func(*ssh.ServerConfig)
	// NoForwarding refuses direct-tcpip as AllowTcpForwarding no does.
	NoForwarding bool

	tb       testing.TB
	listener net.Listener
	config   *ssh.ServerConfig
	keyFile  string
	wg       sync.WaitGroup

	mu      sync.Mutex
	cond    *sync.Cond
	stalled bool
	closed  bool
	conns   map[*faultConn]struct{}
	procs   map[*exec.Cmd]struct{}
	seen    int
}

// Start listens; the server ends with the test.
func (s *Server) Start(tb testing.TB) *Server {
	tb.Helper()
	s.tb = tb
	s.cond = sync.NewCond(&s.mu)
	s.conns = map[*faultConn]struct{}{}
	s.procs = map[*exec.Cmd]struct{}{}
	if s.HostKeys == nil {
		key, _ := NewKey(tb)
		s.HostKeys = []ssh.Signer{key}
	}
	client, file := NewKey(tb)
	s.keyFile = file
	s.config = &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) == string(client.PublicKey().Marshal()) {
				return nil, nil
			}
			return nil, errors.New("unknown key")
		},
	}
	if s.Configure != nil {
		s.Configure(s.config)
	}
	for _, k := range s.HostKeys {
		s.config.AddHostKey(k)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.listener = l
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(c) })
		}
	})
	tb.Cleanup(s.Close)
	return s
}

// Close ends the server, its connections and its commands.
func (s *Server) Close() {
	s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for p := range s.procs {
		syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	}
	s.mu.Unlock()
	s.Kill()
	s.wg.Wait()
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Target is this server with its key pinned and credentials that it accepts
// unless Configure says otherwise.
func (s *Server) Target() transport.Target {
	return target(s.Addr(), "tester", s.keyFile, s.HostKeys[0].PublicKey())
}

func target(addr, user, keyFile string, hostKey ssh.PublicKey) transport.Target {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	return transport.Target{
		Name: host, Host: host, Port: n, User: user, NoJumps: true,
		Auth:    transport.Auth{KeyFiles: []string{keyFile}, NoAgent: true},
		HostKey: transport.HostKeyPolicy{Fingerprints: []string{ssh.FingerprintSHA256(hostKey)}},
	}
}

// Dialer is one that depends on no configuration of the user's.
func Dialer(tb testing.TB) *transport.SSH {
	return &transport.SSH{ConfigFiles: []string{"none"}, Home: tb.TempDir()}
}

// Kill cuts all connections, as a reset of the host does.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Conn.Close()
		c.dead = true
	}
	s.cond.Broadcast()
}

// Stall stops reading and writing on all connections, without closing them.
func (s *Server) Stall() { s.stall(true) }

// Resume ends Stall.
func (s *Server) Resume() { s.stall(false) }

func (s *Server) stall(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = on
	s.cond.Broadcast()
}

// Conns is the number of live connections.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Seen is the number of connections that were ever made.
func (s *Server) Seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *Server) serve(nc net.Conn) {
	c := &faultConn{Conn: nc, s: s}
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.seen++
	s.mu.Unlock()
	defer func() {
		c.Conn.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	conn, chans, reqs, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return
	}
	defer conn.Close()
	s.wg.Go(func() { ssh.DiscardRequests(reqs) })
	for nch := range chans {
		switch nch.ChannelType() {
		case "session":
			s.wg.Go(func() { s.session(nch) })
		case "direct-tcpip":
			s.wg.Go(func() { s.forward(nch) })
		default:
			nch.Reject(ssh.UnknownChannelType, "unknown channel type")
		}
	}
}

func (s *Server) session(nch ssh.NewChannel) {
	ch, reqs, err := nch.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for r := range reqs {
		if r.Type != "exec" {
			r.Reply(false, nil)
			continue
		}
		var msg struct{ Command string }
		if err := ssh.Unmarshal(r.Payload, &msg); err != nil {
			r.Reply(false, nil)
			return
		}
		r.Reply(true, nil)
		s.wg.Go(func() { ssh.DiscardRequests(reqs) })
		run := s.Exec
		if run == nil {
			run = s.shell
		}
		switch code := run(msg.Command, ch, ch, ch.Stderr()); {
		case code >= 0:
			ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
		case code < -1:
			name := map[int]string{-9: "KILL", -15: "TERM", -2: "INT"}[code]
			ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Signal  string
				Dumped  bool
				Message string
				Lang    string
			}{name, false, "", ""}))
		}
		return
	}
}

// shell runs a command as sshd does; -n stands for signal n.
func (s *Server) shell(line string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return -1
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return -1
	}
	if err := cmd.Start(); err != nil {
		s.mu.Unlock()
		return 127
	}
	s.procs[cmd] = struct{}{}
	s.mu.Unlock()
	go func() {
		io.Copy(in, stdin)
		in.Close()
	}()
	cmd.Wait()
	s.mu.Lock()
	delete(s.procs, cmd)
	s.mu.Unlock()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return -int(ws.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

func (s *Server) forward(nch ssh.NewChannel) {
	var msg struct {
		Host     string
		Port     uint32
		FromHost string
		FromPort uint32
	}
	if s.NoForwarding || ssh.Unmarshal(nch.ExtraData(), &msg) != nil {
		nch.Reject(ssh.Prohibited, "open failed")
		return
	}
	dial := s.Dial
	if dial == nil {
		dial = func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }
	}
	nc, err := dial(net.JoinHostPort(msg.Host, fmt.Sprint(msg.Port)))
	if err != nil {
		nch.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	defer nc.Close()
	ch, reqs, err := nch.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	s.wg.Go(func() {
		ssh.DiscardRequests(reqs)
		nc.Close() // the channel is closed, not only at its end of file
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(nc, ch)
		if half, ok := nc.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	})
	io.Copy(ch, nc)
	ch.CloseWrite()
	ch.Close()
	nc.Close()
	wg.Wait()
}

// A faultConn obeys the faults of its server.
type faultConn struct {
	net.Conn
	s    *Server
	dead bool
}

func (c *faultConn) wait() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for c.s.stalled && !c.dead {
		c.s.cond.Wait()
	}
}

func (c *faultConn) Read(p []byte) (int, error) {
	c.wait()
	n, err := c.Conn.Read(p)
	c.wait()
	return n, err
}

func (c *faultConn) Write(p []byte) (int, error) {
	c.wait()
	return c.Conn.Write(p)
}

// NewKey makes an Ed25519 key and writes it to a file.
func NewKey(tb testing.TB) (ssh.Signer, string) {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return signer, WriteKey(tb, key, "")
}

// WriteKey writes a private key in OpenSSH's format, encrypted if there is a
// passphrase, and returns its path.
func WriteKey(tb testing.TB, key any, passphrase string) string {
	tb.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
