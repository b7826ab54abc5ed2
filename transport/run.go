package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Run implements Conn.
func (c *conn) Run(ctx context.Context, cmd *Cmd) error {
	line, err := commandLine(cmd.Argv)
	if err != nil {
		return err
	}
	name := cmd.Argv[0]
	if ctx.Err() != nil {
		return fmt.Errorf("run %q: %w", name, ctxError(ctx))
	}
	s := &session{conn: c, line: line, result: make(chan error, 4)}
	s.stdin = cmd.Stdin
	s.stdout.w = cmd.Stdout
	s.stderr.w = cmd.Stderr
	if cmd.Stdout == nil {
		s.stdout.w = io.Discard
	}
	if cmd.Stderr == nil {
		s.stderr.w = &s.tail
	}
	// Close does not wait for this goroutine, since it may sit in a writer of
	// the caller's; Run does, and what Run leaves behind ends with the connection.
	go func() { s.result <- s.run() }()
	select {
	case err = <-s.result:
	case <-ctx.Done():
		select {
		case err = <-s.result:
		default:
			err = ctxError(ctx)
		}
	}
	s.abandon()
	if err != nil {
		if _, ok := errors.AsType[*ExitError](err); ok {
			return err
		}
		return fmt.Errorf("run %q: %w", name, err)
	}
	return nil
}

// A session is one command. Its goroutines can be left behind on a link that
// stalls; they then touch nothing of the caller's and end with the connection.
type session struct {
	conn           *conn
	line           string
	stdin          io.Reader
	stdout, stderr gate
	tail           tail
	result         chan error // the first one counts

	mu        sync.Mutex
	ch        ssh.Channel
	abandoned bool
}

// run opens the channel, starts the command and waits for its end.
func (s *session) run() error {
	ch, reqs, err := s.conn.client().OpenChannel("session", nil)
	if err != nil {
		return fmt.Errorf("open session: %w", s.conn.because(err))
	}
	s.mu.Lock()
	s.ch = ch
	abandoned := s.abandoned
	s.mu.Unlock()
	defer ch.Close()
	if abandoned {
		go ssh.DiscardRequests(reqs)
		return nil
	}

	status := make(chan exitStatus, 1)
	var wg sync.WaitGroup
	wg.Go(func() { status <- waitExit(reqs) })
	ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{s.line}))
	if err != nil || !ok {
		ch.Close()
		if err == nil {
			return errors.New("the server refuses to run commands")
		}
		return fmt.Errorf("start: %w: %w", ErrNoExitStatus, s.conn.because(err))
	}
	// The copier of stdin is not waited for: its Read may block for ever.
	go s.copyIn(ch)
	wg.Go(func() { s.copyOut(&s.stdout, ch, "stdout", 128<<10) })
	wg.Go(func() { s.copyOut(&s.stderr, ch.Stderr(), "stderr", 32<<10) })
	wg.Wait()

	st := <-status
	// An exit status may overtake output that is then lost with the connection.
	// A channel that the server closed answers a request with io.EOF at once;
	// one that died with its connection leaves a read error there, or fails otherwise.
	_, err = ch.SendRequest("keepalive@openssh.com", false, nil)
	if !errors.Is(err, io.EOF) || s.conn.raw().readErr() != nil {
		return fmt.Errorf("%w: %w", ErrNoExitStatus, s.conn.because(err))
	}
	if !st.known {
		return fmt.Errorf("%w: the server closed the session", ErrNoExitStatus)
	}
	if st.code == 0 && st.signal == "" {
		return nil
	}
	exit := &ExitError{Code: st.code, Signal: st.signal}
	if s.stderr.w == io.Writer(&s.tail) {
		exit.Stderr = s.tail.String()
	}
	return exit
}

func (s *session) copyIn(ch ssh.Channel) {
	if s.stdin != nil {
		src := &readErrors{r: s.stdin}
		io.Copy(struct{ io.Writer }{ch}, src)
		if src.err != nil {
			// Not end of file: the command must not take it for the end.
			s.fail(fmt.Errorf("read stdin: %w", src.err))
			return
		}
	}
	ch.CloseWrite()
}

// copyOut drains r to its end, whatever happens to the writer.
func (s *session) copyOut(g *gate, r io.Reader, name string, size int) {
	buf := make([]byte, size)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if werr := g.write(buf[:n]); werr != nil {
				s.fail(fmt.Errorf("write %s: %w", name, werr))
				g.shut()
			}
		}
		if err != nil {
			return
		}
	}
}

// fail makes Run return err now and closes the channel.
func (s *session) fail(err error) {
	select {
	case s.result <- err:
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		ch := s.ch
		s.conn.start(func() { ch.Close() })
	}
}

// abandon takes the caller's writers away from the session and closes its
// channel, which can block on a link that stalls.
func (s *session) abandon() {
	s.stdout.shut()
	s.stderr.shut()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	if s.ch != nil {
		ch := s.ch
		s.conn.start(func() { ch.Close() })
	}
}

// A gate lets writes through until it is shut; shut waits for the one that
// is under way.
type gate struct {
	mu   sync.Mutex
	w    io.Writer
	shot bool
}

func (g *gate) write(p []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shot {
		return nil
	}
	n, err := g.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shot = true
}

// readErrors keeps the error of a reader apart from that of the writer that it
// is copied to.
type readErrors struct {
	r   io.Reader
	err error
}

func (r *readErrors) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

type exitStatus struct {
	known  bool
	code   int
	signal string
}

// signals are the numbers of the names in RFC 4254 section 6.10, on Linux.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
	"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15,
}

// waitExit reads a channel's requests to their end.
func waitExit(reqs <-chan *ssh.Request) exitStatus {
	var st exitStatus
	for r := range reqs {
		switch r.Type {
		case "exit-status":
			if len(r.Payload) >= 4 {
				st = exitStatus{known: true, code: int(binary.BigEndian.Uint32(r.Payload))}
			}
		case "exit-signal":
			var msg struct {
				Signal string
				Rest   []byte `ssh:"rest"`
			}
			if ssh.Unmarshal(r.Payload, &msg) == nil {
				st = exitStatus{known: true, code: 128 + signals[msg.Signal], signal: clean(msg.Signal)}
			}
		}
		if r.WantReply {
			r.Reply(false, nil)
		}
	}
	return st
}

// clean makes a remote word fit for a message.
func clean(s string) string {
	s = s[:min(len(s), 64)]
	if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@.-") == "" && s != "" {
		return s
	}
	return strconv.Quote(s)
}

// ctxError is the error of a context that ended, with its cause.
func ctxError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
