package hosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// A Secret is a secret, or says where one comes from. One of its fields is set.
type Secret struct {
	text    string
	File    string   `yaml:"file" is:"file" doc:"The first line of this file."`
	Env     string   `yaml:"env" doc:"This environment variable."`
	Command []string `yaml:"command" doc:"The first line that this program prints; run once, without a shell."`

	turn   chan struct{} // a lock that a context can give up
	answer []byte
	err    error
}

func newSecret() *Secret { return &Secret{turn: make(chan struct{}, 1)} }

// String says where the secret comes from, never what it is.
func (s *Secret) String() string {
	switch {
	case s.File != "":
		return "file " + s.File
	case s.Env != "":
		return "env " + s.Env
	case len(s.Command) > 0:
		return "command " + s.Command[0]
	}
	return "hosts file"
}

// GoString keeps the secret out of %#v and of %+v of what holds it.
func (s *Secret) GoString() string { return s.String() }

// commandTimeout bounds a program that prints a secret: it may ask a person.
const commandTimeout = 2 * time.Minute

// maxSecret bounds what is read of a file that should hold a secret.
const maxSecret = 64 << 10

// Func returns the function that hands the secret out. Files and variables are read now,
// a program runs once, when it is first asked for. lookup is os.LookupEnv.
func (s *Secret) Func(lookup func(string) (string, bool)) (transport.SecretFunc, error) {
	if len(s.Command) > 0 {
		return s.run, nil
	}
	secret := []byte(s.text)
	switch {
	case s.File != "":
		f, err := os.Open(s.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if secret, err = firstLine(f); err != nil {
			return nil, fmt.Errorf("%s: %w", s.File, err)
		}
	case s.Env != "":
		value, ok := lookup(s.Env)
		if !ok || value == "" {
			return nil, fmt.Errorf("environment variable %s is not set", s.Env)
		}
		secret = []byte(value)
	}
	return func(context.Context, string) ([]byte, error) { return bytes.Clone(secret), nil }, nil
}

// run implements transport.SecretFunc. Hosts that share a secret share the answer.
func (s *Secret) run(ctx context.Context, _ string) ([]byte, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.answer != nil || s.err != nil {
		return bytes.Clone(s.answer), s.err
	}
	limited, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(limited, s.Command[0], s.Command[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil {
		s.answer, err = firstLine(bytes.NewReader(out))
	}
	if err != nil {
		s.err = fmt.Errorf("secret from %q: %w", s.Command[0], err)
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
			s.err = fmt.Errorf("%w: %q", s.err, bytes.TrimSpace(exit.Stderr))
		}
	}
	return bytes.Clone(s.answer), s.err
}

// firstLine reads a secret.
func firstLine(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSecret {
		return nil, fmt.Errorf("more than %d bytes are no secret", maxSecret)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, errors.New("the first line is empty")
	}
	return line, nil
}
