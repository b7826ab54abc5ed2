// Package pipeline takes a memory image from its source to its destination in one pass.
//
//	source -> block -> walker             structure and content, package lime
//	                -> raw SHA-256
//	                -> frames (package frame) [-> age (package agefile)] -> stored SHA-256 -> counter -> destination
//
// The source is read into blocks of a frame's size that the three consumers
// share and then give back. There is nothing to wait for but a free block, so a slow
// consumer slows the source and nothing piles up: see [MemoryPerHost].
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// Options configures a Run. Pool must be set.
type Options struct {
	Pool        *frame.Pool      // shared by all hosts
	Compression string           // frame.Zstd (default), S2 or None
	FrameSize   int              // raw bytes of a frame and of a block; default frame.PlanFrameSize(Expected)
	InFlight    int              // blocks that this host owns; default frame.DefaultInFlight
	Expected    int64            // raw bytes expected, for planning only
	Walker      *lime.Walker     // sees every byte received, and when; nil for none. The caller calls Finish
	Progress    *Progress        // nil for none
	Now         func() time.Time // for the walker: when bytes came; default time.Now

	// Recipients, if there are any, can decrypt what is stored, and nobody else, we included.
	Recipients []agefile.Recipient
}

func (o Options) frame() frame.Options {
	if o.FrameSize == 0 {
		o.FrameSize = frame.PlanFrameSize(o.Expected)
	}
	return frame.Options{
		Pool: o.Pool, Compression: o.Compression, Size: o.FrameSize, InFlight: o.InFlight,
		NoDigest: len(o.Recipients) > 0 || o.chained(),
	}
}

// chained reports whether the digests of the frames come with that of the raw bytes.
func (o Options) chained() bool {
	return o.Compression == frame.None && len(o.Recipients) == 0 && o.FrameSize%frame.ChainBlock == 0
}

// indexMemory is the memory of an index entry, with the slack of a slice that grows.
const indexMemory = 160

// chainMemory is that of a sum of a chained index, with such slack.
const chainMemory = 64

// walkerMemory covers a Walker with its needles, marks and some thousand ranges and samples,
// and the states of the raw digest.
const walkerMemory = 1 << 20

// MemoryPerHost returns the bytes that one Run takes, at most: for each of its
// own blocks the frame size and, when compressed, as much again for the compressed
// form, the index, and 1 MiB for the walker. With the defaults that is
// 9 MiB and 160 bytes for each MiB of image: 19 MiB for a host of 64 GiB. Encryption adds
// agefile.Memory, 3.3 MiB, and as much again for the index. What all
// hosts share comes once: frame.Pool.Memory, 6 MiB for each worker.
func MemoryPerHost(o Options) (int64, error) {
	f := o.frame()
	n, err := f.Memory()
	if err != nil {
		return 0, err
	}
	frames := (o.Expected + int64(f.Size) - 1) / int64(f.Size)
	n += frames*indexMemory + walkerMemory
	switch {
	case len(o.Recipients) > 0:
		n += frames*indexMemory + agefile.Memory
	case o.chained():
		n += frames * chainMemory
	}
	return n, nil
}

// Progress counts while a Run goes on. Others may read it at any time.
type Progress struct {
	RawBytes         atomic.Int64 // received from the source
	StoredBytes      atomic.Int64 // taken by the destination
	LastByteUnixNano atomic.Int64 // when the source last gave something; 0 before the first byte
	Reading          atomic.Bool  // waiting for the source; otherwise a pause is the destination's
}

// A Result says what a Run did. It is valid whatever the error.
//
// Raw covers exactly the bytes that the frames of Index give back. Without a
// *SinkError that is everything received. After one, it is what lies in frames
// that the destination took whole, so that the file that is left can be
// checked against it; Received and the walker go further. Of an encrypted image
// Index lists the pieces, and Raw is then at most what can be decrypted: the
// digest is known after some frames only, the last of them not far from the end.
//
// Stored covers every byte that the destination said it took, in order. After
// a *SinkError its end may be a part of a frame, or of the seek table, beyond
// Index. How durable these bytes are is for the destination to say.
//
// Both are Complete only if the source ended with io.EOF and everything was
// stored. Whether the image is complete is the walker's verdict.
type Result struct {
	Received  int64 // bytes that came from the source
	Raw       frame.Digest
	Stored    frame.Digest
	Index     *frame.Index
	FrameSize int

	frames []frame.Entry // of the stream that was encrypted
	layout *agefile.Layout
	raw    *rawDigest
}

// Until returns the pieces of an encrypted image that lie in the first stored bytes of it, and
// the digest of raw bytes that these give back: of an image that lost its end.
func (r *Result) Until(stored int64) (*frame.Index, frame.Digest) {
	stored = r.layout.Whole(stored)
	plain := r.layout.Plain(stored)
	frames := sort.Search(len(r.frames), func(i int) bool { return r.frames[i].StoredOffset+r.frames[i].StoredSize > plain })
	frames, sum := r.raw.upTo(frames)
	x := r.layout.Index(r.frames[:frames], stored)
	return x, frame.Digest{Bytes: x.Raw(), SHA256: sum}
}

// A SourceError says that the stream ended other than by io.EOF: a failure, or
// the context. Everything received was stored all the same, as a well-formed file.
type SourceError struct {
	Bytes int64 // received before
	Err   error
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("source ended early, after %d bytes: %v", e.Bytes, e.Err)
}

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// A SinkError says that the destination failed. The source is not read on, and
// nothing was written after the failure.
type SinkError struct {
	Bytes int64 // taken before
	Err   error
}

func (e *SinkError) Error() string {
	return fmt.Sprintf("destination failed after %d bytes: %v", e.Bytes, e.Err)
}

// Unwrap returns the cause.
func (e *SinkError) Unwrap() error { return e.Err }

// Run reads src to its end and stores it in dst. Of dst it uses Write only, one call
// for each frame, or for some chunks if encrypted, never concurrently; it closes neither.
//
// The error is nil when src ended with io.EOF and dst took everything;
// otherwise it is or joins a *SourceError and a *SinkError, or says that the
// options are wrong. Run returns when its last Read and Write have returned:
// whoever ends ctx must also make them return, by closing src. After ctx has
// ended even io.EOF counts as a *SourceError, since a closed source often says
// so; what was received before is stored.
func Run(ctx context.Context, src io.Reader, dst io.Writer, o Options) (Result, error) {
	out := newSinkWriter(dst, o)
	var to io.Writer = out
	fo, err := o.frame().WithDefaults()
	if err != nil {
		return Result{Index: &frame.Index{}}, err
	}
	var enc *agefile.Writer
	if len(o.Recipients) > 0 {
		if enc, err = agefile.NewWriter(out, o.Recipients, fo.Size); err != nil {
			return Result{Index: &frame.Index{}}, fmt.Errorf("encrypt: %w", err)
		}
		to = enc
	}
	fw, err := frame.NewWriter(to, fo)
	if err != nil {
		panic("pipeline: " + err.Error()) // the options were checked
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	blocks := fw.Blocks()
	raw := newRawDigest(blocks, o.chained())
	consumers := []func(arrival){func(a arrival) { raw.write(a.Data) }}
	if o.Walker != nil {
		consumers = append(consumers, func(a arrival) { o.Walker.WriteCame(a.Data, a.first, a.last) })
	}
	var wg sync.WaitGroup
	feeds := make([]chan arrival, len(consumers))
	for i, consume := range consumers {
		feed := make(chan arrival, blocks) // never full
		feeds[i] = feed
		wg.Go(func() {
			for a := range feed {
				consume(a)
				a.Release()
			}
		})
	}

	if o.Now == nil {
		o.Now = time.Now
	}
	in := source{r: src, progress: o.Progress, now: o.Now}
	srcErr := in.run(ctx, fw, feeds)
	for _, f := range feeds {
		close(f)
	}
	wg.Wait()
	sinkErr := fw.Close()
	if enc != nil { // also after a failure: it has goroutines
		if err := enc.Close(); sinkErr == nil {
			sinkErr = err
		}
	}

	res := Result{Received: in.n, Index: fw.Index(), FrameSize: fw.Size(), raw: raw}
	var errs []error
	if srcErr != nil {
		errs = append(errs, &SourceError{in.n, srcErr})
	}
	if sinkErr != nil {
		errs = append(errs, &SinkError{out.n, sinkErr})
	}
	complete := len(errs) == 0
	raw.complete(res.Index)
	if enc != nil {
		res.frames, res.layout = res.Index.Entries, enc.Layout()
		res.Index, res.Raw = res.Until(out.n)
	} else {
		res.Raw = frame.Digest{Bytes: res.Index.Raw(), SHA256: raw.after(len(res.Index.Entries))}
	}
	res.Raw.Complete = complete
	res.Stored = frame.Digest{Bytes: out.n, Complete: complete}
	switch {
	case out.sum != nil:
		out.sum.Sum(res.Stored.SHA256[:0])
	default: // stored as is: the raw digest, and what came of the frame that failed
		res.Stored.SHA256 = raw.afterPlus(len(res.Index.Entries), out.rest)
	}
	switch len(errs) {
	case 0:
		return res, nil
	case 1:
		return res, errs[0]
	}
	return res, errors.Join(errs...)
}

// An arrival is a block, and when its first and last bytes were read here.
type arrival struct {
	*frame.Block
	first, last time.Time
}

// source reads blocks.
type source struct {
	r        io.Reader
	n        int64
	progress *Progress
	now      func() time.Time
}

// run reads blocks and hands them on until the source ends, which is nil if by
// io.EOF, or the destination fails, which is also nil: fw knows.
func (s *source) run(ctx context.Context, fw *frame.Writer, feeds []chan arrival) error {
	for {
		b, err := fw.Get(ctx)
		if err != nil {
			if fw.Err() != nil {
				return nil
			}
			return err
		}
		a := arrival{Block: b}
		n, err := s.fill(ctx, fw, &a)
		if n == 0 {
			b.Release()
		} else {
			b.Data = b.Data[:n]
			b.Retain(len(feeds))
			for _, f := range feeds {
				f <- a
			}
			if err := fw.Put(b); err != nil {
				return err
			}
		}
		switch cause := context.Cause(ctx); {
		case fw.Err() != nil && (err == nil || err == errSinkFailed):
			return nil
		case cause != nil && err != nil && err != io.EOF && !errors.Is(err, cause):
			return fmt.Errorf("%w (%w)", cause, err)
		case cause != nil:
			return cause
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

var errSinkFailed = errors.New("destination failed")

// maxEmptyReads is how many reads in a row may give nothing.
const maxEmptyReads = 100

// fill reads until the block is full. It returns the source's error as it is.
func (s *source) fill(ctx context.Context, fw *frame.Writer, a *arrival) (n int, err error) {
	p := a.Data
	for empty := 0; n < len(p); {
		switch {
		case ctx.Err() != nil:
			return n, context.Cause(ctx)
		case fw.Err() != nil:
			return n, errSinkFailed
		}
		s.progress.Reading.Store(true)
		m, err := s.r.Read(p[n:])
		s.progress.Reading.Store(false)
		if m < 0 || m > len(p)-n {
			return n, fmt.Errorf("source returned an invalid count %d", m)
		}
		if m > 0 {
			n += m
			s.n += int64(m)
			s.progress.LastByteUnixNano.Store(time.Now().UnixNano())
			s.progress.RawBytes.Add(int64(m))
			a.last = s.now()
			if n == m {
				a.first = a.last
			}
			empty = 0
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			if empty++; empty == maxEmptyReads {
				return n, io.ErrNoProgress
			}
		}
	}
	return n, nil
}
