package ec2connect

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	connect "github.com/aws/aws-sdk-go-v2/service/ec2instanceconnect"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/transport"
)

const (
	// fresh is for how long a push serves more logins, of the 60 seconds that AWS holds the key: what is left is more than a login takes.
	fresh = 30 * time.Second
	// pushesAtOnce and pushTries keep hundreds of instances below the rates at which AWS throttles.
	pushesAtOnce = 8
	pushTries    = 8
)

// A Key is a key for one run. It lives in memory alone, is pushed to instances for the moment of each login, and is forgotten at the end.
// The zero value makes one when it is first needed. It is safe for concurrent use.
type Key struct {
	mu      sync.Mutex
	private ed25519.PrivateKey
	signer  ssh.Signer
	gone    bool
	logins  map[string]*login
	tell    func(Push)
	slots   chan struct{}
	now     func() time.Time
}

// A Push is one that AWS accepted.
type Push struct {
	Host        string // what the host is called
	Instance    string
	User        string
	Fingerprint string
	RequestID   string // which CloudTrail has too
}

func (p Push) String() string {
	return fmt.Sprintf("key %s pushed for %q on %s, request %s", p.Fingerprint, p.User, p.Instance, p.RequestID)
}

// A login is a user on an instance.
type login struct {
	mu   sync.Mutex
	at   time.Time // of the last push, before it was sent
	push Push
}

// Tell has f called for each push from now on, from several goroutines.
func (k *Key) Tell(f func(Push)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tell = f
}

// Forget overwrites the key. No push is made afterwards.
func (k *Key) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.private)
	k.private, k.signer, k.gone = nil, nil, true
}

// Fingerprint is the key's. It is made for that, if need be.
func (k *Key) Fingerprint() (string, error) {
	s, _, err := k.get("")
	if err != nil {
		return "", err
	}
	return ssh.FingerprintSHA256(s.PublicKey()), nil
}

var errForgotten = &hinted{errors.New("the key of this run is forgotten: the run is over"), "start a new run", true}

// get returns the key, and a login's place.
func (k *Key) get(who string) (ssh.Signer, *login, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return nil, nil, errForgotten
	}
	if k.signer == nil {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		if k.signer, err = ssh.NewSignerFromKey(private); err != nil {
			return nil, nil, err
		}
		k.private, k.logins, k.slots = private, map[string]*login{}, make(chan struct{}, pushesAtOnce)
		if k.now == nil {
			k.now = time.Now
		}
	}
	l := k.logins[who]
	if l == nil {
		l = new(login)
		k.logins[who] = l
	}
	return k.signer, l, nil
}

// refusedHint is for a key that AWS took and the instance did not.
const refusedHint = "AWS took the key, sshd on the instance did not: it needs the package ec2-instance-connect (AuthorizedKeysCommand) and its metadata service, and the login must exist there: --user, --ec2-user. With --key FILE a key of yours is tried after it"

// Grant pushes the key to an instance before each login there. cfg is that of its account and region.
func (k *Key) Grant(cfg aws.Config, host, instance, zone string) *transport.Grant {
	client := connect.NewFromConfig(cfg, func(o *connect.Options) { o.RetryMaxAttempts = pushTries })
	return &transport.Grant{Name: "EC2 Instance Connect", Hint: refusedHint, Key: func(ctx context.Context, user string) (ssh.Signer, string, error) {
		signer, l, err := k.get(instance + " " + user)
		if err != nil {
			return nil, "", err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.now().Sub(l.at) > fresh {
			p := Push{Host: cmp.Or(host, instance), Instance: instance, User: user, Fingerprint: ssh.FingerprintSHA256(signer.PublicKey())}
			at := k.now()
			if err := k.send(ctx, client, signer.PublicKey(), zone, &p); err != nil {
				return nil, "", explain(fmt.Errorf("push a key for %q to %s: %w", user, instance, err), "ec2-instance-connect:SendSSHPublicKey", instance, cfg.Region)
			}
			l.at, l.push = at, p
			k.mu.Lock()
			tell := k.tell
			k.mu.Unlock()
			if tell != nil {
				tell(p)
			}
		}
		return signer, "request " + l.push.RequestID, nil
	}}
}

func (k *Key) send(ctx context.Context, client *connect.Client, public ssh.PublicKey, zone string, p *Push) error {
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	in := &connect.SendSSHPublicKeyInput{InstanceId: &p.Instance, InstanceOSUser: &p.User, SSHPublicKey: aws.String(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))))}
	if zone != "" {
		in.AvailabilityZone = &zone
	}
	out, err := client.SendSSHPublicKey(ctx, in)
	if err != nil {
		return err
	}
	if !out.Success {
		return fmt.Errorf("AWS did not take it (request %s)", aws.ToString(out.RequestId))
	}
	p.RequestID = aws.ToString(out.RequestId)
	return nil
}
