//go:build unix

package eice_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/eice"
	"github.com/shotglass-ir/shotglass/transport/eice/eicetest"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// One connection through the tunnel is as any other, to the in-process server and to the real sshd.
func TestConformance(t *testing.T) {
	s := new(transporttest.Server).Start(t)
	for name, target := range map[string]transport.Target{"in-process server": s.Target(), "OpenSSH": transporttest.OpenSSHD(t).Target()} {
		t.Run(name, func(t *testing.T) {
			svc := &eicetest.Service{To: fmt.Sprintf("127.0.0.1:%d", target.Port)}
			e := svc.Start(t)
			target.Tunnel = e.Tunnel("a tunnel of " + e.Name)
			transporttest.Test(t, func(t *testing.T) transport.Conn {
				c, err := transporttest.Dialer(t).Dial(t.Context(), target)
				if err != nil {
					t.Fatal(err)
				}
				if in := c.Info(); in.Tunnel != "a tunnel of eice-1" || svc.Ports()[0] != fmt.Sprint(target.Port) {
					t.Errorf("%+v, ports %q", in, svc.Ports())
				}
				return c
			})
		})
	}
}

// Bytes arrive whatever the size of the messages that they come in, none of ours is larger than AWS's client's.
func TestFrames(t *testing.T) {
	data := make([]byte, 9<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	var got bytes.Buffer
	most := 0
	svc := &eicetest.Service{Handle: func(ctx context.Context, ws *websocket.Conn) {
		ws.SetReadLimit(-1)
		for got.Len() < len(data) {
			_, p, err := ws.Read(ctx)
			if err != nil {
				t.Errorf("read: %v", err)
				return
			}
			most = max(most, len(p))
			got.Write(p)
		}
		for rest, n := data, 1; len(rest) > 0; n = min(n*7, 8<<20) { // 1 byte to 8 MiB
			n = min(n, len(rest))
			ws.Write(ctx, websocket.MessageBinary, nil)
			if err := ws.Write(ctx, websocket.MessageBinary, rest[:n]); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			rest = rest[n:]
		}
		ws.Close(websocket.StatusGoingAway, "bye")
	}}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := svc.Start(t).Dial(ctx, 22)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel() // the dial's, not the connection's
	if n, err := c.Write(data); n != len(data) || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	back, err := io.ReadAll(c)
	if sha256.Sum256(back) != sha256.Sum256(data) || sha256.Sum256(got.Bytes()) != sha256.Sum256(data) {
		t.Errorf("%d bytes came back, %d arrived", len(back), got.Len())
	}
	ended, ok := errors.AsType[*eice.EndedError](err)
	if !ok || ended.Code != 1001 || ended.Reason != "bye" || !errors.Is(err, io.ErrUnexpectedEOF) || most > 65000 {
		t.Errorf("ended by %v, largest message %d", err, most)
	}
	for _, err := range []error{c.SetDeadline(time.Now()), c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})} {
		if !errors.Is(err, os.ErrNoDeadline) {
			t.Errorf("a deadline: %v", err)
		}
	}
}

// Who does not read is not sent more than buffers hold; Close ends a write that waits for that, and does not wait itself.
func TestBackpressure(t *testing.T) {
	stop := make(chan struct{})
	e := (&eicetest.Service{Handle: func(context.Context, *websocket.Conn) { <-stop }}).Start(t)
	defer close(stop)
	c, err := e.Dial(t.Context(), 22)
	if err != nil {
		t.Fatal(err)
	}
	var sent int
	done := make(chan error)
	progress := make(chan struct{}, 1<<16)
	go func() {
		p := make([]byte, 1<<20)
		for {
			n, err := c.Write(p)
			sent += n
			if err != nil {
				done <- err
				return
			}
			progress <- struct{}{}
		}
	}()
	for blocked := false; !blocked; {
		select {
		case <-progress:
		case <-time.After(500 * time.Millisecond):
			blocked = true
		}
	}
	began := time.Now()
	c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) || sent > 64<<20 || time.Since(began) > 3*time.Second {
		t.Errorf("%v after %s, %d bytes sent", err, time.Since(began), sent)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

// Pings are answered while somebody reads. Text is no part of a tunnel.
func TestPingAndText(t *testing.T) {
	pinged := make(chan error, 1)
	e := (&eicetest.Service{Handle: func(ctx context.Context, ws *websocket.Conn) {
		ctx = ws.CloseRead(ctx)
		pinged <- ws.Ping(ctx)
		ws.Write(ctx, websocket.MessageText, []byte("hello"))
		<-ctx.Done()
	}}).Start(t)
	c, err := e.Dial(t.Context(), 22)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 10)); n != 0 || err == nil || !strings.Contains(err.Error(), "sends text") {
		t.Errorf("%d, %v", n, err)
	}
	if err := <-pinged; err != nil {
		t.Errorf("ping: %v", err)
	}
}

// A tunnel that the service cuts is named as what ended the connection, with the limit.
func TestCut(t *testing.T) {
	s := new(transporttest.Server).Start(t)
	target := s.Target()
	target.Tunnel = (&eicetest.Service{To: s.Addr(), Limit: 1500 * time.Millisecond}).Start(t).Tunnel("eice-1")
	c, err := transporttest.Dialer(t).Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Run(t.Context(), &transport.Cmd{Argv: []string{"cat", "/dev/zero"}, Stdout: io.Discard})
	if want := `connection lost: eice-1 ended the tunnel after 2s (code 1000): "Max tunnel duration reached"; a tunnel lasts 1.5s at most`; err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, transport.ErrNoExitStatus) {
		t.Errorf("%v\nwant %s", err, want)
	}
	<-c.Done()
	if err := c.Err(); err == nil || !strings.Contains(err.Error(), "Max tunnel duration") {
		t.Errorf("%v", err)
	}
}

// What goes wrong before the tunnel is there; the presigned URL is in no error.
func TestRefused(t *testing.T) {
	status, body := 0, ""
	svc := &eicetest.Service{To: "127.0.0.1:1", Refuse: func(w http.ResponseWriter) bool {
		if status == 0 {
			return false
		}
		w.Header().Set("X-Amzn-Requestid", "r-1")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		io.WriteString(w, body)
		return true
	}}
	e := svc.Start(t)
	check := func(err error, passes bool, wants ...string) {
		t.Helper()
		if err == nil || strings.Contains(err.Error(), "SECRET") || transport.MayPass(err) != passes {
			t.Errorf("%v; may pass %t", err, transport.MayPass(err))
			return
		}
		for _, w := range wants {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v\nwant %s", err, w)
			}
		}
	}
	target := new(transporttest.Server).Start(t).Target()
	target.Tunnel = e.Tunnel("the tunnel")
	dial := func() error {
		c, err := transporttest.Dialer(t).Dial(t.Context(), target)
		if err == nil {
			c.Close()
		}
		return err
	}
	for code, hint := range map[int]string{403: "ec2-instance-connect:OpenTunnel", 429: "20 connections at once", 503: "20 connections at once", 500: "describe-", 404: "describe-instance-connect-endpoints", 301: "describe-"} {
		status, body = code, strings.Repeat("\x1b[31mno", 1000)
		before := len(svc.Ports())
		err := dial()
		check(err, code == 429 || code >= 500, "the tunnel: the service refuses the tunnel: "+fmt.Sprint(code), `\x1b[31m`, `(request "r-1")`)
		if h, ok := errors.AsType[transport.Hinter](err); !ok || !strings.Contains(h.Hint(), hint) || len(err.Error()) > 3000 || len(svc.Ports()) != before+1 {
			t.Errorf("%d: %d bytes, %d requests, hint of %v", code, len(err.Error()), len(svc.Ports())-before, h)
		}
	}
	status, body = 400, "cannot read /openTunnel?x-amz-credential=AKIASECRET&X-Amz-Signature=SECRET"
	check(dial(), false, `the service refuses the tunnel: 400 Bad Request (request "r-1")`)
	status = 0
	check(dial(), true, `eice-1 ended the tunnel after 0s (code 1011): "no connection to the instance"`)

	sign := e.Sign
	e.Sign = func(context.Context, int) (string, error) { return "", errors.New("no credentials") }
	check(dial(), false, "the tunnel: no credentials")
	e.Sign, e.Client = sign, nil // which does not trust the service's certificate
	check(dial(), false, "connect to the service: ", "certificate")
	e.Client = svc.Client()
	svc.Close()
	check(dial(), true, "connect to the service: ", "refused")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Dial(ctx, 22); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
