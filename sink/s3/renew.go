package s3

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// renewable are credentials of the chain that can be looked for anew. A provider that knows when its credentials end renews them by itself; those
// of a profile or the environment the SDK reads once, and somebody may have put new ones into the profile since. Blocks that are read at the same
// time all fail when credentials end: one of them asks the chain, and the others share the answer.
type renewable struct {
	load func(ctx context.Context) (aws.CredentialsProvider, error)
	told func() // there are others now

	mu      sync.Mutex
	now     aws.CredentialsProvider
	turn    int           // how often there were others; 0: they are those that the client began with
	asking  chan struct{} // closed once the chain has answered; nil: nobody asks
	nothing time.Time     // when the chain had nothing new
}

const (
	// renewPause is how long a chain that had nothing new is not asked again: the kernel repeats what fails, a page at a time.
	renewPause = 2 * time.Second
	// renewWithin bounds how long the chain is asked.
	renewWithin = time.Minute
)

// use has a call made with those of now, if they are not those that the client began with.
func (c *renewable) use(o *s3.Options) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn > 0 {
		o.Credentials = c.now
	}
}

// before returns what renew is to be told of a call that is about to be made.
func (c *renewable) before() (turn int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turn
}

// renew reports whether there are other credentials than those of a call that they ended for. It asks the chain, unless somebody did since that
// call was about to be made. Who stops waiting ends nothing for the others.
func (c *renewable) renew(ctx context.Context, turn int) bool {
	c.mu.Lock()
	if c.turn == turn && c.asking == nil && (c.nothing.IsZero() || time.Since(c.nothing) >= renewPause) {
		c.asking = make(chan struct{})
		go c.ask(context.WithoutCancel(ctx), c.now, c.asking)
	}
	asking := c.asking
	if c.turn != turn {
		asking = nil
	}
	c.mu.Unlock()
	if asking != nil {
		select {
		case <-asking:
		case <-ctx.Done():
		}
	}
	return c.before() != turn
}

// ask asks the chain, and closes done.
func (c *renewable) ask(ctx context.Context, old aws.CredentialsProvider, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, renewWithin)
	defer cancel()
	next := c.other(ctx, old)
	if next != nil {
		c.told()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if next != nil {
		c.now, c.nothing = next, time.Time{}
		c.turn++
	} else {
		c.nothing = time.Now()
	}
	c.asking = nil
	close(done)
}

// other returns what the chain has now, nil if that is what it had.
func (c *renewable) other(ctx context.Context, old aws.CredentialsProvider) aws.CredentialsProvider {
	next, err := c.load(ctx)
	if err != nil {
		return nil
	}
	got, err := next.Retrieve(ctx)
	if err != nil {
		return nil
	}
	was, err := old.Retrieve(ctx)
	if err == nil && was.AccessKeyID == got.AccessKeyID && was.SessionToken == got.SessionToken && was.SecretAccessKey == got.SecretAccessKey {
		return nil
	}
	return next
}

// over are the codes by which services say that credentials have ended, or are gone.
var over = []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId", "InvalidClientTokenId"}

// expired reports whether err says that credentials have ended.
func expired(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(over, api.ErrorCode())
}
