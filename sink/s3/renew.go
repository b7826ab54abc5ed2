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
// of a profile or the environment the SDK reads once, and somebody may have put new ones into the profile since.
type renewable struct {
	load func(ctx context.Context) (aws.CredentialsProvider, error)

	mu      sync.Mutex
	now     aws.CredentialsProvider
	changed bool
	last    time.Time // when the chain was asked anew
}

// renewPause is how long the chain is not asked again: the kernel repeats what fails, a page at a time.
const renewPause = 2 * time.Second

// use has a call made with those of now, if they are not those that the client began with.
func (c *renewable) use(o *s3.Options) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed {
		o.Credentials = c.now
	}
}

// renew asks the chain anew, and reports whether it has other credentials than those that were used last.
func (c *renewable) renew(ctx context.Context) bool {
	c.mu.Lock()
	if !c.last.IsZero() && time.Since(c.last) < renewPause {
		c.mu.Unlock()
		return false
	}
	c.last = time.Now()
	old := c.now
	c.mu.Unlock()
	next, err := c.load(ctx)
	if err != nil {
		return false
	}
	got, err := next.Retrieve(ctx)
	if err != nil {
		return false
	}
	was, err := old.Retrieve(ctx)
	if err == nil && was.AccessKeyID == got.AccessKeyID && was.SessionToken == got.SessionToken && was.SecretAccessKey == got.SecretAccessKey {
		return false
	}
	c.mu.Lock()
	c.now, c.changed = next, true
	c.mu.Unlock()
	return true
}

// over are the codes by which services say that credentials have ended, or are gone.
var over = []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId", "InvalidClientTokenId"}

// expired reports whether err says that credentials have ended.
func expired(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(over, api.ErrorCode())
}
