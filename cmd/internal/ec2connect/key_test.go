package ec2connect_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/cmd/internal/ec2connect"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// A pushed key logs in, is on record with its request, serves several logins of its minute, and none once it is forgotten.
func TestPush(t *testing.T) {
	w := newWorld(t)
	key := new(ec2connect.Key)
	var told []ec2connect.Push
	var mu sync.Mutex
	key.Tell(func(p ec2connect.Push) { mu.Lock(); told = append(told, p); mu.Unlock() })
	target := w.target()
	target.Auth.Grant = key.Grant(w.cfg, "web1", instance, "eu-west-1a")
	d := transporttest.Dialer(t)
	dial := func() transport.Conn {
		t.Helper()
		c, err := d.Dial(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	in := dial().Info()
	print, err := key.Fingerprint()
	if err != nil || in.AuthKey != print || len(told) != 1 || told[0].Fingerprint != print || told[0].RequestID == "" || told[0].Host != "web1" ||
		in.Grant != "EC2 Instance Connect: request "+told[0].RequestID || told[0].User != "ec2-user" {
		t.Errorf("%+v\n%+v, %v", in, told, err)
	}
	if p := w.region.Pushed("", ""); len(p) != 1 || p[0].Zone != "eu-west-1a" || ssh.FingerprintSHA256(p[0].Key) != print || p[0].Key.Type() != ssh.KeyAlgoED25519 {
		t.Errorf("%+v", p)
	}
	// Several at once, as lanes are, share a push.
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			c, err := d.Dial(t.Context(), target)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	if n := w.calls("SendSSHPublicKey"); n != 1 {
		t.Errorf("pushed %d times", n)
	}
	// Later, when AWS has forgotten it, it is pushed again.
	now := time.Now().Add(31 * time.Second)
	key.SetNow(func() time.Time { return now })
	if err := w.cloud.Sleep(t.Context(), time.Minute); err != nil || len(w.region.Pushed("", "")) > 0 {
		t.Fatal(err)
	}
	dial()
	if n := w.calls("SendSSHPublicKey"); n != 2 || len(told) != 2 {
		t.Errorf("pushed %d times, told %d", n, len(told))
	}
	// Another user is another login.
	target.User = "root"
	dial()
	if n := w.calls("SendSSHPublicKey"); n != 3 {
		t.Errorf("pushed %d times", n)
	}
	signer, _, err := target.Auth.Grant.Key(t.Context(), "root")
	if err != nil {
		t.Fatal(err)
	}
	key.Forget()
	if _, err := d.Dial(t.Context(), target); transport.MayPass(err) || !strings.Contains(fmt.Sprint(err), "is forgotten") {
		t.Errorf("%v", err)
	}
	if sig, err := signer.Sign(nil, []byte("x")); err == nil && signer.PublicKey().Verify([]byte("x"), sig) == nil {
		t.Error("the key can still sign")
	}
}

// Each way to fail is told apart, with what to do.
func TestPushFails(t *testing.T) {
	w := newWorld(t)
	d := transporttest.Dialer(t)
	target := w.target()
	passes := false
	attempt := func(want, hint string) {
		t.Helper()
		key := new(ec2connect.Key)
		target.Auth.Grant = key.Grant(w.cfg, "", instance, "")
		_, err := d.Dial(t.Context(), target)
		var h transport.Hinter
		g, ok := errors.AsType[*transport.GrantError](err)
		if ok == errors.Is(err, transport.ErrAuth) || ok && g.MayPass() != passes || transport.MayPass(err) != passes || !errors.As(err, &h) || !strings.Contains(err.Error(), want) || !strings.Contains(h.Hint(), hint) {
			t.Errorf("%v\nhint %v\nwant %s, hint %s", err, h, want, hint)
		}
	}
	w.fault("SendSSHPublicKey", &awsfake.Error{})
	attempt("AccessDenied", "need ec2-instance-connect:SendSSHPublicKey on "+instance)
	w.fault("SendSSHPublicKey", &awsfake.Error{Code: "AuthException", Status: http.StatusForbidden})
	attempt("AuthException", "need ec2-instance-connect:SendSSHPublicKey")
	before := w.calls("SendSSHPublicKey")
	passes = true
	w.fault("SendSSHPublicKey", &awsfake.Error{Code: "ThrottlingException"})
	attempt("ThrottlingException", "--parallel")
	if n := w.calls("SendSSHPublicKey") - before; n != 8 {
		t.Errorf("%d attempts", n)
	}
	w.fault("SendSSHPublicKey", &awsfake.Error{Code: "EC2InstanceUnavailableException"})
	attempt("EC2InstanceUnavailableException", "unavailable at the moment")
	w.fault("", nil)
	passes = false
	w.cloud.Edit(func() { w.region.Instances[instance].State = "stopped" })
	attempt("EC2InstanceStateInvalidException", "does not run any more")
	w.cloud.Edit(func() { w.region.Instances[instance].State = "terminated" })
	attempt("EC2InstanceNotFoundException", "is gone since")
	w.cloud.Edit(func() { w.region.Instances[instance].State = "running" })
	w.cloud.Edit(func() { w.region.Off = true })
	attempt("OptInRequired", "may not have enabled eu-west-1")
	w.cloud.Edit(func() { w.region.Off = false })
	target.User = strings.Repeat("u", 33)
	attempt("InvalidArgsException", "--ec2-user")
	target.User = "ec2-user"

	// Taken by AWS, refused by sshd.
	other := new(transporttest.Server).Start(t)
	target = other.Target()
	target.Auth = transport.Auth{}
	attempt("granted by EC2 Instance Connect", "needs the package ec2-instance-connect")
}
