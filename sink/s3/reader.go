package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/sink"
)

const (
	blockSize  = 1 << 20 // of what is kept: who jumps about wants little at each place
	runBlocks  = 4       // of one request, at most; larger ones are no faster, with readAhead
	readAhead  = 12      // blocks, for who reads in sequence
	keptBlocks = 64      // in memory for each reader: 64 MiB; more only while more than that is waited for, runBlocks by each who waits
)

// ReaderMemory is how many bytes of an object are kept in memory while it is open for reading.
const ReaderMemory = keptBlocks * blockSize

// Open opens an object for reading, by stream or by range. What is read stays the same
// object: if another takes its place, or it is deleted, reading goes on where the bucket keeps versions and gives them
// out (Options.Warn is told), and fails with ErrReplaced or fs.ErrNotExist where not. A read that fails says nothing
// of the next, which asks the service again.
func (s *Sink) Open(ctx context.Context, name string) (sink.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := sink.ValidName(strings.TrimSuffix(name, sink.PartialSuffix)); err != nil {
		return nil, err
	}
	api, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.openOne(ctx, api, name)
	if denied(err) || errors.Is(err, fs.ErrNotExist) && !isBucketGone(err) {
		// It may be in segments.
		stretches, size, serr := s.openSegments(ctx, api, name)
		switch {
		case serr == nil:
			return s.reader(ctx, api, name, stretches, size), nil
		case !errors.Is(serr, errNoList):
			return nil, serr
		}
	}
	if denied(err) {
		return nil, fmt.Errorf("%w; that is also what S3 says of objects that are not there to who may not list the bucket", err)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// openOne opens a single object.
func (s *Sink) openOne(ctx context.Context, api *s3.Client, name string) (*reader, error) {
	head, err := s.head(ctx, api, name, few)
	if err != nil {
		return nil, err
	}
	size := aws.ToInt64(head.ContentLength)
	return s.reader(ctx, api, name, []*stretch{{name: name, etag: head.ETag, version: versionOf(head), size: size}}, size), nil
}

func (s *Sink) reader(ctx context.Context, api *s3.Client, name string, stretches []*stretch, size int64) *reader {
	life, stop := context.WithCancel(ctx)
	return &reader{s: s, api: api, name: name, stretches: stretches, size: size, life: life, stop: stop, blocks: make(map[int64]*block)}
}

// A reader caches blocks, so that readers of neighbouring ranges share requests and a stream
// does not wait for each.
type reader struct {
	s         *Sink
	api       *s3.Client
	name      string
	size      int64
	stretches []*stretch      // in order, without gaps
	life      context.Context // of Open
	stop      context.CancelFunc
	wg        sync.WaitGroup

	pos int64 // of Read

	mu     sync.Mutex
	closed bool
	blocks map[int64]*block
	clock  int64
	ahead  sequences
}

type block struct {
	i     int64
	ready chan struct{} // closed when data or err is there
	data  []byte
	err   error
	used  int64
}

func (r *reader) Size() int64 { return r.size }

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.pos >= r.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.size-r.pos)]
	n, err := r.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	n := 0
	for n < len(p) && off < r.size {
		last := (min(off+int64(len(p)-n), r.size) - 1) / blockSize
		b, err := r.block(off/blockSize, last)
		if err != nil {
			return n, err
		}
		k := copy(p[n:], b.data[off%blockSize:])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *reader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocks = nil
	return nil
}

// block returns block i, of a read that goes on to block last. What else that takes is fetched meanwhile, and
// what follows, for who reads in sequence.
func (r *reader) block(i, last int64) (*block, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, fs.ErrClosed
	}
	last = min(last, i+runBlocks-1)
	b := r.want(i, last)
	if n := min(r.ahead.next(i, last), r.room()); n > 0 {
		from, to, end := last+1, last+n, (r.size-1)/blockSize
		for r.blocks[from] != nil {
			from++
		}
		if to-from+1 >= runBlocks || to >= end { // few requests of many blocks, not one for each
			r.want(from, min(to, end))
		}
	}
	r.mu.Unlock()
	select {
	case <-b.ready:
	case <-r.life.Done():
		return nil, context.Cause(r.life)
	}
	return b, b.err
}

// want has blocks from to to, with it, fetched if need be, neighbours by one request, and returns the first: room for
// the others may be made at its cost. r.mu is held.
func (r *reader) want(from, to int64) (first *block) {
	for i := from; i <= to; i++ {
		r.clock++
		b := r.blocks[i]
		if b != nil {
			b.used = r.clock
		} else {
			b = r.add(i)
			run := []*block{b}
			for len(run) < runBlocks && i < to && r.blocks[i+1] == nil {
				i++
				run = append(run, r.add(i))
			}
			r.wg.Go(func() { r.load(run) })
		}
		if first == nil {
			first = b
		}
	}
	return first
}

func (r *reader) add(i int64) *block {
	r.evict()
	b := &block{i: i, ready: make(chan struct{}), used: r.clock}
	r.blocks[i] = b
	return b
}

// load fetches blocks that follow each other. Who wants one that failed again tries again.
func (r *reader) load(run []*block) {
	f := &filling{run: run, at: run[0].i * blockSize, end: min((run[len(run)-1].i+1)*blockSize, r.size)}
	err := r.fetch(f)
	if err == nil {
		return
	}
	r.mu.Lock()
	for _, b := range f.run { // those that are not there
		delete(r.blocks, b.i)
	}
	r.mu.Unlock()
	for _, b := range f.run {
		b.data, b.err = nil, err
		close(b.ready)
	}
}

// A filling is what is left of a run of blocks to be read.
type filling struct {
	run     []*block // the first is under way
	n       int      // bytes of it that are there
	at, end int64    // in the object
}

// room is where the next bytes go, which lie before limit.
func (f *filling) room(limit int64) []byte {
	b := f.run[0]
	if b.data == nil {
		b.data = make([]byte, min(blockSize, f.end-f.at))
	}
	return b.data[f.n:][:min(int64(len(b.data)-f.n), limit-f.at)]
}

// filled says that n bytes are there.
func (f *filling) filled(n int) {
	f.n, f.at = f.n+n, f.at+int64(n)
	if b := f.run[0]; f.n == len(b.data) {
		f.run, f.n = f.run[1:], 0
		close(b.ready)
	}
}

// evict forgets the blocks that were not used for longest, but none that is under way. r.mu is held.
func (r *reader) evict() {
	for len(r.blocks) >= keptBlocks {
		oldest := int64(-1)
		for i, b := range r.blocks {
			if b.there() && (oldest < 0 || b.used < r.blocks[oldest].used) {
				oldest = i
			}
		}
		if oldest < 0 {
			return
		}
		delete(r.blocks, oldest)
	}
}

// room is how many blocks may be fetched before anybody waits for them. r.mu is held.
func (r *reader) room() int64 {
	room := int64(keptBlocks)
	for _, b := range r.blocks {
		if !b.there() {
			room--
		}
	}
	return room
}

func (b *block) there() bool {
	select {
	case <-b.ready:
		return true
	default:
		return false
	}
}
