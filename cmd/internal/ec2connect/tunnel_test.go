package ec2connect_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/cmd/internal/ec2connect"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// through is the instance through its endpoint, with a pushed key.
func (w *world) through(cfg aws.Config, key *ec2connect.Key) transport.Target {
	w.Helper()
	tunnel, err := ec2connect.Tunnel(cfg, "eice-1", strings.TrimPrefix(w.cloud.URL(), "http://"), private)
	if err != nil {
		w.Fatal(err)
	}
	t := w.target()
	t.Name, t.Host, t.Port, t.Tunnel = private, private, 22, tunnel
	t.Auth.Grant = key.Grant(cfg, "", instance, "")
	return t
}

// A pushed key over a signed tunnel is a connection like any other.
func TestTunnelConformance(t *testing.T) {
	w := newWorld(t)
	key := new(ec2connect.Key)
	target := w.through(w.cfg, key)
	transporttest.Test(t, func(t *testing.T) transport.Conn {
		c, err := transporttest.Dialer(t).Dial(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		return c
	})
	for _, c := range w.cloud.Calls() {
		if c.Operation == "OpenTunnel" && (c.Form.Get("maxTunnelDuration") != "3599" || c.Form.Get("X-Amz-Expires") != "60" || c.Form.Get("remotePort") != "22" || c.Form.Get("privateIpAddress") != private) {
			t.Errorf("%v", c.Form)
		}
	}
}

// What the service refuses, and what goes on inside the VPC. Credentials and signatures are in no error.
func TestTunnelFails(t *testing.T) {
	w := newWorld(t)
	d := transporttest.Dialer(t)
	key := new(ec2connect.Key)
	target := w.through(w.cfg, key)
	attempt := func(want, hint string) {
		t.Helper()
		c, err := d.Dial(t.Context(), target)
		if err == nil {
			c.Close()
			t.Errorf("no error; want %s", want)
			return
		}
		var h transport.Hinter
		if !strings.Contains(err.Error(), want) || hint != "" && (!errors.As(err, &h) || !strings.Contains(h.Hint(), hint)) || strings.Contains(err.Error(), "X-Amz") {
			t.Errorf("%v\nwant %s, hint %s", err, want, hint)
		}
	}
	endpoint := &w.region.ConnectEndpoints[0]
	w.fault("OpenTunnel", &awsfake.Error{})
	attempt("tunnel through eice-1 to 10.0.0.1: the service refuses the tunnel: 403", "ec2-instance-connect:OpenTunnel")
	w.fault("", nil)
	w.cloud.Edit(func() { endpoint.State = "delete-complete" })
	attempt("404", "describe-instance-connect-endpoints")
	w.cloud.Edit(func() { endpoint.State, endpoint.Most = "create-complete", 1 })
	c, err := d.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	attempt("429", "20 connections at once")
	c.Close()
	w.cloud.Edit(func() { endpoint.Most = 0 })
	target.Port = 2222
	attempt(`eice-1 ended the tunnel after 0s (code 1011): "Unable to connect to target"`, "")
	target.Port = 22
	w.cloud.Edit(func() { endpoint.Cut = time.Second })
	if c, err = d.Dial(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Run(t.Context(), &transport.Cmd{Argv: []string{"cat", "/dev/zero"}, Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), `eice-1 ended the tunnel after 1s (code 1000): "Max tunnel duration reached"`) {
		t.Errorf("%v", err)
	}

	// Another's secret makes another signature.
	cfg := w.cfg
	credentials, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	credentials.SecretAccessKey = "another"
	cfg.Credentials = staticCredentials{credentials}
	target = w.through(cfg, key)
	attempt("does not match the signature", "OpenTunnel")

	for _, dns := range []string{"", "a/b", "user@host", "host?x"} {
		if _, err := ec2connect.Tunnel(w.cfg, "eice-1", dns, private); err == nil {
			t.Errorf("endpoint %q", dns)
		}
	}
}

// TestPolicy gets in by every way with docs/ec2-connect-policy.json alone, and finds nothing in it that is not needed.
func TestPolicy(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/ec2-connect-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	if err := w.cloud.Restrict(responder, doc); err != nil {
		t.Fatal(err)
	}
	c, err := transporttest.Dialer(t).Dial(t.Context(), w.through(w.cfg, new(ec2connect.Key)))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, _, err := ec2connect.ConsoleKeys(t.Context(), w.cfg, instance); err != nil {
		t.Fatal(err)
	}
	var used, allowed []string
	for _, c := range w.cloud.Calls() {
		used = append(used, c.Action)
	}
	var p awsfake.Policy
	if err := json.Unmarshal(doc, &p); err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Statement {
		for _, a := range s.Action {
			if s.Sid != "ConnectSessionManager" { // the AWS CLI makes that call
				allowed = append(allowed, a)
			}
		}
	}
	slices.Sort(used)
	slices.Sort(allowed)
	if diff := cmp.Diff(slices.Compact(used), allowed); diff != "" {
		t.Errorf("used (-) and allowed (+):\n%s", diff)
	}
}
