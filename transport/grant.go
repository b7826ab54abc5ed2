package transport

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// A Grant is a key that a service makes known to the target for the moment in which it is used.
type Grant struct {
	// Name says who grants, for messages and Info.
	Name string
	// Hint says what to look at when the target refuses the key all the same.
	Hint string
	// Key has the service grant a key for a login name, and returns it, with what is to be on record of that. It is
	// called for each login, once the host key is accepted and before the first key is offered, while the
	// dial deadline runs; ctx ends with it. It may be called for several logins at once. An error is a
	// *GrantError of Dial, unless KeyFiles are there to try; one with a method MayPass() bool says by it whether
	// that is worth another try.
	Key func(ctx context.Context, user string) (key ssh.Signer, note string, err error)
}

// A GrantError says that a service granted no key: nobody at the target has refused anything.
type GrantError struct {
	Name       string // of the Grant
	User, Addr string
	Err        error
}

func (e *GrantError) Error() string {
	return fmt.Sprintf("%s granted no key for %q on %s: %v", e.Name, e.User, e.Addr, e.Err)
}

func (e *GrantError) Unwrap() error { return e.Err }

// MayPass says whether it may be another time: unless a MayPass of the cause says no.
func (e *GrantError) MayPass() bool {
	cause, ok := errors.AsType[mayPasser](e.Err)
	return !ok || cause.MayPass()
}

// granted is a key that was granted for a login.
type granted struct {
	key  string // its fingerprint
	note string
}

// grant has a key granted, and offers it first.
func (a *authenticator) grant() error {
	g := a.hop.auth.Grant
	if g == nil {
		return nil
	}
	a.clock.enter("waiting for " + g.Name + " to grant a key")
	a.granting = true
	key, note, err := g.Key(a.ctx, a.hop.user)
	if a.ctx.Err() == nil {
		a.clock.enter("authenticating")
	}
	switch {
	case a.ctx.Err() != nil:
		a.fatal = context.Cause(a.ctx)
		return a.fatal
	case err != nil && len(a.files) == 0:
		a.fatal = &GrantError{g.Name, a.hop.user, a.hop.addr(), err}
		return a.fatal
	case err != nil:
		a.granting = false
		a.note(fmt.Sprintf("%s: %v", g.Name, err))
		return nil
	}
	a.granting = false
	a.granted = granted{ssh.FingerprintSHA256(key.PublicKey()), g.Name}
	if note != "" {
		a.granted.note += ": " + note
	}
	a.report.refused = g.Hint
	a.add(key.PublicKey(), "granted by "+g.Name, true, func() (ssh.Signer, error) { return key, nil }, nil)
	return nil
}
