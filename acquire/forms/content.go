package forms

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
)

// A content is the decoded bytes of a file, in order. What could not be decoded is zeros in it, and
// listed once the stream has ended.
type content struct {
	buf  *bufio.Reader
	off  int64
	stop func()

	mu      sync.Mutex
	lost    []Damage // of the decoded bytes, in order
	ended   error    // of the stream, other than its end
	appends []Damage
	stored  frame.Digest // of the file; the zero value where it was not digested
}

const contentBuffer = 1 << 20

// read fills p. io.EOF: nothing was left; io.ErrUnexpectedEOF: less than p.
func (c *content) read(p []byte) (int, error) {
	n, err := io.ReadFull(c.buf, p)
	c.off += int64(n)
	return n, err
}

// skip passes n bytes; fewer only with an error.
func (c *content) skip(n int64) (int64, error) {
	var done int64
	for done < n {
		m, err := c.buf.Discard(int(min(n-done, 1<<30)))
		done += int64(m)
		c.off += int64(m)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// seek passes bytes until one of magics lies before us, within limit bytes. Beside each, ok says whether the header
// bytes that begin with it are one. The search does not go back.
func (c *content) seek(magics [][]byte, header int, ok func([]byte) bool) (skipped int64, found bool, err error) {
	for {
		b, err := c.buf.Peek(contentBuffer / 2)
		if err != nil && err != io.EOF {
			return skipped, false, err
		}
		at := -1
		for from := 0; from < len(b); {
			next := -1
			for _, m := range magics {
				if i := bytes.Index(b[from:], m); i >= 0 && (next < 0 || from+i < next) {
					next = from + i
				}
			}
			if next < 0 {
				break
			}
			if next+header > len(b) {
				if err == nil {
					at = next // looked at with more behind it
				}
				break
			}
			if ok(b[next:]) {
				n, _ := c.skip(int64(next))
				return skipped + n, true, nil
			}
			from = next + 1
		}
		n := len(b)
		switch {
		case err == nil && at > 0:
			n = at
		case err == nil:
			n = max(1, len(b)-header)
		}
		m, serr := c.skip(int64(n))
		skipped += m
		if serr != nil || err == io.EOF {
			return skipped, false, nil
		}
	}
}

// close ends decoding and waits for it.
func (c *content) close() { c.stop() }

// open starts decoding from the start.
func (i *Image) stream(ctx context.Context) *content {
	ctx, cancel := context.WithCancelCause(ctx)
	pr, pw := io.Pipe()
	c := &content{buf: bufio.NewReaderSize(pr, contentBuffer)}
	var wg sync.WaitGroup
	wg.Go(func() {
		pw.CloseWithError(i.decode(ctx, cancel, pw, c))
	})
	c.stop = func() {
		cancel(errStopped)
		pr.CloseWithError(errStopped)
		wg.Wait()
	}
	return c
}

var errStopped = errors.New("reading was ended")

// decode writes the decoded bytes to w.
func (i *Image) decode(ctx context.Context, cancel context.CancelCauseFunc, w io.Writer, c *content) error {
	at := &tolerant{ctx: ctx, cancel: cancel, r: i.r, patch: i.index != nil && i.index.Compression == frame.None}
	if i.index == nil {
		err := i.sequential(at, w, c)
		if cause := at.fatal(); cause != nil {
			return cause
		}
		return err
	}
	rep, err := frame.Verify(ctx, at, i.size, i.index, frame.VerifyOptions{Raw: w})
	if cause := at.fatal(); cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stored = rep.Stored
	c.lost = at.bad
	for _, e := range rep.Damaged {
		d := Damage{Kind: BadFrame, Offset: e.RawOffset, Bytes: e.RawSize, Zeroed: true, Detail: fmt.Sprintf("frame %d: %v", e.Frame, e.Err)}
		switch {
		case errors.Is(e.Err, frame.ErrMissing):
			d.Kind, d.Zeroed = Truncated, false
		case errors.Is(e.Err, frame.ErrDigest) && !errors.Is(e.Err, frame.ErrDecode):
			d.Kind, d.Zeroed = Suspect, false
		}
		c.lost = append(c.lost, d)
	}
	if i.tail != nil {
		c.appends = append(c.appends, Damage{Kind: Truncated, Offset: i.index.Raw(), Detail: i.tail.Error()})
	} else if rep.Appended > 0 {
		c.appends = append(c.appends, Damage{Kind: Appended, Offset: i.index.Raw(), Detail: fmt.Sprintf("%d stored bytes follow the last frame", rep.Appended)})
	}
	return nil
}

// sequential decodes what has no frames to be told apart.
func (i *Image) sequential(at io.ReaderAt, w io.Writer, c *content) error {
	r, done, err := i.decoder(at)
	if err != nil {
		return err
	}
	defer done()
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, contentBuffer))
	if err == nil || errors.Is(err, errStopped) || errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	// What was decoded stays; a stream has no place to go on at.
	d := Damage{Kind: Truncated, Offset: n, Detail: fmt.Sprintf("%s: %v; a stream cannot be read on behind that", i.container, err)}
	c.mu.Lock()
	c.appends = append(c.appends, d)
	c.mu.Unlock()
	return nil
}

// decoder decodes a stream.
func (i *Image) decoder(at io.ReaderAt) (r io.Reader, done func(), err error) {
	section := bufio.NewReaderSize(io.NewSectionReader(at, 0, i.size), contentBuffer)
	switch i.container {
	case containerGzip:
		z, err := gzip.NewReader(section)
		return z, func() {}, err
	case containerZlib:
		z, err := zlib.NewReader(section)
		if err != nil {
			return nil, nil, err
		}
		return z, func() { z.Close() }, nil
	}
	f, err := frame.Open(at, i.size)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { f.Close() }, nil
}

// A tolerant reader goes on behind what a disk cannot read and what age cannot decrypt. All other errors
// end the reading as a whole: a network that is gone is no damage.
type tolerant struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	r      io.ReaderAt
	patch  bool // put zeros there, and list them

	mu    sync.Mutex
	cause error
	bad   []Damage
}

const patchStep = 4096

func (t *tolerant) fatal() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cause
}

func (t *tolerant) ReadAt(p []byte, off int64) (int, error) {
	if t.ctx.Err() != nil {
		return 0, context.Cause(t.ctx)
	}
	n, err := t.r.ReadAt(p, off)
	if err == nil || err == io.EOF || n == len(p) {
		return n, err
	}
	if !tolerable(err) {
		t.mu.Lock()
		if t.cause == nil {
			t.cause = fmt.Errorf("read at offset %d: %w", off, err)
		}
		t.mu.Unlock()
		t.cancel(err)
		return n, err
	}
	if !t.patch {
		return n, err
	}
	for n < len(p) {
		if t.ctx.Err() != nil {
			return n, context.Cause(t.ctx)
		}
		at := off + int64(n)
		m := int(min(int64(len(p)-n), patchStep-at%patchStep))
		k, err := t.r.ReadAt(p[n:n+m], at)
		switch {
		case k == m:
		case err == io.EOF:
			return n + k, err
		case tolerable(err):
			clear(p[n+k : n+m])
			t.mu.Lock()
			t.bad = append(t.bad, Damage{Kind: BadFrame, Offset: at + int64(k), Bytes: int64(m - k), Zeroed: true, Detail: cause(err)})
			t.mu.Unlock()
		default:
			return n + k, err
		}
		n += m
	}
	return n, nil
}

// cause is an error without its place, so that neighbours are alike.
func cause(err error) string {
	if errors.Is(err, agefile.ErrChunk) {
		return agefile.ErrChunk.Error()
	}
	return "cannot be read: " + syscall.EIO.Error()
}

func tolerable(err error) bool {
	return errors.Is(err, agefile.ErrChunk) || errors.Is(err, syscall.EIO)
}
