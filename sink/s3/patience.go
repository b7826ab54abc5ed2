package s3

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// How long a server may take. What is sent to a slow one goes on as long as it moves; one that is
// silent is given up, and the attempt repeated over a new connection:
//
//   - after 30 s in which it took no byte;
//   - after 60 s in which it had every byte and did not answer (some of them may
//     still be in the buffers of the two kernels);
//   - after the time that the bytes take at 32 KiB/s, and a minute: whoever takes a byte now and
//     then is no server.
//
// Three attempts of a call may end so, which with the pauses between them makes two to three
// minutes. Options.patient stands for the 30 s.
const (
	floorRate = 32 << 10 // bytes per second
	maxSilent = 3
)

func (s *Sink) limit(n int64) time.Duration {
	return 2*s.opts.patient + time.Duration(n/floorRate)*(s.opts.patient/30)
}

// A slowError ends one attempt, and with the last that is granted the call.
type slowError struct {
	after time.Duration
	last  bool
}

func (e *slowError) Error() string {
	if e.last {
		return fmt.Sprintf("no answer within %s, %d times", e.after.Round(time.Second), maxSilent)
	}
	return fmt.Sprintf("no answer within %s", e.after.Round(time.Second))
}
func (e *slowError) RetryableError() bool { return !e.last }

// A body tells the watch of its attempt when some of it is taken.
type body struct {
	r       *bytes.Reader
	patient time.Duration
	watch   atomic.Pointer[time.Timer]
}

func (s *Sink) body(data []byte) *body {
	return &body{r: bytes.NewReader(data), patient: s.opts.patient}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if w := b.watch.Load(); w != nil && n > 0 {
		if b.r.Len() == 0 {
			w.Reset(2 * b.patient)
		} else {
			w.Reset(b.patient)
		}
	}
	return n, err
}

func (b *body) Seek(offset int64, whence int) (int64, error) { return b.r.Seek(offset, whence) }

// within bounds each attempt of one call, by limit and by the progress of its body, if it has one.
func within(limit time.Duration, b *body) func(*s3.Options) {
	silent := 0
	watch := middleware.FinalizeMiddlewareFunc("shotglassAttempt",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			begin := time.Now()
			one, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if b != nil {
				w := time.AfterFunc(b.patient, cancel) // to connect
				defer w.Stop()
				b.watch.Store(w)
				defer b.watch.Store(nil)
			}
			out, meta, err := next.HandleFinalize(one, in)
			if err != nil && ctx.Err() == nil && one.Err() != nil {
				silent++
				err = &slowError{time.Since(begin), silent >= maxSilent}
			}
			return out, meta, err
		})
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Finalize.Insert(watch, "Retry", middleware.After)
		})
	}
}

// short bounds calls without a body.
func (s *Sink) short(o *s3.Options) { within(2*s.opts.patient, nil)(o) }

// few attempts are for what is asked before a capture or for reading: a wrong address is told
// within seconds.
func few(o *s3.Options) { o.RetryMaxAttempts = 4 }

// shakyOnes are few attempts once the bucket has failed for good and the spill takes its place.
func (s *Sink) shakyOnes(o *s3.Options) {
	if s.shaky.Load() {
		few(o)
	}
}
