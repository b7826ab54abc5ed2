package transport

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
)

// MayPass reports whether an error of Dial may be gone when it is tried again: nobody answered,
// the connection was refused or cut before anybody logged in, as sshd does when too many connect
// at once (MaxStartups), a name server was away, or a service that grants a key or opens a tunnel was. Where a login was begun it is never so: each
// try of a wrong password counts against the account. Nor is it of host keys, of algorithms,
// and of proxy commands, which have logins of their own.
func MayPass(err error) bool {
	_, ok := errors.AsType[*passingError](err)
	return ok
}

// A passingError marks what MayPass reports.
type passingError struct{ error }

func (e *passingError) Unwrap() error { return e.error }

// A mayPasser knows of itself whether it may be gone when it is tried again.
type mayPasser interface {
	error
	MayPass() bool
}

// mark marks the error of a hop that may pass.
func (a *attempt) mark(parent context.Context, err error) error {
	if parent.Err() != nil || a.auth.started && !a.auth.granting || a.hop.proxyCommand != "" || !passing(err) {
		return err
	}
	return &passingError{err}
}

// passing knows the errors of connections. One that ends before it is of use is io.EOF, or a
// failed read, however the server put it to us.
func passing(err error) bool {
	if _, ok := errors.AsType[*HostKeyError](err); ok {
		return false
	}
	if e, ok := errors.AsType[mayPasser](err); ok {
		return e.MayPass()
	}
	for _, e := range []error{os.ErrDeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, ErrConnRefused} {
		if errors.Is(err, e) {
			return true
		}
	}
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || errors.Is(err, fs.ErrPermission) {
		return false
	}
	if e, ok := errors.AsType[*net.DNSError](op); ok {
		return !e.IsNotFound // a name that is not there will not be there in a minute
	}
	if _, ok := errors.AsType[*net.AddrError](op); ok {
		return false
	}
	return true
}
