package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/shotglass-ir/shotglass/transport"
)

// maxSecret bounds what is read of a file that should hold a secret.
const maxSecret = 64 << 10

// A secretSource says where one kind of secret comes from: the terminal if the user
// asked for that, else a file, else the environment.
type secretSource struct {
	what   string // "password", for messages
	flag   string // --password-file
	file   string // value of flag
	env    string // SHOTGLASS_PASSWORD
	ask    bool
	always bool // ask when there is nothing else
}

// open returns the function that hands the secret out, nil when there is none. A variable
// is taken out of the environment, so that no proxy command inherits it.
func (s secretSource) open(p *prompter) (transport.SecretFunc, string, error) {
	value, inEnv := os.LookupEnv(s.env)
	if inEnv {
		os.Unsetenv(s.env)
	}
	switch {
	case s.ask && s.file != "":
		return nil, "", usagef("--ask-%s and --%s exclude each other", s.what, s.flag)
	case s.ask:
		return p.secret, "terminal", nil
	case s.file != "":
		secret, err := secretFile(s.file)
		if err != nil {
			return nil, "", &usageError{Msg: fmt.Sprintf("--%s: %v", s.flag, err), Fix: "the file holds the secret on its first line, and nobody but you can read it"}
		}
		return fixed(secret), "file", nil
	case inEnv && value != "":
		return fixed([]byte(value)), "env " + s.env, nil
	case s.always:
		return p.secret, "terminal", nil
	default:
		return nil, "none", nil
	}
}

// fixed always hands out the same secret, in a copy that the taker may wipe.
func fixed(secret []byte) transport.SecretFunc {
	return func(context.Context, string) ([]byte, error) { return bytes.Clone(secret), nil }
}

// secretFile reads the first line of a file.
func secretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecret {
		return nil, fmt.Errorf("%s has more than %d bytes: that is no secret", path, maxSecret)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, fmt.Errorf("the first line of %s is empty", path)
	}
	return line, nil
}

// A prompter asks on the terminal, one question at a time, and never twice the same:
// no question comes up once bytes flow, since the same were asked when dialling.
type prompter struct {
	console *console
	asking  chan struct{} // a lock that a context can give up
	mu      sync.Mutex
	known   map[string][]byte
	closed  bool
}

func newPrompter(c *console) *prompter {
	return &prompter{console: c, asking: make(chan struct{}, 1), known: map[string][]byte{}}
}

// close ends asking: from now on only known answers are given.
func (p *prompter) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

func (p *prompter) answer(prompt string) (secret []byte, known, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.known[prompt]
	return bytes.Clone(s), ok, p.closed
}

// secret implements transport.SecretFunc.
func (p *prompter) secret(ctx context.Context, prompt string) ([]byte, error) {
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s, known, closed := p.answer(prompt); known {
		return s, nil
	} else if closed {
		return nil, transport.ErrNoSecret
	}
	back := p.console.lend()
	s, err := readTerminal(ctx, printable(prompt))
	back()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.known[prompt] = bytes.Clone(s)
	p.mu.Unlock()
	return s, nil
}

// readTerminal asks on the controlling terminal, wherever stdin and stderr go.
// Without one there is no secret.
func readTerminal(ctx context.Context, prompt string) ([]byte, error) {
	in, out, err := openTerminal()
	if err != nil {
		return nil, transport.ErrNoSecret
	}
	defer out.Close()
	fd := int(in.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		in.Close()
		return nil, transport.ErrNoSecret
	}
	fmt.Fprintf(out, "%s: ", prompt)
	type answer struct {
		secret []byte
		err    error
	}
	// A read of a terminal cannot be interrupted. When ctx ends, this goroutine stays in
	// it until the process ends, which is what then follows.
	done := make(chan answer, 1)
	go func() {
		s, err := term.ReadPassword(fd)
		done <- answer{s, err}
		in.Close()
	}()
	select {
	case a := <-done:
		fmt.Fprintln(out)
		if errors.Is(a.err, io.EOF) {
			return nil, transport.ErrNoSecret
		}
		return a.secret, a.err
	case <-ctx.Done():
		term.Restore(fd, state)
		fmt.Fprintln(out)
		return nil, context.Cause(ctx)
	}
}
