// Package awsfake is AWS in memory, as far as containment needs it: an HTTP server that the real
// SDK talks to, with accounts, regions, and the traps that the real service is known for.
//
//	cloud := awsfake.New()
//	defer cloud.Close()
//	cfg := cloud.Config("arn:aws:iam::111122223333:role/responder", "eu-west-1")
//
// Time is virtual: it stands still but for Sleep, which a containment.Engine takes as its own. In it
// packets flow, idle connections are forgotten and the attacker acts. Every call is recorded
// as an IAM action on resources, so that a test can derive the policy that a program needs, and
// every call can be made to fail, or to be the last one before the program dies.
//
// It is for tests. It knows no signatures: whoever names an access key has it.
package awsfake

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// A Cloud is some AWS accounts behind one address. It is safe for concurrent use; what its fields and
// those of what it holds are set to is read and written inside Edit once calls are under way.
type Cloud struct {
	// Attacker, if set, is called in each step of virtual time and may change anything. The cloud
	// is locked meanwhile: it must not call Edit, nor the API.
	Attacker func()
	// Fault, if set, says what goes wrong with a call. The cloud is locked meanwhile.
	Fault func(*Call) Fault
	// Died, if set, is called when the program dies at a call (see Fault.Crash), before the caller notices.
	Died func()
	// Organization, if set, is that of some of the accounts.
	Organization *Organization
	// PageSize is how many items describing calls return at once; 0: all, unless the call asks for less.
	PageSize int

	server   *httptest.Server
	services map[string]*service

	mu         sync.Mutex
	now        time.Time
	accounts   map[string]*Account
	principals map[string]*Principal // by access key
	roles      map[string]Trust      // that can be assumed, by ARN
	buckets    map[string]*Bucket    // of S3, whose names are everybody's
	calls      []Call
	writes     int
	dead       bool
	ids        int
}

// An Account is an AWS account.
type Account struct {
	ID string
	// RootKeys are access keys of the root user.
	RootKeys []string

	cloud   *Cloud
	regions map[string]*Region
	iam     *IAM
}

// A Principal is who calls, with one access key.
type Principal struct {
	ARN       string // as GetCallerIdentity tells it
	Account   string
	UserID    string
	AccessKey string
	// Policy, if set, is all that the principal may do: see Cloud.Restrict.
	Policy *Policy
	// Of sessions.
	SourceIdentity, Session, Issuer string
}

// Start is when the virtual time begins.
var Start = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// New returns a cloud without accounts, serving.
func New() *Cloud {
	c := &Cloud{now: Start, accounts: map[string]*Account{}, principals: map[string]*Principal{}, roles: map[string]Trust{}, buckets: map[string]*Bucket{}}
	c.services = c.allServices()
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	return c
}

// Close ends the server.
func (c *Cloud) Close() { c.server.Close() }

// URL is where the cloud listens: for AWS_ENDPOINT_URL.
func (c *Cloud) URL() string { return c.server.URL }

// Account returns an account, and makes it if need be.
func (c *Cloud) Account(id string) *Account {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.account(id)
}

func (c *Cloud) account(id string) *Account {
	a := c.accounts[id]
	if a == nil {
		a = &Account{ID: id, cloud: c, regions: map[string]*Region{}}
		c.accounts[id] = a
	}
	return a
}

// Config returns the configuration of a principal, by ARN, in a region. Calls are tried again at once: time is virtual.
func (c *Cloud) Config(arn, region string) aws.Config {
	p := c.Principal(arn)
	return aws.Config{
		Region: region, BaseEndpoint: aws.String(c.URL()), HTTPClient: c.server.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(p.AccessKey, "secret", ""),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
				o.RateLimiter = ratelimit.None
			})
		},
	}
}

// Env is the environment of a program that shall use the cloud as a principal, by ARN, in a region.
func (c *Cloud) Env(arn, region string) []string {
	p := c.Principal(arn)
	return []string{
		"AWS_ENDPOINT_URL=" + c.URL(), "AWS_REGION=" + region, "AWS_ACCESS_KEY_ID=" + p.AccessKey, "AWS_SECRET_ACCESS_KEY=secret",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}
}

// Principal returns the user, role or session of an ARN, with a key to call with.
func (c *Cloud) Principal(arn string) *Principal {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.principals {
		if p.ARN == arn {
			return p
		}
	}
	account := field(arn, 4)
	c.account(account)
	p := &Principal{ARN: arn, Account: account, UserID: c.id("AIDA", 17), AccessKey: c.id("AKIA", 16)}
	c.principals[p.AccessKey] = p
	return p
}

// Edit runs f while no call is served, so that it can look at everything and change it.
func (c *Cloud) Edit(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// Now returns the virtual time.
func (c *Cloud) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// step is how far virtual time goes at once.
const step = time.Second

// Sleep lets virtual time pass: packets flow, connections idle out, the attacker acts.
func (c *Cloud) Sleep(ctx context.Context, d time.Duration) error {
	for ; d > 0; d -= step {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		c.mu.Lock()
		c.now = c.now.Add(min(d, step))
		for _, a := range c.accounts {
			for _, r := range a.regions {
				r.pass()
			}
		}
		if c.Attacker != nil {
			c.Attacker()
		}
		c.mu.Unlock()
	}
	return ctx.Err()
}

// id returns an identifier that was not given before, with n characters behind its prefix: hexadecimal ones, which
// also access keys may have once written large.
func (c *Cloud) id(prefix string, n int) string {
	c.ids++
	if prefix == "AKIA" || prefix == "ASIA" || prefix == "AIDA" || prefix == "AROA" {
		s := []byte(fmt.Sprintf("%0*d", n, c.ids))
		for i := range s {
			s[i] += 'A' - '0'
		}
		return prefix + string(s)
	}
	return fmt.Sprintf("%s%0*x", prefix, n, c.ids)
}

// LockedNow is Now for what is called with the cloud locked: Attacker, Fault and what Edit runs.
func (c *Cloud) LockedNow() time.Time { return c.now }
