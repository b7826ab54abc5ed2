package stripe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// A Reader gives the pieces in order. Make one with Start. Its methods may be called from
// any goroutine.
type Reader struct {
	o      Options
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	cond  *sync.Cond
	err   error  // why no more pieces come
	head  int64  // the next piece to give back
	next  int64  // the lowest that nobody was asked for yet
	redo  []*job // to be asked for again; the lowest first
	ready map[int64]*job
	free  [][]byte
	made  int // buffers

	lanes   map[*lane]struct{}
	opening int // calls of Open under way
	idle    int // lanes that wait for a buffer, or for a piece to be asked for again

	stats    Stats
	refusal  error // of the last Open; nil: it made a lane
	finished int64 // bytes of lanes that have ended
	growth   growth
}

// A job is a piece with its buffer.
type job struct {
	i     int64
	buf   []byte
	tries int
}

// lane is a Lane at work.
type lane struct {
	Lane
	owes bool // pieces that were asked for have not come
	shut bool // closed by the monitor
}

// Start opens lanes and begins to read. It ends with ctx, or with Close.
func Start(ctx context.Context, o Options) *Reader {
	o = o.withDefaults()
	r := &Reader{o: o, ready: map[int64]*job{}, lanes: map[*lane]struct{}{}}
	r.cond = sync.NewCond(&r.mu)
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.stats.First = o.Lanes
	r.growth.on = o.Most > o.Lanes
	stop := context.AfterFunc(r.ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.fail(context.Cause(r.ctx))
	})
	r.mu.Lock()
	for range o.Lanes {
		r.open(false)
	}
	r.mu.Unlock()
	r.wg.Go(func() {
		defer stop()
		r.monitor()
	})
	return r
}

// Next waits for the next piece and returns it; io.EOF after the last. It is valid until
// Done.
func (r *Reader) Next() (i int64, p []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.head == r.o.Pieces {
			return 0, nil, io.EOF
		}
		if j := r.ready[r.head]; j != nil { // what has come whole is given even after a failure
			return j.i, j.buf, nil
		}
		if r.err != nil {
			return 0, nil, r.err
		}
		r.cond.Wait()
	}
}

// Done gives the piece of Next back.
func (r *Reader) Done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	j := r.ready[r.head]
	delete(r.ready, r.head)
	r.head++
	r.free = append(r.free, j.buf[:cap(j.buf)])
	r.cond.Broadcast()
}

// Close ends all lanes and returns when they have ended. It may be called more than once.
func (r *Reader) Close() {
	r.Interrupt(errors.New("closed"))
	r.wg.Wait()
}

// Interrupt makes Next fail with err, and lanes end.
func (r *Reader) Interrupt(err error) { r.cancel(err) }

// Received counts the bytes that arrived, repeated pieces included.
func (r *Reader) Received() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.received()
}

func (r *Reader) received() int64 {
	n := r.finished
	for l := range r.lanes {
		n += l.Received()
	}
	return n
}

// Whole reports whether every piece has come, though not all may have been taken by Next.
func (r *Reader) Whole() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head+int64(len(r.ready)) == r.o.Pieces
}

// Stats says what was done so far.
func (r *Reader) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Bytes = r.received()
	return s
}

// fail ends everything; the first reason counts. r.mu is held.
func (r *Reader) fail(err error) {
	if r.err == nil {
		if r.refusal != nil && len(r.lanes) == 0 && !errors.Is(err, ErrFatal) {
			err = fmt.Errorf("%w; no connection was left, and none could be made: %w", err, r.refusal)
		}
		r.err = err
	}
	for l := range r.lanes {
		l.Close()
	}
	r.cond.Broadcast()
	r.cancel(err)
}

// open makes a lane in the background. r.mu is held.
func (r *Reader) open(spare bool) {
	r.opening++
	r.wg.Go(func() {
		l, err := r.o.Open(r.ctx)
		r.mu.Lock()
		r.opening--
		if err != nil {
			r.refused(err)
			r.mu.Unlock()
			return
		}
		if r.err != nil {
			r.mu.Unlock()
			l.Close()
			return
		}
		n := &lane{Lane: l}
		r.lanes[n] = struct{}{}
		r.stats.Made++
		r.refusal = nil
		r.stats.Most = max(r.stats.Most, len(r.lanes))
		r.growth.fails = 0
		if spare {
			r.relieve()
		}
		r.mu.Unlock()
		r.run(n)
	})
}

// refused notes that no lane could be made. r.mu is held.
func (r *Reader) refused(err error) {
	g := &r.growth
	g.on = false
	if now := time.Now(); !now.Before(g.after) { // several that were made at once fail once
		g.fails++
		g.after = now.Add(min(time.Duration(g.fails)*2*time.Second, 15*time.Second))
	}
	if r.err != nil || r.ctx.Err() != nil {
		return
	}
	r.refusal = err
	if len(r.lanes)+r.opening+g.replace < r.o.Lanes { // as many as were meant to begin with
		g.replace++
	}
	if errors.Is(err, ErrFatal) && len(r.lanes)+r.opening == 0 {
		r.fail(err)
		return
	}
	r.o.Event(fmt.Sprintf("a connection could not be made: %v", err))
}

// run works a lane until there is nothing left to do, or it fails.
func (r *Reader) run(l *lane) {
	var owed []*job
	var err error
	for {
		for len(owed) < depth && err == nil {
			j := r.take(l, len(owed) == 0)
			if j == nil {
				break
			}
			owed = append(owed, j)
			err = l.Ask(j.i, j.buf)
		}
		if len(owed) == 0 {
			break
		}
		if err == nil {
			err = l.Await(owed[0].i)
		}
		if err != nil {
			break
		}
		r.deliver(l, owed[0], len(owed) > 1)
		owed = owed[1:]
	}
	l.Close() // from here on it writes into no buffer
	r.mu.Lock()
	delete(r.lanes, l)
	r.finished += l.Received()
	r.mu.Unlock()
	if err != nil {
		r.lost(l, owed, err)
	}
}

// take waits for a piece to ask for, if it may, and for a buffer. Nil: there is none.
func (r *Reader) take(l *lane, wait bool) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.err != nil || r.head == r.o.Pieces:
			return nil
		case len(r.redo) > 0:
			j := r.redo[0]
			r.redo = r.redo[1:]
			l.owes = true
			return j
		case r.next < r.o.Pieces && r.buffer():
			n := len(r.free) - 1
			buf := r.free[n]
			r.free = r.free[:n]
			j := &job{i: r.next, buf: buf[:r.o.Size(r.next)]}
			r.next++
			l.owes = true
			return j
		case !wait:
			return nil
		}
		r.idle++
		r.cond.Wait()
		r.idle--
	}
}

// buffer makes sure that there is a free one, if there may be one more. They are made as
// lanes come. r.mu is held.
func (r *Reader) buffer() bool {
	if len(r.free) == 0 && r.made < buffers(min(len(r.lanes), r.o.Most)) {
		r.made++
		r.free = append(r.free, make([]byte, r.o.Max))
	}
	return len(r.free) > 0
}

func (r *Reader) deliver(l *lane, j *job, owes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.owes = owes
	r.ready[j.i] = j
	if j.i == r.head {
		r.cond.Broadcast()
	}
}

// lost puts back what a dead lane owed.
func (r *Reader) lost(l *lane, owed []*job, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	r.stats.Lost++
	if errors.Is(err, ErrEnd) {
		r.fail(err)
		return
	}
	if len(owed) > 0 { // the others had not begun
		if owed[0].tries++; owed[0].tries == maxTries {
			r.fail(&PieceError{owed[0].i, maxTries, err})
			return
		}
	}
	r.stats.Again += int64(len(owed))
	r.redo = append(r.redo, owed...)
	slices.SortFunc(r.redo, func(a, b *job) int { return cmp.Compare(a.i, b.i) })
	if !l.shut {
		r.o.Event(fmt.Sprintf("a connection was lost, what it owed is read again: %v", err))
	}
	r.growth.replace++
	r.cond.Broadcast()
}
