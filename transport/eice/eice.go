// Package eice reaches instances through an endpoint of EC2 Instance Connect: a WebSocket to AWS carries
// the bytes of one TCP connection, which the endpoint makes inside the VPC.
//
// It calls no API and knows no credentials: an Endpoint is given a function that signs.
package eice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/shotglass-ir/shotglass/transport"
)

// Limits of the service.
const (
	// Longest is how long a tunnel may last; the service takes no longer one.
	Longest = time.Hour
	// Most is how many tunnels an endpoint carries at once. It cannot be raised.
	Most = 20
)

// An Endpoint opens tunnels to one instance. Its fields must not be changed once it is in use.
type Endpoint struct {
	// Name is for messages: the id of the endpoint.
	Name string
	// Sign returns the URL that opens a tunnel to a port: wss://HOST/openTunnel?..., presigned. Whoever has it can
	// open the tunnel until it expires: it is in no error and in no log.
	Sign func(ctx context.Context, port int) (string, error)
	// Client makes the connection; nil: http.DefaultClient. Its proxy is used, redirects are not followed.
	Client *http.Client
	// Longest is the duration that Sign asks for.
	Longest time.Duration
}

// Tunnel is the endpoint for package transport.
func (e *Endpoint) Tunnel(name string) *transport.Tunnel {
	return &transport.Tunnel{Name: name, Longest: e.Longest, Dial: e.Dial}
}

// Dial opens a tunnel. It returns a *RefusedError if the service refuses, and leaves nothing behind when ctx ends.
func (e *Endpoint) Dial(ctx context.Context, port int) (net.Conn, error) {
	signed, err := e.Sign(ctx, port)
	if err != nil {
		return nil, err
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if e.Client != nil {
		client.Transport, client.Jar = e.Client.Transport, e.Client.Jar
	}
	var raw net.Conn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { raw = i.Conn }})
	ws, resp, err := websocket.Dial(ctx, signed, &websocket.DialOptions{HTTPClient: &client})
	if err != nil {
		return nil, openError(ctx, resp, err)
	}
	ws.SetReadLimit(-1) // messages are read as they come, whatever their size
	if t, ok := raw.(interface{ NetConn() net.Conn }); ok {
		raw = t.NetConn() // below TLS, whose Close may wait for a peer that takes nothing
	}
	return &conn{ws: ws, raw: raw, endpoint: e, opened: time.Now()}, nil
}

// A RefusedError is the service's answer where it opens no tunnel.
type RefusedError struct {
	Status    int
	Message   string // untrusted
	RequestID string
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("the service refuses the tunnel: %d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += fmt.Sprintf(": %q", e.Message)
	}
	if e.RequestID != "" {
		text += fmt.Sprintf(" (request %q)", e.RequestID)
	}
	return text
}

// MayPass says that another try may be let in: an endpoint that carries all that it can, a service that failed.
func (e *RefusedError) MayPass() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// Hint implements transport.Hinter.
func (e *RefusedError) Hint() string {
	switch e.Status {
	case http.StatusForbidden, http.StatusUnauthorized:
		return "the credentials need ec2-instance-connect:OpenTunnel on this endpoint, for this port and address; a clock that is minutes wrong is refused, too"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return fmt.Sprintf("an endpoint carries %d connections at once: capture fewer hosts of its VPC together, or with fewer --connections", Most)
	}
	return "see whether the endpoint is there and whole: aws ec2 describe-instance-connect-endpoints"
}

// maxMessage bounds what is kept of an answer.
const maxMessage = 512

// openError is err without the URL, which is a secret for as long as it is valid.
func openError(ctx context.Context, resp *http.Response, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		e := &RefusedError{Status: resp.StatusCode, RequestID: resp.Header.Get("X-Amzn-Requestid")}
		e.RequestID = e.RequestID[:min(len(e.RequestID), 80)]
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
		if e.Message = strings.TrimSpace(string(body)); strings.Contains(strings.ToLower(e.Message), "x-amz-") {
			e.Message = "" // it repeats the URL
		}
		return e
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("connect to the service: %w", u.Err)
	}
	return fmt.Errorf("connect to the service: %w", err)
}
