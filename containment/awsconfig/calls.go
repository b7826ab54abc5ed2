package awsconfig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go/middleware"
)

// How long AWS may be silent. The SDK's own client waits for ever for the answer of a server that took the request: behind a
// proxy or an endpoint that swallows packets a program would hang with no word.
const (
	silence   = time.Minute      // without a byte of an answer, from its first to its last; as long as AWS's CLI and boto3 wait, for all services
	maxSilent = 3                // attempts of one call that may end so
	idle      = 15 * time.Second // a connection that waited so long is not used again: its minute runs already
)

// client is the SDK's own, which gives a silent server up. It takes proxies and certificate authorities from the environment as that does.
func client() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithReadTimeout(silence).WithTransportOptions(func(t *http.Transport) { t.IdleConnTimeout = idle })
}

// A silentError ends one attempt, and with the last that is granted the call.
type silentError struct {
	after time.Duration
	last  bool
	cause error
}

func (e *silentError) Error() string {
	if e.last {
		return fmt.Sprintf("no answer within %s, %d times: look at the network from here to AWS (proxy, VPC endpoint, firewall)", e.after, maxSilent)
	}
	return fmt.Sprintf("no answer within %s", e.after)
}

// RetryableError tells the SDK's retryer.
func (e *silentError) RetryableError() bool { return !e.last }

// Timeout tells of what kind it is, as errors of the net package do.
func (e *silentError) Timeout() bool { return true }

func (e *silentError) Unwrap() error { return e.cause }

// bounded lets only so many attempts of a call end in silence: all that throttling is granted would be eight minutes. A connection that was closed
// under a call counts if that took long: in the middle of an answer it is closed for the silence, and at once for reasons of its own, which pass.
func bounded(long time.Duration) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		if _, ok := stack.Finalize.Get("Retry"); !ok { // nothing is called: a URL is signed, as CopySnapshot wants one
			return nil
		}
		silent := 0
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("shotglassSilence",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				begin := time.Now()
				out, meta, err := next.HandleFinalize(ctx, in)
				var e *awshttp.ResponseTimeoutError
				if took := time.Since(begin); ctx.Err() == nil && (errors.As(err, &e) || errors.Is(err, net.ErrClosed) && took >= long) {
					silent++
					err = &silentError{took.Round(time.Second), silent >= maxSilent, err}
				}
				return out, meta, err
			}), "Retry", middleware.After)
	}
}

// entitled says of a call for which there were no credentials what to do. The SDK tells of the last place alone where it looked.
func entitled(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("shotglassCredentials",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleInitialize(ctx, in)
			if err != nil && ctx.Err() == nil && strings.HasPrefix(err.Error(), "get identity: get credentials: ") {
				err = fmt.Errorf("there are no credentials to call with: name a profile with --aws-profile, log in anew (aws sso login), or set AWS_ACCESS_KEY_ID: %w", err)
			}
			return out, meta, err
		}), middleware.Before)
}
