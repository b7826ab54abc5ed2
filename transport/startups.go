package transport

import (
	"context"
	"sync"
)

// maxStartups is how many connections to one address are in the handshake or the login at once.
// From ten on sshd drops some of them at random (MaxStartups 10:30:100), which a jump host in
// front of many targets would do; two are left to others.
const maxStartups = 8

// startups pace the connections to each address.
type startups struct {
	mu sync.Mutex
	at map[string]*startup
}

type startup struct {
	slots chan struct{}
	users int
}

// enter waits for a turn at addr; leave ends it.
func (s *startups) enter(ctx context.Context, addr string) (leave func(), err error) {
	s.mu.Lock()
	u := s.at[addr]
	if u == nil {
		u = &startup{slots: make(chan struct{}, maxStartups)}
		if s.at == nil {
			s.at = map[string]*startup{}
		}
		s.at[addr] = u
	}
	u.users++
	s.mu.Unlock()
	forget := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if u.users--; u.users == 0 {
			delete(s.at, addr)
		}
	}
	select {
	case u.slots <- struct{}{}:
		return func() { <-u.slots; forget() }, nil
	case <-ctx.Done():
		forget()
		return nil, ctxError(ctx)
	}
}
