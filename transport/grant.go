package transport

import (
	"context"
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
	// dial deadline runs; ctx ends with it. It may be called for several logins at once. An error ends
	// authentication unless KeyFiles are there to try.
	Key func(ctx context.Context, user string) (key ssh.Signer, note string, err error)
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
	key, note, err := g.Key(a.ctx, a.hop.user)
	a.clock.enter("authenticating")
	switch {
	case a.ctx.Err() != nil:
		a.fatal = context.Cause(a.ctx)
		return a.fatal
	case err != nil && len(a.files) == 0:
		a.fatal = fmt.Errorf("%s: %w", g.Name, err)
		return a.fatal
	case err != nil:
		a.note(fmt.Sprintf("%s: %v", g.Name, err))
		return nil
	}
	a.granted = granted{ssh.FingerprintSHA256(key.PublicKey()), g.Name}
	if note != "" {
		a.granted.note += ": " + note
	}
	a.report.refused = g.Hint
	a.add(key.PublicKey(), "granted by "+g.Name, true, func() (ssh.Signer, error) { return key, nil }, nil)
	return nil
}
