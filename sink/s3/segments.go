package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/sink"
)

// A segmented object is stored as several: NAME.000, NAME.001 and so on, which in this order are
// the bytes that were written, and NAME.segments, a list of them, that is stored last and makes
// them one object. Each is an upload of its own, completed as soon as it is full: what is at
// risk when everything fails is never more than the segments that are not. While one is completed the
// next is written; the one after that waits.
type segmented struct {
	s    *Sink
	name string
	life context.Context // of the completing of full segments
	stop context.CancelFunc
	wg   sync.WaitGroup

	now  sync.Mutex // guards the next three
	cur  *segment
	late bool // the user wants to leave
	note []byte

	mu     sync.Mutex
	full   []*segment // all but cur
	err    error      // of Write
	ending bool       // Commit or Keep were tried: nothing more is taken
	where  string
	ended  bool
}

// A segment is one object of several.
type segment struct {
	*object
	sum   hash.Hash
	taken int64
	r     sink.Receipt
	fault error // of the last attempt to end it
	done  bool
}

// maxSegments is what three digits count.
const maxSegments = 1000

const (
	segmentsType    = "shotglass-segments"
	segmentsVersion = 1
	maxList         = 1 << 20 // bytes
)

// A segmentList is what NAME.segments holds.
type segmentList struct {
	Type     string         `json:"type"`
	Version  int            `json:"v"`
	Name     string         `json:"name"`
	Size     int64          `json:"size"`
	Partial  bool           `json:"partial,omitempty"`
	Segments []sink.Segment `json:"segments"`
}

func segmentName(name string, i int) string { return fmt.Sprintf("%s.%03d", name, i) }

// createSegmented starts an object that is larger than a segment.
func (s *Sink) createSegmented(ctx context.Context, name string) (sink.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	api, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	if !s.take(name) {
		return nil, fmt.Errorf("%s: is being written: %w", s.location(name), sink.ErrExists)
	}
	for _, n := range []string{name, name + sink.SegmentsSuffix} {
		if err := s.lookFor(ctx, api, n); err != nil {
			s.release(name)
			return nil, err
		}
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	o := &segmented{s: s, name: name, life: life, stop: stop, where: s.location(name)}
	if err := o.next(ctx); err != nil {
		s.release(name)
		stop()
		return nil, err
	}
	return o, nil
}

// next begins another segment.
func (o *segmented) next(ctx context.Context) error {
	if len(o.full) == maxSegments {
		return fmt.Errorf("%s: %d segments are full", o.where, maxSegments)
	}
	size := o.s.opts.SegmentSize
	obj, err := o.s.newObject(ctx, segmentName(o.name, len(o.full)), size, true)
	if err != nil {
		return err
	}
	o.now.Lock()
	defer o.now.Unlock()
	o.cur, obj.note = &segment{object: obj, sum: sha256.New()}, o.note
	if o.late {
		obj.stop()
	}
	return nil
}

// Note implements sink.Noter: the journal of each segment has it, for people.
func (o *segmented) Note(note []byte) error {
	o.now.Lock()
	defer o.now.Unlock()
	err := o.cur.Note(note)
	if err == nil {
		o.note = o.cur.note
	}
	return err
}

// Hasten implements sink.Hastener.
func (o *segmented) Hasten(d time.Duration) {
	time.AfterFunc(d, func() {
		o.now.Lock()
		defer o.now.Unlock()
		o.late = true
		o.cur.stop()
		o.stop()
	})
}

func (o *segmented) Location() string {
	o.now.Lock()
	defer o.now.Unlock()
	return o.where
}

func (o *segmented) setWhere(l string) {
	o.now.Lock()
	defer o.now.Unlock()
	o.where = l
}

func (o *segmented) Write(p []byte) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return 0, sink.ErrEnded
	case o.err != nil:
		return 0, o.err
	case o.ending:
		return 0, fmt.Errorf("write %s: it is being stored", o.where)
	}
	for len(p) > 0 {
		room := o.s.opts.SegmentSize - o.cur.taken
		if room == 0 {
			if o.err = o.turn(); o.err != nil {
				return n, o.err
			}
			continue
		}
		k, err := o.cur.Write(p[:min(int64(len(p)), room)])
		o.cur.sum.Write(p[:k])
		o.cur.taken += int64(k)
		n, p = n+k, p[k:]
		if err != nil {
			o.err = err
			return n, err
		}
	}
	return n, nil
}

// turn goes on to the next segment. The parts of the one that is full are stored first, so that
// the memory of two never adds up; then it is completed beside.
func (o *segmented) turn() error {
	seg := o.cur
	seg.mu.Lock()
	err := seg.flush(o.life)
	seg.mu.Unlock()
	if err != nil && !seg.spillable(err) {
		return err
	}
	o.wg.Wait()
	o.full = append(o.full, seg)
	if err := o.next(o.life); err != nil {
		o.full = o.full[:len(o.full)-1]
		return err
	}
	o.wg.Go(func() { seg.commit(o.life) })
	return nil
}

func (g *segment) commit(ctx context.Context) {
	if !g.done {
		g.r, g.fault = g.Commit(ctx)
		g.done = g.fault == nil
	}
}

func (g *segment) keep(ctx context.Context) {
	if !g.done {
		g.r, g.fault = g.Keep(ctx)
		g.done = g.fault == nil
	}
}

// segments returns those that there are. One that nothing was written to is none, but for the first.
func (o *segmented) segments() []*segment {
	if o.cur.taken == 0 && len(o.full) > 0 {
		return o.full
	}
	return append(o.full[:len(o.full):len(o.full)], o.cur)
}

func (o *segmented) Commit(ctx context.Context) (sink.Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := committable(ctx, o.name, o.ended, o.err); err != nil {
		return sink.Receipt{}, err
	}
	return o.end(ctx, false)
}

func (o *segmented) Keep(ctx context.Context) (sink.Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return sink.Receipt{}, sink.ErrEnded
	}
	r, err := o.end(ctx, true)
	if err != nil {
		err = fmt.Errorf("keep %s: %w", o.where, err)
	}
	return r, err
}

// end ends all segments and stores the list of them. It can be called again after an error.
func (o *segmented) end(ctx context.Context, partial bool) (sink.Receipt, error) {
	o.wg.Wait()
	o.ending = true
	var errs []error
	list := &segmentList{Type: segmentsType, Version: segmentsVersion, Name: o.name, Partial: partial}
	var stored int64
	all := sink.Receipt{Name: o.name, Partial: partial}
	segments := o.segments()
	for i, g := range segments {
		if partial {
			g.keep(ctx)
		} else {
			g.commit(ctx)
		}
		if i > 0 && i == len(segments)-1 && errors.Is(g.fault, sink.ErrNothing) {
			break // the image ends before it
		}
		if g.fault != nil {
			errs = append(errs, fmt.Errorf("segment %03d of %s: %w", i, o.name, g.fault))
			continue
		}
		if g.r.Size < g.taken && i < len(segments)-1 {
			g.fault = fmt.Errorf("%s has %d bytes of %d, and others follow it", g.r.Location, g.r.Size, g.taken)
			errs = append(errs, g.fault)
		}
		one := sink.Segment{Name: g.r.Name, Size: g.r.Size, Checksums: g.r.Checksums, ETag: g.r.ETag, VersionID: g.r.VersionID}
		if g.r.Size == g.taken {
			one.SHA256 = hex.EncodeToString(g.sum.Sum(nil))
		}
		list.Segments = append(list.Segments, one)
		all.Notes, all.Encryption = append(all.Notes, g.r.Notes...), g.r.Encryption
		if all.Pending = join(all.Pending, g.r.Pending); g.r.Pending == nil {
			stored += g.r.Size
		}
		list.Size += g.r.Size
	}
	if err := errors.Join(errs...); err != nil {
		return sink.Receipt{}, err
	}
	if len(segments) == len(o.full) { // nothing of the last was written
		if err := o.cur.Abort(ctx); err != nil && !errors.Is(err, sink.ErrEnded) {
			return sink.Receipt{}, err
		}
	}
	if all.Pending != nil {
		o.s.pend(o.name)
	}
	pending, err := o.storeList(ctx, list)
	if err != nil {
		return sink.Receipt{}, err
	}
	if all.Pending = join(all.Pending, pending); all.Pending != nil {
		all.Pending.There += stored
		all.Pending.Final = o.s.location(o.name)
		o.setWhere(all.Pending.Root)
	}
	all.Size, all.Segments, all.Location = list.Size, list.Segments, o.Location()
	o.finish()
	return all, nil
}

// join adds what waits of one segment to what waits of others.
func join(all, one *sink.Pending) *sink.Pending {
	switch {
	case one == nil:
		return all
	case all == nil:
		p := *one
		return &p
	}
	all.Here, all.There = all.Here+one.Here, all.There+one.There
	all.Descriptions = append(all.Descriptions, one.Descriptions...)
	return all
}

// storeList stores the list, which makes the object visible.
func (o *segmented) storeList(ctx context.Context, list *segmentList) (*sink.Pending, error) {
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return nil, err
	}
	obj, err := o.s.newObject(ctx, o.name+sink.SegmentsSuffix, 0, false)
	if err != nil {
		return nil, err
	}
	if _, err := obj.Write(append(data, '\n')); err != nil {
		return nil, errors.Join(err, obj.Abort(ctx))
	}
	r, err := obj.Commit(ctx)
	if err != nil {
		return nil, errors.Join(err, obj.Abort(ctx))
	}
	return r.Pending, nil
}

func (o *segmented) finish() {
	o.ended = true
	o.stop()
	o.s.release(o.name)
}

// Abort discards the segment that is being written. Those that were completed stay.
func (o *segmented) Abort(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return sink.ErrEnded
	}
	o.stop()
	o.wg.Wait()
	var errs []error
	for _, g := range o.full {
		if g.done {
			errs = append(errs, fmt.Errorf("abort %s: it is being stored and stays", g.Location()))
		} else if err := g.Abort(ctx); err != nil && !errors.Is(err, sink.ErrEnded) {
			errs = append(errs, err)
		}
	}
	if err := o.cur.Abort(ctx); err != nil && !errors.Is(err, sink.ErrEnded) {
		errs = append(errs, err)
	}
	o.finish()
	return errors.Join(errs...)
}

var errNoList = errors.New("there is no list of segments")

// readList reads the list of the segments of name; errNoList if there is none.
func (s *Sink) readList(ctx context.Context, api *s3.Client, name string) (*segmentList, error) {
	r, err := s.openOne(ctx, api, name+sink.SegmentsSuffix)
	if errors.Is(err, fs.ErrNotExist) || denied(err) {
		return nil, errNoList
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > maxList {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", s.location(name+sink.SegmentsSuffix), r.Size(), maxList)
	}
	data := make([]byte, r.Size())
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	list := new(segmentList)
	if err := json.Unmarshal(data, list); err != nil {
		return nil, fmt.Errorf("%s: %w", s.location(name+sink.SegmentsSuffix), err)
	}
	var size int64
	for i, g := range list.Segments {
		if g.Name != segmentName(name, i) || g.Size < 0 || g.Size > 1<<50 {
			return nil, fmt.Errorf("%s: segment %d is %q with %d bytes", s.location(name+sink.SegmentsSuffix), i, g.Name, g.Size)
		}
		size += g.Size
	}
	if list.Type != segmentsType || list.Version != segmentsVersion || list.Name != name || size != list.Size || len(list.Segments) == 0 || len(list.Segments) > maxSegments {
		return nil, fmt.Errorf("%s is no list of the segments of %s", s.location(name+sink.SegmentsSuffix), name)
	}
	return list, nil
}

// openSegments finds the segments of name.
func (s *Sink) openSegments(ctx context.Context, api *s3.Client, name string) (stretches []*stretch, size int64, err error) {
	list, err := s.readList(ctx, api, name)
	if err != nil {
		return nil, 0, err
	}
	for i, g := range list.Segments {
		head, err := s.head(ctx, api, g.Name, few)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, 0, fmt.Errorf("%s, segment %d of %d, is missing: %w", s.location(g.Name), i+1, len(list.Segments), err)
		}
		if err != nil {
			return nil, 0, err
		}
		if got := aws.ToInt64(head.ContentLength); got != g.Size {
			return nil, 0, fmt.Errorf("%s has %d bytes, %s says %d", s.location(g.Name), got, name+sink.SegmentsSuffix, g.Size)
		}
		stretches = append(stretches, &stretch{name: g.Name, etag: head.ETag, version: versionOf(head), start: size, size: g.Size})
		size += g.Size
	}
	return stretches, size, nil
}
