package frame

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// PoolOptions configures a Pool. The zero value is the default.
type PoolOptions struct {
	Workers int    // default GOMAXPROCS
	Level   string // of zstd, one of Levels; default "fastest": what keeps up with a network
}

// A Pool compresses and digests the blocks of all writers of a process. It
// serves them in the order in which they come; since a writer's blocks are
// bounded, none can crowd out another. Beside the blocks that each
// writer owns, the pool has one block for each worker that whoever needs it
// borrows: a single host can use every core, and many hosts need little
// memory each. A Pool is safe for concurrent use.
type Pool struct {
	workers int
	enc     *zstd.Encoder
	encoder int64 // memory of one, rounded up
	extra   chan *Block
	wg      sync.WaitGroup

	mu          sync.Mutex
	wake        sync.Cond
	first, last *Block // waiting for a worker
	closed      bool
	spare       sync.Pool // of *room
	zero        map[zeroKey]stored
}

type zeroKey struct {
	size        int
	compression string
}

// stored is what a frame is stored as.
type stored struct {
	data []byte
	sum  Sum
}

// NewPool starts a pool. Close ends it. A level that is none panics.
func NewPool(o PoolOptions) *Pool {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	level := zstd.SpeedFastest
	if o.Level != "" {
		ok := false
		if ok, level = zstd.EncoderLevelFromString(o.Level); !ok {
			panic(fmt.Sprintf("frame: unknown level %q", o.Level))
		}
	}
	// A window as long as the default frame: nothing before it is referred to,
	// and it keeps each encoder's history at 2 MiB. Single segments carry their raw
	// size even when they are short, which a file without a seek table needs.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(o.Workers),
		zstd.WithWindowSize(DefaultSize), zstd.WithEncoderCRC(true), zstd.WithSingleSegment(true))
	if err != nil {
		panic(fmt.Sprintf("frame: zstd options: %v", err))
	}
	p := &Pool{
		workers: o.Workers, enc: enc, encoder: 4 << 20,
		extra: make(chan *Block, o.Workers),
		zero:  make(map[zeroKey]stored),
	}
	if level > zstd.SpeedDefault {
		p.encoder = 8 << 20
	}
	p.wake.L = &p.mu
	for range o.Workers {
		p.extra <- newBlock(p.extra)
		p.wg.Go(p.work)
	}
	return p
}

// Close ends the workers. All writers must have been closed.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wake.Broadcast()
	p.wg.Wait()
}

// Workers returns the number of workers.
func (p *Pool) Workers() int { return p.workers }

// push queues a block. It never waits: there are only so many blocks.
func (p *Pool) push(b *Block) {
	b.next = nil
	p.mu.Lock()
	if p.last == nil {
		p.first = b
	} else {
		p.last.next = b
	}
	p.last = b
	p.mu.Unlock()
	p.wake.Signal()
}

func (p *Pool) work() {
	for {
		p.mu.Lock()
		for p.first == nil && !p.closed {
			p.wake.Wait()
		}
		b := p.first
		if b == nil {
			p.mu.Unlock()
			return
		}
		if p.first = b.next; p.first == nil {
			p.last = nil
		}
		p.mu.Unlock()
		p.store(b)
		b.ready <- struct{}{}
	}
}

// store makes the stored form of a block.
func (p *Pool) store(b *Block) {
	switch {
	case len(b.Data) == b.size && isZero(b.Data):
		b.stored = p.zeroFrame(zeroKey{b.size, b.compression})
		if b.compression == None {
			b.stored.data = b.Data
		}
	case b.compression == None:
		b.stored = stored{data: b.Data}
		b.digest()
	default:
		if need := p.bound(b.compression, b.size); cap(b.out) < need {
			b.out = make([]byte, 0, need)
		}
		b.stored.data = p.encode(b.compression, b.out[:0], b.Data)
		b.digest()
	}
}

// encode appends the compressed form of a frame to dst.
func (p *Pool) encode(compression string, dst, raw []byte) []byte {
	if compression == S2 {
		return appendS2(dst, raw)
	}
	return p.enc.EncodeAll(raw, dst)
}

// bound is the most that a frame of size raw bytes is compressed to; 0 where
// it is stored as it is.
func (p *Pool) bound(compression string, size int) int {
	switch compression {
	case None:
		return 0
	case S2:
		return s2Bound(size)
	}
	return p.enc.MaxEncodedSize(size)
}

// zeroFrame returns the stored form of a block of zeros, made once.
func (p *Pool) zeroFrame(k zeroKey) stored {
	p.mu.Lock()
	s, ok := p.zero[k]
	p.mu.Unlock()
	if ok {
		return s
	}
	data := make([]byte, k.size)
	if k.compression != None {
		data = p.encode(k.compression, nil, data)
		s.data = data
	}
	s.sum = sha256.Sum256(data)
	p.mu.Lock()
	p.zero[k] = s
	p.mu.Unlock()
	return s
}

// A Block is a buffer for the raw bytes of one frame. It comes from
// Writer.Get, is filled, and given back through Writer.Put; other readers of
// Data hold it with Retain and let it go with Release.
type Block struct {
	Data []byte // for Put: the raw bytes of the frame, at most the frame size

	buf    []byte
	out    []byte // room for the compressed form
	stored stored
	size   int // of a whole frame
	refs   atomic.Int32
	ready  chan struct{} // stored is there
	home   chan *Block
	next   *Block
	blind  bool // no digest

	compression string
}

func newBlock(home chan *Block) *Block {
	return &Block{ready: make(chan struct{}, 1), home: home}
}

// digest digests the stored form, if somebody wants that.
func (b *Block) digest() {
	b.stored.sum = Sum{}
	if !b.blind {
		b.stored.sum = sha256.Sum256(b.stored.data)
	}
}

// A room is the memory of a block whose writer has closed. The next writer takes it: hundreds of
// short captures would otherwise leave garbage faster than it is collected.
type room struct{ buf, out []byte }

func (p *Pool) recycle(b *Block) {
	if b.buf != nil {
		p.spare.Put(&room{b.buf, b.out})
		b.buf, b.out, b.Data = nil, nil, nil
	}
}

// reuse gives a block without memory some that was recycled, if there is any.
func (p *Pool) reuse(b *Block) {
	if r, ok := p.spare.Get().(*room); ok {
		b.buf, b.out = r.buf, r.out
	}
}

// Retain adds n readers of Data.
func (b *Block) Retain(n int) { b.refs.Add(int32(n)) }

// Release lets the block go; after the last reader it goes back to where it
// came from.
func (b *Block) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		b.home <- b
	case n < 0:
		panic("frame: block released twice")
	}
}
