// Package eicetest is the far end of package eice's tunnels, in place of AWS.
package eicetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/shotglass-ir/shotglass/transport/eice"
)

// A Service carries tunnels to one address. The zero value of all but To is useful. Its methods are safe for concurrent use; its fields
// must not be changed once it is started.
type Service struct {
	To     string                                 // where tunnels lead, whatever their port
	Limit  time.Duration                          // how long one lasts; 0: as long as it is used
	Handle func(context.Context, *websocket.Conn) // in place of carrying; nil: it carries
	Refuse func(http.ResponseWriter) bool         // answers a request to open one and returns true, or returns false; nil: none is refused
	Sent   func(tunnel int, bytes int64)          // is told how much a tunnel has carried to the client so far, from the goroutine that carries; nil: nobody is

	*httptest.Server

	mu    sync.Mutex
	ports []string
	open  []*websocket.Conn
}

// Start starts the service, which ends with the test, and returns the endpoint that leads to it.
func (s *Service) Start(tb testing.TB) *eice.Endpoint {
	tb.Helper()
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	tb.Cleanup(s.Close)
	return &eice.Endpoint{Name: "eice-1", Client: s.Client(), Longest: s.Limit, Sign: func(_ context.Context, port int) (string, error) {
		return fmt.Sprintf("wss%s/openTunnel?remotePort=%d&X-Amz-Signature=SECRET", strings.TrimPrefix(s.URL, "https"), port), nil
	}}
}

// Ports are those that were asked for, in order, whether they were refused or not.
func (s *Service) Ports() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ports)
}

// Cut breaks a tunnel without a word; they count from 0 in the order in which they were opened.
func (s *Service) Cut(tunnel int) {
	if ws := s.tunnel(tunnel); ws != nil {
		ws.CloseNow() //nolint:errcheck // it is broken
	}
}

// Expire ends a tunnel as one that is too old.
func (s *Service) Expire(tunnel int) {
	if ws := s.tunnel(tunnel); ws != nil {
		ws.Close(websocket.StatusNormalClosure, "Max tunnel duration reached") //nolint:errcheck // the client is gone then
	}
}

func (s *Service) tunnel(n int) *websocket.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n >= len(s.open) {
		return nil
	}
	return s.open[n]
}

// counted tells of what passes.
type counted struct {
	io.Writer
	sent int64
	tell func(int64)
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.sent += int64(n)
	c.tell(c.sent)
	return n, err
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.ports = append(s.ports, r.URL.Query().Get("remotePort"))
	s.mu.Unlock()
	if s.Refuse != nil && s.Refuse(w) {
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	if s.Handle != nil {
		s.Handle(r.Context(), ws)
		return
	}
	to, err := net.Dial("tcp", s.To)
	if err != nil {
		ws.Close(websocket.StatusInternalError, "no connection to the instance")
		return
	}
	defer to.Close()
	s.mu.Lock()
	n := len(s.open)
	s.open = append(s.open, ws)
	s.mu.Unlock()
	if s.Limit > 0 {
		defer time.AfterFunc(s.Limit, func() { s.Expire(n) }).Stop()
	}
	far := websocket.NetConn(r.Context(), ws, websocket.MessageBinary)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		io.Copy(to, far)
		to.Close()
	})
	io.Copy(&counted{Writer: far, tell: func(sent int64) {
		if s.Sent != nil {
			s.Sent(n, sent)
		}
	}}, to)
	ws.CloseNow()
}
