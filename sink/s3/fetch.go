package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// ErrReplaced is wrapped by the error of reading an object in whose place there is another by now.
var ErrReplaced = errors.New("it is no longer the object that was opened")

// A stretch is one object of those that are read as one.
type stretch struct {
	name    string
	etag    *string
	version *string // nil: the bucket keeps none
	start   int64
	size    int64
	pinned  atomic.Bool // it is read by its version
}

// versionOf returns the version of an object, nil where there are no versions.
func versionOf(head *s3.HeadObjectOutput) *string {
	if v := aws.ToString(head.VersionId); v != "" && v != "null" {
		return &v
	}
	return nil
}

// fetch reads blocks, within Options.ReadWithin. A server that is away is asked again until then; one that is silent, or stops in
// the middle of an answer, is asked anew over another connection.
func (r *reader) fetch(f *filling) error {
	ctx, cancel := context.WithTimeout(r.life, r.s.opts.ReadWithin)
	defer cancel()
	for _, st := range r.stretches {
		end := min(f.end, st.start+st.size)
		if end <= f.at {
			continue
		}
		if err := r.get(ctx, st, f, end); err != nil {
			if r.life.Err() != nil {
				err = context.Cause(r.life)
			}
			return err
		}
	}
	return nil
}

// get reads up to end of one object. An object that is gone, which S3 denies to who may not list the bucket, is read by its version, if
// there is one and we may.
func (r *reader) get(ctx context.Context, st *stretch, f *filling, end int64) error {
	pinned := st.pinned.Load()
	turn := r.s.creds.before()
	err := r.getUncut(ctx, st, f, end, pinned)
	if expired(err) && r.s.creds.renew(ctx, turn) {
		err = r.getUncut(ctx, st, f, end, pinned)
	}
	if pinned || st.version == nil || !errors.Is(err, ErrReplaced) && !errors.Is(err, fs.ErrNotExist) && !denied(err) {
		return err
	}
	if r.getUncut(ctx, st, f, end, true) != nil {
		return err // which says what has happened
	}
	if !st.pinned.Swap(true) {
		r.s.opts.Warn(fmt.Sprintf("%v; reading goes on with version %s of it, which was opened", err, *st.version))
	}
	return nil
}

// getUncut goes on where a transfer was cut: the SDK repeats requests, not the reading of their answers.
func (r *reader) getUncut(ctx context.Context, st *stretch, f *filling, end int64, pinned bool) error {
	var last error
	for try := 0; ; try++ {
		again, err := r.getOnce(ctx, st, f, end, pinned)
		if last != nil && ctx.Err() != nil { // why it took so long
			err = last
		}
		if err == nil || !again {
			return err
		}
		last = err
		select {
		case <-time.After(min(r.pause(), 100*time.Millisecond<<min(try, 10))):
		case <-ctx.Done():
			return err
		}
	}
}

// quiet is how long one attempt waits for an answer, or for more of it: three attempts are made in any case.
func (r *reader) quiet() time.Duration { return r.s.opts.ReadWithin / 3 }

// pause is the longest pause between attempts: the server may be back.
func (r *reader) pause() time.Duration { return min(r.s.opts.backoff, r.s.opts.ReadWithin/10) }

func (r *reader) getOnce(ctx context.Context, st *stretch, f *filling, end int64, pinned bool) (again bool, err error) {
	size := end - f.at
	within := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := &s3.GetObjectInput{
		Bucket: &r.s.opts.Bucket, Key: aws.String(r.s.key(st.name)), ExpectedBucketOwner: r.s.owner(), IfMatch: st.etag,
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", f.at-st.start, end-st.start-1)),
	}
	if pinned {
		in.VersionId = st.version
	}
	first := &firstByte{limit: r.quiet()}
	out, err := r.api.GetObject(ctx, in, first.watch, r.s.creds.use, func(o *s3.Options) { o.Retryer = r.s.retryer(0, r.pause()) })
	if err != nil {
		if within.Err() != nil && first.last != nil {
			err = first.last
		}
		err = r.s.fail("read", st.name, err)
		var e *Error
		if errors.As(err, &e) && e.Status == http.StatusPreconditionFailed {
			err = fmt.Errorf("%w: %w", err, ErrReplaced)
		}
		return false, err
	}
	defer out.Body.Close()
	switch got := aws.ToInt64(out.ContentLength); {
	case st.etag != nil && out.ETag != nil && *out.ETag != *st.etag: // a server that knows no conditions
		return false, fmt.Errorf("%s: read: %w", r.s.location(st.name), ErrReplaced)
	case got != size:
		return false, fmt.Errorf("%s: asked for %d bytes, the service answers with %d", r.s.location(st.name), size, got)
	}
	stop := time.AfterFunc(r.quiet(), cancel)
	defer stop.Stop()
	for f.at < end {
		n, err := out.Body.Read(f.room(end))
		f.filled(n)
		switch {
		case err == nil && n > 0:
			stop.Reset(r.quiet())
		case err == nil || f.at == end:
		case ctx.Err() != nil && within.Err() == nil:
			return true, fmt.Errorf("%s: read at %d: %w", r.s.location(st.name), f.at-st.start, &slowError{after: r.quiet()})
		default:
			return true, fmt.Errorf("%s: read at %d: %w", r.s.location(st.name), f.at-st.start, err)
		}
	}
	return false, nil
}

// A firstByte bounds the time until an answer begins, for each attempt of one call, and remembers why the last one failed.
type firstByte struct {
	limit time.Duration
	last  error
}

func (f *firstByte) watch(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("shotglassFirstByte", f.attempt), "Retry", middleware.After)
	})
}

func (f *firstByte) attempt(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	one, cancel := context.WithCancel(ctx) // the answer is read under it; it ends with ctx
	watch := time.AfterFunc(f.limit, cancel)
	out, meta, err := next.HandleFinalize(one, in)
	watch.Stop()
	if err != nil {
		if ctx.Err() == nil && one.Err() != nil {
			err = &slowError{after: f.limit}
		}
		if ctx.Err() == nil {
			f.last = err
		}
		cancel()
	}
	return out, meta, err
}
