package frame

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// DefaultInFlight is how many blocks a writer owns: one being filled, one
// being digested, one being compressed, one being written.
const DefaultInFlight = 4

// Options configures a Writer. Pool must be set; the rest has defaults.
type Options struct {
	Pool        *Pool
	Compression string // Zstd (default), S2 or None
	Size        int    // raw bytes of a frame; default DefaultSize, at most MaxSize
	InFlight    int    // blocks owned by the writer; default DefaultInFlight
	NoDigest    bool   // leave out the frames' digests: somebody else has them, of these bytes or of what is made of them
}

// WithDefaults returns a copy with the defaults set, or an error.
func (o Options) WithDefaults() (Options, error) {
	if o.Compression == "" {
		o.Compression = Zstd
	}
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.InFlight == 0 {
		o.InFlight = DefaultInFlight
	}
	switch {
	case o.Pool == nil:
		return o, errors.New("frame: no pool")
	case !slices.Contains(Compressions, o.Compression):
		return o, fmt.Errorf("frame: unknown compression %q", o.Compression)
	case o.Size < 1 || o.Size > MaxSize:
		return o, fmt.Errorf("frame: size %d is not in 1 to %d", o.Size, MaxSize)
	case o.InFlight < 1:
		return o, fmt.Errorf("frame: %d blocks in flight", o.InFlight)
	}
	return o, nil
}

// Memory returns the bytes that blocks of one writer take, at most: raw and
// compressed form of each. The pool's own are Pool.Memory.
func (o Options) Memory() (int64, error) {
	o, err := o.WithDefaults()
	if err != nil {
		return 0, err
	}
	return int64(o.InFlight) * o.Pool.blockMemory(o), nil
}

func (p *Pool) blockMemory(o Options) int64 {
	return int64(o.Size) + int64(p.bound(o.Compression, o.Size))
}

// Memory returns the bytes that the pool takes, at most, when its writers have
// the options o: the blocks to borrow, and some 4 MiB of encoder for each worker, 8 MiB at the level
// "better".
func (p *Pool) Memory(o Options) (int64, error) {
	o.Pool = p
	o, err := o.WithDefaults()
	if err != nil {
		return 0, err
	}
	return int64(p.workers) * (p.blockMemory(o) + p.encoder), nil
}

// A Writer writes a stream as frames. Feed it whole blocks through Get and
// Put, or bytes through Write; then Close it, also when the stream ended early: what
// was fed becomes a well-formed image. It never writes a frame out of order,
// nor anything after the destination has failed. Its methods must not be
// called concurrently, except Failed and Err.
type Writer struct {
	o     Options
	dst   io.Writer
	free  chan *Block
	order chan *Block
	wg    sync.WaitGroup

	cur    *Block // being filled by Write
	short  bool   // a short frame was put: it must be the last
	closed bool

	failed chan struct{}
	err    error // set before failed is closed

	index     Index
	checksums []uint32
}

// NewWriter returns a Writer to dst, which gets one Write for each frame. Close
// must be called.
func NewWriter(dst io.Writer, o Options) (*Writer, error) {
	o, err := o.WithDefaults()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		o: o, dst: dst,
		free:   make(chan *Block, o.InFlight),
		order:  make(chan *Block, o.InFlight+o.Pool.workers),
		failed: make(chan struct{}),
		index:  Index{Compression: o.Compression},
	}
	for range o.InFlight {
		w.free <- newBlock(w.free)
	}
	w.wg.Go(w.write)
	return w, nil
}

// Get returns a block to fill, with Data of the frame size, as soon as one is
// free. It fails when the destination has failed or ctx ends. The block must
// be given back by Put or Release.
func (w *Writer) Get(ctx context.Context) (*Block, error) {
	if err := w.Err(); err != nil {
		return nil, err
	}
	var b *Block
	select { // own blocks first, so that the pool's stay for who needs them
	case b = <-w.free:
	default:
		select {
		case b = <-w.free:
		case b = <-w.o.Pool.extra:
		case <-w.failed:
			return nil, w.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if cap(b.buf) < w.o.Size {
		w.o.Pool.reuse(b)
	}
	if cap(b.buf) < w.o.Size {
		b.buf = make([]byte, w.o.Size)
	}
	b.Data = b.buf[:w.o.Size]
	b.size, b.compression, b.blind = w.o.Size, w.o.Compression, w.o.NoDigest
	b.refs.Store(1)
	return b, nil
}

// Put takes over one reference to a block that was filled, to compress and
// write it. Only the last block may hold less than a frame. It does not wait;
// failures of the destination show in Err and Close.
func (w *Writer) Put(b *Block) error {
	switch {
	case w.closed, w.short, len(b.Data) > w.o.Size:
		b.Release()
		return errors.New("frame: block after the end of the stream, or too large")
	case len(b.Data) == 0:
		b.Release()
		return nil
	}
	w.short = len(b.Data) < w.o.Size
	w.o.Pool.push(b)
	w.order <- b
	return nil
}

// Write copies p into blocks and puts those that are full.
func (w *Writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, errors.New("frame: write after close")
	}
	n := 0
	for n < len(p) {
		if w.cur == nil {
			b, err := w.Get(context.Background())
			if err != nil {
				return n, err
			}
			w.cur, b.Data = b, b.buf[:0]
		}
		m := copy(w.cur.buf[len(w.cur.Data):w.o.Size], p[n:])
		w.cur.Data = w.cur.buf[:len(w.cur.Data)+m]
		n += m
		if len(w.cur.Data) == w.o.Size {
			b := w.cur
			w.cur = nil
			if err := w.Put(b); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Close writes what is left and, where it is compressed, the seek table, and returns the
// first error of the destination. It does not close the destination. After it,
// Index is final.
func (w *Writer) Close() error {
	if w.closed {
		return w.Err()
	}
	if w.cur != nil {
		b := w.cur
		w.cur = nil
		if err := w.Put(b); err != nil {
			w.fail(err)
		}
	}
	w.closed = true
	close(w.order)
	w.wg.Wait()
	for len(w.free) > 0 { // blocks that somebody still reads stay theirs
		w.o.Pool.recycle(<-w.free)
	}
	if end := appendTable(nil, &w.index, w.checksums); w.Err() == nil && len(end) > 0 {
		w.send(end)
	}
	return w.Err()
}

// Index lists the frames that the destination took whole. It is valid after
// Close.
func (w *Writer) Index() *Index { return &w.index }

// Size returns the raw size of a whole frame.
func (w *Writer) Size() int { return w.o.Size }

// Blocks returns how many blocks there can be at once, at most.
func (w *Writer) Blocks() int { return cap(w.order) }

// Failed is closed when the destination has failed.
func (w *Writer) Failed() <-chan struct{} { return w.failed }

// Err returns the error of the destination, once it has failed.
func (w *Writer) Err() error {
	select {
	case <-w.failed:
		return w.err
	default:
		return nil
	}
}

// write writes blocks in order as they become ready. After a failure it only
// lets them go.
func (w *Writer) write() {
	for b := range w.order {
		<-b.ready
		if w.Err() == nil && w.send(b.stored.data) {
			w.index.add(int64(len(b.stored.data)), int64(len(b.Data)), b.stored.sum)
			if b.compression == Zstd {
				// The frame ends with the checksum that the table wants:
				// the low half of the XXH64 of its raw bytes.
				w.checksums = append(w.checksums, binary.LittleEndian.Uint32(b.stored.data[len(b.stored.data)-4:]))
			}
		}
		b.Release()
	}
}

func (w *Writer) send(p []byte) bool {
	n, err := w.dst.Write(p)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.fail(err)
	}
	return err == nil
}

// fail is called by one goroutine at a time: write, and Close after it.
func (w *Writer) fail(err error) {
	if w.Err() == nil {
		w.err = err
		close(w.failed)
	}
}
