package stripe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The tests count in units: a piece is one, and mega is what a million bytes per second
// would be if a unit had a MiB. Real MiBs would make the tests slow.
const (
	unit = 4096
	mega = 1e6 * unit / (1 << 20)
)

// A fakeLink makes lanes that bring pieces at a rate, in the time of a synctest bubble.
type fakeLink struct {
	rate   float64 // bytes per second of a lane
	total  float64 // of all together; 0: no limit
	refuse func(n int) error
	fault  func(l *fakeLane, i int64) error // before a piece is whole
	down   atomic.Bool

	mu    sync.Mutex
	made  int
	lanes int
	most  int
}

type fakeLane struct {
	link   *fakeLink
	n      int
	closed chan struct{}
	once   sync.Once
	bytes  atomic.Int64
	last   atomic.Int64
	owed   [][]byte
}

func (f *fakeLink) open(ctx context.Context) (Lane, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	if f.down.Load() {
		return nil, errors.New("no route to host")
	}
	if f.refuse != nil {
		if err := f.refuse(f.made); err != nil {
			return nil, err
		}
	}
	f.lanes++
	f.most = max(f.most, f.lanes)
	l := &fakeLane{link: f, n: f.made, closed: make(chan struct{})}
	l.last.Store(time.Now().UnixNano())
	return l, nil
}

func (l *fakeLane) Ask(i int64, buf []byte) error {
	l.owed = append(l.owed, buf)
	return nil
}

func (l *fakeLane) Await(i int64) error {
	f := l.link
	buf := l.owed[0]
	l.owed = l.owed[1:]
	f.mu.Lock()
	rate := f.rate
	if f.total > 0 {
		rate = min(rate, f.total/float64(f.lanes))
	}
	f.mu.Unlock()
	if rate > 0 {
		select {
		case <-time.After(time.Duration(float64(len(buf)) / rate * float64(time.Second))):
		case <-l.closed:
			return errors.New("closed")
		}
	}
	if f.fault != nil {
		if err := f.fault(l, i); err != nil {
			return err
		}
	}
	fill(i, buf)
	l.bytes.Add(int64(len(buf)))
	l.last.Store(time.Now().UnixNano())
	return nil
}

func (l *fakeLane) Last() time.Time { return time.Unix(0, l.last.Load()) }
func (l *fakeLane) Received() int64 { return l.bytes.Load() }
func (l *fakeLane) Close() {
	l.once.Do(func() {
		close(l.closed)
		l.link.mu.Lock()
		l.link.lanes--
		l.link.mu.Unlock()
	})
}

// hang waits until the lane is closed.
func (l *fakeLane) hang() error {
	<-l.closed
	return errors.New("closed")
}

func fill(i int64, p []byte) {
	for k := range p {
		p[k] = byte(i) ^ byte(k)
	}
	if len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, uint64(i))
	}
}

func sizeOf(i int64) int { return 8 + int(i*37%993) }

// readAll reads everything and checks each byte.
func readAll(t *testing.T, r *Reader, size func(int64) int) (pieces int64, err error) {
	t.Helper()
	want := make([]byte, unit)
	for {
		i, p, err := r.Next()
		if err != nil {
			return pieces, err
		}
		if i != pieces || len(p) != size(i) {
			t.Fatalf("piece %d of %d bytes, want %d of %d", i, len(p), pieces, size(pieces))
		}
		fill(i, want[:len(p)])
		if string(p) != string(want[:len(p)]) {
			t.Fatalf("piece %d is damaged", i)
		}
		r.Done()
		pieces++
	}
}

func start(t *testing.T, f *fakeLink, o Options) *Reader {
	o.Open = f.open
	if o.Size == nil {
		o.Size, o.Max = func(int64) int { return unit }, unit
	}
	if o.Event == nil {
		o.Event = func(s string) { t.Log(s) }
	}
	return Start(t.Context(), o)
}

// wholly reads everything within the time that it should take.
func wholly(t *testing.T, r *Reader, o Options, limit time.Duration) {
	t.Helper()
	size := o.Size
	if size == nil {
		size = func(int64) int { return unit }
	}
	begin := time.Now()
	n, err := readAll(t, r, size)
	if err != io.EOF || n != o.Pieces {
		t.Fatalf("%d of %d pieces, %v", n, o.Pieces, err)
	}
	if d := time.Since(begin); limit > 0 && d > limit {
		t.Errorf("took %s, want at most %s", d, limit)
	}
	r.Close()
}

// TestFaults: whatever lanes do, every piece comes once, whole and in order.
func TestFaults(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			odds := func() float64 { mu.Lock(); defer mu.Unlock(); return rnd.Float64() }
			f := &fakeLink{rate: 20000, fault: func(l *fakeLane, i int64) error {
				switch p := odds(); {
				case p < 0.01:
					return errors.New("connection reset")
				case p < 0.015:
					return l.hang()
				}
				return nil
			}, refuse: func(n int) error {
				if n > 1 && odds() < 0.3 {
					return errors.New("refused")
				}
				return nil
			}}
			o := Options{Pieces: 1 + int64(rnd.IntN(600)), Size: sizeOf, Max: 1 << 10, Lanes: 1 + rnd.IntN(5), Most: 6, Event: func(string) {}}
			r := start(t, f, o)
			wholly(t, r, o, 0)
			if s := r.Stats(); f.lanes != 0 || s.Most > 7 {
				t.Errorf("%d lanes are left, stats %+v", f.lanes, s)
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &fakeLink{}, Options{})
		if _, _, err := r.Next(); err != io.EOF {
			t.Error(err)
		}
		r.Close()
	})
}

// TestGrow: lanes are added while each brings its share, and no further.
func TestGrow(t *testing.T) {
	for _, tt := range []struct {
		name  string
		link  *fakeLink
		lanes int // at the end, at least and at most
		most  int
	}{
		{"every lane adds", &fakeLink{rate: 10 * mega}, 16, 16},
		{"the link is full at four", &fakeLink{rate: 10 * mega, total: 40 * mega}, 4, 7},
		{"one is all", &fakeLink{rate: 100 * mega, total: 100 * mega}, 2, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := Options{Pieces: 8000, Lanes: 1, Most: 16, RoundTrip: 200 * time.Millisecond}
				r := start(t, tt.link, o)
				wholly(t, r, o, 0)
				if tt.link.most < tt.lanes || tt.link.most > tt.most {
					t.Errorf("%d lanes, want %d to %d", tt.link.most, tt.lanes, tt.most)
				}
			})
		})
	}
}

// TestSlowReader: who reads is the slower side, so no lane is added, and buffers stay few.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLink{rate: 50 * mega}
		o := Options{Pieces: 300, Lanes: 2, Most: 16}
		r := start(t, f, o)
		for {
			_, _, err := r.Next()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			r.Done()
		}
		if f.most != 2 || int64(r.made)*unit > Memory(2, unit) {
			t.Errorf("%d lanes, %d buffers", f.most, r.made)
		}
		r.Close()
	})
}

// TestQuiet: one lane of four hangs without dying; the others go on.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLink{rate: 10 * mega}
		f.fault = func(l *fakeLane, i int64) error {
			if l.n == 2 && i > 20 {
				return l.hang()
			}
			return nil
		}
		o := Options{Pieces: 1000, Lanes: 4}
		r := start(t, f, o)
		wholly(t, r, o, 60*time.Second) // 26 s without the fault
		if s := r.Stats(); s.Lost != 1 || s.Again == 0 || s.Made != 5 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestOutage: the link is down for longer than lanes may be quiet. None is given up while
// nothing better is there, and all goes on when it is back.
func TestOutage(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		t.Run(fmt.Sprint(lanes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeLink{rate: 10 * mega}
				back := make(chan struct{})
				f.fault = func(l *fakeLane, i int64) error {
					if f.down.Load() {
						select {
						case <-l.closed:
							return errors.New("closed")
						case <-back:
						}
					}
					return nil
				}
				time.AfterFunc(20*time.Second, func() { f.down.Store(true) })
				time.AfterFunc(200*time.Second, func() { f.down.Store(false); close(back) })
				o := Options{Pieces: 1000, Lanes: lanes}
				r := start(t, f, o)
				wholly(t, r, o, 330*time.Second)
				if s := r.Stats(); s.Lost > lanes {
					t.Errorf("stats %+v", s)
				}
			})
		})
	}
}

// TestDeadLink: all lanes die and no new one can be made for a while.
func TestDeadLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLink{rate: 10 * mega}
		f.fault = func(l *fakeLane, i int64) error {
			if f.down.Load() {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		time.AfterFunc(5*time.Second, func() { f.down.Store(true) })
		time.AfterFunc(100*time.Second, func() { f.down.Store(false) })
		o := Options{Pieces: 500, Lanes: 3}
		r := start(t, f, o)
		wholly(t, r, o, 200*time.Second)
	})
}

// TestBadPiece: a piece that no lane can bring ends the reading; what came before it was given.
func TestBadPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLink{rate: 10 * mega, fault: func(l *fakeLane, i int64) error {
			if i == 50 {
				return errors.New("short")
			}
			return nil
		}}
		r := start(t, f, Options{Pieces: 100, Lanes: 3})
		n, err := readAll(t, r, func(int64) int { return unit })
		if p, ok := errors.AsType[*PieceError](err); !ok || p.Piece != 50 || n != 50 || !strings.Contains(err.Error(), "short") {
			t.Errorf("%d pieces, %v", n, err)
		}
		r.Close()
	})
}

// TestTurnedAway: a server lets two in at a time and turns the others away, as sshd does
// (MaxStartups). All are let in at last.
func TestTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLink{rate: 10 * mega}
		var inside atomic.Int64
		o := Options{Pieces: 4000, Lanes: 8, Most: 8, Event: func(s string) { t.Log(s) }}
		o.Size, o.Max = func(int64) int { return unit }, unit
		o.Open = func(ctx context.Context) (Lane, error) {
			if inside.Add(1) > 2 {
				inside.Add(-1)
				return nil, errors.New("exceeded MaxStartups")
			}
			time.Sleep(300 * time.Millisecond) // the login
			inside.Add(-1)
			return f.open(ctx)
		}
		r := Start(t.Context(), o)
		wholly(t, r, o, 0)
		if s := r.Stats(); s.Most != 8 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestFatal: without any lane, and none to be had, there is an end at once.
func TestFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLink{rate: 10 * mega, refuse: func(n int) error {
			if n > 1 {
				return fmt.Errorf("%w: no credential accepted", ErrFatal)
			}
			return nil
		}}
		o := Options{Pieces: 100, Lanes: 3}
		r := start(t, f, o)
		wholly(t, r, o, 0) // one lane is enough

		f.made = 1
		r = start(t, f, o)
		if _, _, err := r.Next(); !errors.Is(err, ErrFatal) {
			t.Error(err)
		}
		r.Close()
	})
}

// TestEnd: a lane can end the reading; nothing is asked for again.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enough := fmt.Errorf("%w: enough", ErrEnd)
		f := &fakeLink{rate: 10 * mega, fault: func(l *fakeLane, i int64) error {
			if i == 20 {
				return enough
			}
			return nil
		}}
		r := start(t, f, Options{Pieces: 100, Lanes: 3})
		var err error
		for err == nil {
			if _, _, err = r.Next(); err == nil {
				r.Done()
			}
		}
		if err != enough || f.made != 3 {
			t.Errorf("%v, %d lanes", err, f.made)
		}
		r.Close()
	})
}

func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeLink{rate: 10 * mega, fault: func(l *fakeLane, i int64) error { return l.hang() }}
		r := start(t, f, Options{Pieces: 100, Lanes: 3})
		boom := errors.New("boom")
		time.AfterFunc(time.Second, func() { r.Interrupt(boom) })
		if _, _, err := r.Next(); err != boom {
			t.Error(err)
		}
		r.Close()
		if f.lanes != 0 {
			t.Errorf("%d lanes are left", f.lanes)
		}
	})
}
