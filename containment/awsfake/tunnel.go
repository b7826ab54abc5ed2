package awsfake

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/coder/websocket"
)

// A ConnectEndpoint is one of EC2 Instance Connect. Its tunnels are real ones.
type ConnectEndpoint struct {
	ID, VPC, Subnet, State string
	// Dial connects to an address and port of the VPC; nil: nobody answers there.
	Dial func(ctx context.Context, address string, port int) (net.Conn, error)
	// Cut ends tunnels after this, whatever was asked for; 0: it does not. It passes in real time.
	Cut time.Duration
	// Most is how many tunnels it carries at once; 0: 20.
	Most int

	open int
}

// mostSkew is how far a signature's time may be from the real one.
const mostSkew = 5 * time.Minute

// serveTunnel opens a tunnel through an endpoint, if its URL is signed as it should be.
func (c *Cloud) serveTunnel(w http.ResponseWriter, req *http.Request) {
	e, call, status, err := c.admit(req)
	if call != nil {
		c.mu.Lock()
		call.Seq = len(c.calls) + 1
		if err != nil {
			call.Error = err.Error()
		}
		c.calls = append(c.calls, *call)
		c.mu.Unlock()
	}
	if err != nil {
		w.Header().Set("X-Amzn-Requestid", "00000000-0000-4000-8000-000000000001")
		http.Error(w, fmt.Sprintf(`{"Message":%q}`, err), status)
		return
	}
	defer func() {
		c.mu.Lock()
		e.open--
		c.mu.Unlock()
	}()
	ws, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow() //nolint:errcheck // closed twice
	q := req.URL.Query()
	port, _ := strconv.Atoi(q.Get("remotePort"))
	var far net.Conn
	err = fmt.Errorf("nobody answers")
	if e.Dial != nil {
		far, err = e.Dial(req.Context(), q.Get("privateIpAddress"), port)
	}
	if err != nil {
		ws.Close(websocket.StatusInternalError, "Unable to connect to target") //nolint:errcheck // the client is gone
		return
	}
	defer far.Close()
	limit, _ := strconv.Atoi(q.Get("maxTunnelDuration"))
	last := time.Duration(limit) * time.Second
	if e.Cut > 0 && e.Cut < last {
		last = e.Cut
	}
	defer time.AfterFunc(last, func() { ws.Close(websocket.StatusNormalClosure, "Max tunnel duration reached") }).Stop() //nolint:errcheck // either way it is over
	near := websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
	go func() {
		io.Copy(far, near) //nolint:errcheck // either way it is over
		far.Close()
	}()
	io.Copy(near, far) //nolint:errcheck // either way it is over
}

// admit checks the signature, the parameters and the caller's policy, and takes one of the endpoint's tunnels.
func (c *Cloud) admit(req *http.Request) (*ConnectEndpoint, *Call, int, error) {
	q := req.URL.Query()
	f := strings.Split(q.Get("X-Amz-Credential"), "/")
	if len(f) != 5 || f[3] != "ec2-instance-connect" || q.Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" {
		return nil, nil, http.StatusForbidden, fmt.Errorf("not signed for this service: %q", q.Get("X-Amz-Credential"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.principals[f[0]]
	if p == nil {
		return nil, nil, http.StatusForbidden, fmt.Errorf("the security token included in the request is invalid")
	}
	region := c.account(p.Account).region(f[2])
	id := q.Get("instanceConnectEndpointId")
	call := &Call{Operation: "OpenTunnel", Action: "ec2-instance-connect:OpenTunnel", Resources: []string{region.arn("instance-connect-endpoint", id)}, Account: p.Account, Region: f[2], Principal: p.ARN, Time: c.now, Form: q}
	if err := checkPresigned(req, p); err != nil {
		return nil, call, http.StatusForbidden, err
	}
	if c.Fault != nil {
		if f := c.Fault(call); f.Error != nil {
			return nil, call, max(f.Error.Status, http.StatusBadRequest), f.Error
		}
	}
	if err := authorize(p, call); err != nil {
		return nil, call, http.StatusForbidden, err
	}
	if s, err := strconv.Atoi(q.Get("maxTunnelDuration")); err != nil || s < 1 || s > 3600 {
		return nil, call, http.StatusBadRequest, fmt.Errorf("maxTunnelDuration %q is not from 1 to 3600", q.Get("maxTunnelDuration"))
	}
	if _, err := netip.ParseAddr(q.Get("privateIpAddress")); err != nil || q.Get("remotePort") == "" {
		return nil, call, http.StatusBadRequest, fmt.Errorf("privateIpAddress and remotePort are required")
	}
	for n := range region.ConnectEndpoints {
		e := &region.ConnectEndpoints[n]
		switch {
		case e.ID != id || e.State != "create-complete":
		case e.open >= cmp.Or(e.Most, 20):
			return nil, call, http.StatusTooManyRequests, fmt.Errorf("too many connections")
		default:
			e.open++
			return e, call, 0, nil
		}
	}
	return nil, call, http.StatusNotFound, fmt.Errorf("endpoint %q does not exist", id)
}

// checkPresigned signs a request again, and compares. Time is real here: who signs does not ask the cloud.
func checkPresigned(req *http.Request, p *Principal) error {
	q := req.URL.Query()
	at, err := time.Parse("20060102T150405Z", q.Get("X-Amz-Date"))
	expires, eerr := strconv.Atoi(q.Get("X-Amz-Expires"))
	switch {
	case err != nil || eerr != nil || expires < 1 || expires > 60:
		return fmt.Errorf("X-Amz-Date %q, X-Amz-Expires %q: want a time, and 1 to 60", q.Get("X-Amz-Date"), q.Get("X-Amz-Expires"))
	case time.Since(at) > time.Duration(expires)*time.Second || time.Until(at) > mostSkew:
		return fmt.Errorf("signature expired: of %s, now it is %s", at, time.Now().UTC())
	}
	given := q.Get("X-Amz-Signature")
	for _, name := range []string{"X-Amz-Signature", "X-Amz-Credential", "X-Amz-Algorithm", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Security-Token"} {
		q.Del(name)
	}
	again := &http.Request{Method: http.MethodGet, Host: req.Host, Header: http.Header{}, URL: &url.URL{Scheme: "wss", Host: req.Host, Path: req.URL.Path, RawQuery: q.Encode()}}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	signed, _, err := v4.NewSigner().PresignHTTP(req.Context(), aws.Credentials{AccessKeyID: p.AccessKey, SecretAccessKey: "secret", SessionToken: req.URL.Query().Get("X-Amz-Security-Token")},
		again, empty, "ec2-instance-connect", strings.Split(req.URL.Query().Get("X-Amz-Credential"), "/")[2], at)
	if err != nil {
		return err
	}
	u, err := url.Parse(signed)
	if err != nil || u.Query().Get("X-Amz-Signature") != given {
		return fmt.Errorf("the request signature we calculated does not match the signature you provided")
	}
	return nil
}
