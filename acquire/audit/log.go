package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// Options say how a log is kept.
type Options struct {
	Case string
	Now  func() time.Time // nil: time.Now

	// Live is where the log lies while it grows, under its partial name: on a disk of
	// this machine, so that it survives a crash. Nil: in memory alone.
	Live sink.Sink
	// Problem is told when the log cannot be written, once. It must not block. The run goes on.
	Problem func(error)
}

// A Log is the log of one run. Adding to it never waits for a disk: a goroutine of the log
// writes and syncs what was added. The lines stay in memory until Close, some 500 bytes
// each and some 15 for a host, so that what is signed is what was said, whatever became
// of the file meanwhile. It is safe for concurrent use.
type Log struct {
	opts Options
	name string
	run  string

	mu        sync.Mutex
	lines     []byte
	seq       int
	head      string // digest of the last line
	manifests []Record
	stalled   map[string]bool
	closed    bool

	live    sink.Object // of the goroutine until stopped is closed; nil: none, or it failed
	wake    chan struct{}
	stop    chan struct{}
	stopped chan struct{}
	failed  error
}

// Start begins a log. The name is made of the case and the time. A live place that does
// not work is a problem, not an error: the log is then written at the end alone.
func Start(ctx context.Context, o Options) *Log {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Problem == nil {
		o.Problem = func(error) {}
	}
	l := &Log{
		opts: o, run: strings.ToLower(rand.Text()[:12]), head: none, stalled: map[string]bool{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	l.name = logName(o.Case, o.Now())
	if o.Live != nil {
		obj, err := o.Live.Create(ctx, l.name)
		if errors.Is(err, sink.ErrExists) { // another run of this second
			l.name = l.run + "-" + l.name
			obj, err = o.Live.Create(ctx, l.name)
		}
		if err != nil {
			l.fail(fmt.Errorf("write audit log: %w", err))
		} else {
			l.live = obj
		}
	}
	go l.write()
	return l
}

// logName is <case>-<UTC time>-audit.jsonl, in safe characters.
func logName(id string, at time.Time) string {
	safe := []byte(id)
	for i, c := range safe {
		if sink.ValidName("a"+string(rune(c))+"a") != nil {
			safe[i] = '_'
		}
	}
	base := strings.TrimLeft(string(safe), ".-")
	base = base[:min(len(base), 100)]
	if base == "" {
		base = "shotglass"
	}
	return base + "-" + at.UTC().Format("20060102T150405Z") + Suffix
}

// Name is the name of the log.
func (l *Log) Name() string { return l.name }

// Run is the random name of the run.
func (l *Log) Run() string { return l.run }

// Add appends an entry. Entries after Close are dropped.
func (l *Log) Add(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.add(e)
	}
}

func (l *Log) add(e Entry) {
	e.Seq, e.Run, e.Case = l.seq+1, l.run, l.opts.Case
	line, err := e.encode(l.opts.Now(), l.head)
	if err != nil { // a value that no JSON can hold; say that there was one
		line, _ = (&Entry{Seq: e.Seq, Run: l.run, Case: l.opts.Case, Event: e.Event, Host: e.Host, Message: err.Error()}).encode(l.opts.Now(), l.head)
	}
	l.lines = append(l.lines, line...)
	l.seq, l.head = e.Seq, sum(line)
	if e.Manifest != nil {
		l.manifests = append(l.manifests, *e.Manifest)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Head names the last entry; it is acquire.Options.Previous.
func (l *Log) Head() *acquire.Reference {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &acquire.Reference{Name: l.name, Line: l.seq, SHA256: l.head}
}

func (l *Log) fail(err error) {
	if l.failed == nil {
		l.failed = err
		l.opts.Problem(err)
	}
}

// write puts lines onto the disk until stop is closed, and then the rest.
func (l *Log) write() {
	defer close(l.stopped)
	written := 0
	for ended := false; !ended; {
		select {
		case <-l.wake:
		case <-l.stop:
			ended = true
		}
		l.mu.Lock()
		more := l.lines[written:] // bytes that are there never change
		l.mu.Unlock()
		if l.live == nil || len(more) == 0 {
			continue
		}
		written += len(more)
		_, err := l.live.Write(more)
		if s, ok := l.live.(sink.Syncer); ok && err == nil {
			err = s.Sync()
		}
		if err != nil {
			l.fail(fmt.Errorf("write audit log: %w", err))
			l.live.Keep(context.Background()) // the start of it is better than nothing
			l.live = nil
		}
	}
}

// Saved says where the log is.
type Saved struct {
	Location  string `json:"location,omitempty"`
	Signature string `json:"signature,omitempty"` // location
	Lines     int    `json:"lines"`
	SHA256    string `json:"sha256,omitempty"` // of the whole log
	Bytes     int64  `json:"bytes"`
}

// Close adds end, with all manifests of the run, makes the log whole in dest and signs it;
// a nil signer does not. When dest does not take it, the log stays in the live place, and the
// error says so; Saved says where in any case. Close may be called once.
func (l *Log) Close(ctx context.Context, dest sink.Sink, signer ssh.Signer, end Entry) (Saved, error) {
	l.mu.Lock()
	end.Event, end.Manifests = EventEnd, l.manifests
	l.add(end)
	l.closed = true
	data := l.lines
	l.mu.Unlock()
	close(l.stop)
	<-l.stopped

	s := Saved{Lines: l.seq, SHA256: sum(data), Bytes: int64(len(data))}
	where, err := l.settle(ctx, dest, data)
	s.Location = where
	if signer == nil {
		return s, err
	}
	armored, serr := signature.SignIn(signature.LogNamespace, data, signer)
	if serr != nil {
		return s, errors.Join(err, fmt.Errorf("sign audit log: %w", serr))
	}
	for _, place := range l.places(dest, err) {
		if place == l.opts.Live { // a disk of this machine waits for nothing
			ctx = context.WithoutCancel(ctx)
		}
		where, serr := put(ctx, place, l.name+acquire.SignatureSuffix, armored)
		s.Signature = where
		if _, waits := errors.AsType[*acquire.PendingError](serr); serr != nil && !(waits && err != nil) { // as err says of the log
			err = errors.Join(err, fmt.Errorf("write signature of audit log: %w", serr))
		}
	}
	return s, err
}

// places are where the signature goes: wherever the log is, since nobody can sign it later. err is
// what became of the log in dest.
func (l *Log) places(dest sink.Sink, err error) (out []sink.Sink) {
	_, waits := errors.AsType[*acquire.PendingError](err)
	if err == nil || waits {
		out = append(out, dest)
	}
	if err != nil && l.opts.Live != nil && l.live != nil {
		out = append(out, l.opts.Live)
	}
	return out
}

// settle makes the log visible in dest.
func (l *Log) settle(ctx context.Context, dest sink.Sink, data []byte) (string, error) {
	if l.live != nil && dest == l.opts.Live {
		r, err := l.live.Commit(ctx)
		if err == nil {
			return r.Location, nil
		}
		_, kerr := l.live.Keep(ctx)
		return l.live.Location(), errors.Join(fmt.Errorf("write audit log: %w", err), kerr)
	}
	name := l.name
	if dest == l.opts.Live { // the start of it lies there as partial
		name = l.run + "-" + name
		if l.live == nil && l.failed != nil {
			l.name = name
		}
	}
	where, err := put(ctx, dest, name, data)
	switch {
	case err == nil && l.live != nil:
		err = l.live.Abort(ctx) // the copy of this machine
		return where, err
	case err == nil:
		return where, nil
	case l.live == nil:
		return where, fmt.Errorf("write audit log: %w", err)
	}
	r, cerr := l.live.Commit(context.WithoutCancel(ctx)) // whatever became of dest's time
	if cerr != nil {
		return l.live.Location(), errors.Join(fmt.Errorf("write audit log: %w", err), cerr)
	}
	return r.Location, fmt.Errorf("write audit log: %w; it is kept in %s", err, r.Location)
}

// put stores a small file.
func put(ctx context.Context, s sink.Sink, name string, data []byte) (string, error) {
	obj, err := s.Create(ctx, name)
	if err != nil {
		return "", err
	}
	if _, err = obj.Write(data); err == nil {
		var r sink.Receipt
		if r, err = obj.Commit(ctx); err == nil && r.Pending != nil {
			return r.Location, &acquire.PendingError{Pending: *r.Pending}
		} else if err == nil {
			return r.Location, nil
		}
	}
	_, kerr := obj.Keep(ctx)
	return obj.Location(), errors.Join(err, kerr)
}
