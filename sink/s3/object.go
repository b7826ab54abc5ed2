package s3

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/crc64nvme"

	"github.com/shotglass-ir/shotglass/sink"
)

// An object is one upload. What does not fill a part is stored by one request at the end;
// the first full part begins a multipart upload.
type object struct {
	s        *Sink
	api      *s3.Client
	name     string
	life     context.Context // of the parts under way
	stop     context.CancelFunc
	planned  bool
	partSize int64
	terms    terms
	note     []byte // JSON; see sink.Noter

	where atomic.Pointer[string]
	slots chan struct{} // one token for each part under way
	free  chan []byte   // buffers of parts that are stored
	wg    sync.WaitGroup
	lost  atomic.Bool // a part could not be stored
	local bool        // what it lies beside is in pieces: it goes to the spill

	finishing bool // Finish removes the folder itself

	mu     sync.Mutex
	buf    []byte // the part that is being filled
	size   int64  // bytes taken
	crc    uint64 // of them
	upload *string
	parts  []*part
	spill  *spill        // nil until the bucket has failed
	err    error         // first error of Write
	stored *sink.Receipt // the service has the whole object
	ended  bool
}

var (
	_ sink.Object   = (*object)(nil)
	_ sink.Hastener = (*object)(nil)
	_ sink.Noter    = (*object)(nil)
)

func (o *object) Location() string { return *o.where.Load() }

func (o *object) setLocation(l string) { o.where.Store(&l) }

// Hasten ends the uploads of Write after d: their parts fail, and Keep tries them again.
func (o *object) Hasten(d time.Duration) { time.AfterFunc(d, o.stop) }

// checksum is a CRC64NVME as the service writes it.
func checksum(crc uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, crc))
}

func (o *object) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return 0, sink.ErrEnded
	case o.err != nil:
		return 0, o.err
	case o.stored != nil:
		return 0, fmt.Errorf("write %s: it was stored already", o.Location())
	}
	n := 0
	for n < len(p) {
		if o.spill != nil && o.spill.full != nil {
			o.err = o.spill.full
			return n, o.err
		}
		size := int(grown(o.partSize, o.planned, len(o.parts)))
		if len(o.buf) >= size {
			if o.err = o.send(o.life); o.err != nil {
				return n, o.err
			}
			continue
		}
		k := min(len(p)-n, size-len(o.buf))
		o.fill(p[n:n+k], size)
		n += k
	}
	return n, nil
}

// fill adds to the buffer. It grows from small, as most objects are; once there are parts,
// it is made whole.
func (o *object) fill(p []byte, size int) {
	if o.buf == nil && len(o.parts) > 0 {
		select {
		case o.buf = <-o.free:
		default:
		}
		if cap(o.buf) < size {
			o.buf = make([]byte, 0, size)
		}
	}
	if need := len(o.buf) + len(p); need > cap(o.buf) {
		bigger := make([]byte, len(o.buf), min(size, max(need, 4*cap(o.buf), 64<<10)))
		copy(bigger, o.buf)
		o.buf = bigger
	}
	o.buf = append(o.buf, p...)
	o.size += int64(len(p))
	o.crc = crc64nvme.Update(o.crc, p)
}

// committable says why an object cannot be committed; failed is the error of a Write.
func committable(ctx context.Context, name string, ended bool, failed error) error {
	switch {
	case ended:
		return sink.ErrEnded
	case ctx.Err() != nil:
		return cancelled(ctx, "commit", name)
	}
	return failed
}

// Commit stores the rest, completes the object and compares the service's checksum with ours.
func (o *object) Commit(ctx context.Context) (sink.Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := committable(ctx, o.name, o.ended, o.err); err != nil {
		return sink.Receipt{}, err
	}
	err := o.store(ctx)
	switch {
	case err == nil:
		return o.end(false), nil
	case o.spillable(err) && !errors.Is(err, sink.ErrExists):
		return o.pend(false, err)
	}
	return sink.Receipt{}, err
}

// Keep completes the object with what is stored. Parts that failed are tried once more; if
// one fails again, the object ends before it.
func (o *object) Keep(ctx context.Context) (sink.Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return sink.Receipt{}, sink.ErrEnded
	}
	err := o.store(ctx)
	if o.upload == nil && len(o.parts) == 0 && errors.Is(err, sink.ErrExists) {
		err = o.storeElsewhere(ctx)
	}
	if err != nil && o.spillable(err) {
		r, perr := o.pend(true, err)
		if perr == nil {
			return r, nil
		}
		err = perr
	}
	var short *partError
	if errors.As(err, &short) {
		err = o.truncate(ctx, err)
	}
	var e *Error
	if errors.As(err, &e) && e.Status/100 == 4 && o.upload == nil && o.spill == nil {
		err = errors.Join(err, sink.ErrNothing) // a call without an answer may have stored it
	}
	if err != nil {
		return sink.Receipt{}, fmt.Errorf("keep %s: %w", o.Location(), err)
	}
	return o.end(true), nil
}

// end is called when the service has the object.
func (o *object) end(partial bool) sink.Receipt {
	r := *o.stored
	r.Location, r.Partial = o.Location(), partial
	o.finish()
	return r
}

func (o *object) finish() {
	o.ended = true
	o.stop()
	o.s.release(o.name)
	if o.spill != nil {
		o.spill.release()
		o.spill.journal.close()
	}
	o.buf, o.parts = nil, nil
}

// store makes the whole object durable in the bucket. It can be called again after an error.
func (o *object) store(ctx context.Context) error {
	switch {
	case o.stored != nil:
		return nil
	case o.local:
		return errAwaits
	case o.upload == nil && len(o.parts) == 0:
		return o.put(ctx, o.name)
	case o.upload == nil && len(o.parts) == 1 && len(o.buf) == 0:
		return o.putPart(ctx, o.parts[0])
	}
	if err := o.flush(ctx); err != nil {
		return err
	}
	if err := o.complete(ctx, o.parts, o.size, o.crc); err != nil {
		return err
	}
	o.unspill()
	return nil
}

// putPart stores an object whose only part is in the spill.
func (o *object) putPart(ctx context.Context, p *part) (err error) {
	if o.buf, err = o.load(p); err != nil {
		return &partError{p.number, err}
	}
	defer func() { o.buf = nil }()
	if err = o.put(ctx, o.name); err == nil {
		o.unspill()
	}
	return err
}

// unspill is called when the service has what was in the folder.
func (o *object) unspill() {
	o.s.shaky.Store(false)
	if o.spill == nil || o.finishing {
		return
	}
	o.stored.Notes = append(o.stored.Notes, fmt.Sprintf("the bucket failed, and took later what had gone to %s: %v", o.spill.dir, o.spill.why))
	if err := o.spill.remove(o.parts); err != nil {
		o.s.warn(fmt.Sprintf("%s is stored, and its pieces could not be removed: %v", o.Location(), err))
	}
}

var errAwaits = errors.New("what it lies beside is not in the bucket yet")

// flush uploads what is left, and again what failed, and waits.
func (o *object) flush(ctx context.Context) error {
	if err := o.wait(ctx); err != nil {
		return err
	}
	// Of a time that is bounded, the rest is for completing what is stored.
	upload := ctx
	if end, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		upload, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	if o.spill != nil && len(o.buf) > 0 {
		o.spillPart(o.cut()) // what the disk does not take is in memory, and may go to the bucket
	}
	if o.upload == nil {
		if err := o.begin(upload); err != nil {
			return err
		}
	}
	o.lost.Store(false)
	for _, p := range o.parts {
		if !p.stored && upload.Err() == nil {
			o.start(upload, p)
		}
	}
	if err := o.wait(ctx); err != nil {
		return err
	}
	if err := o.failed(); err != nil {
		return err
	}
	if len(o.buf) > 0 {
		if err := o.send(upload); err != nil {
			return err
		}
	}
	if err := o.wait(ctx); err != nil {
		return err
	}
	return o.failed()
}

// wait waits for the parts under way, or for ctx.
func (o *object) wait(ctx context.Context) error {
	n := 0
	defer func() {
		for range n {
			<-o.slots
		}
	}()
	for ; n < cap(o.slots); n++ {
		select {
		case o.slots <- struct{}{}:
		case <-ctx.Done():
			return cancelled(ctx, "commit", o.name)
		}
	}
	return nil
}

// Abort throws away what was written. What the service has already as an object stays.
func (o *object) Abort(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return sink.ErrEnded
	}
	if o.stored != nil {
		o.finish()
		return fmt.Errorf("abort %s: it was stored already and stays", o.Location())
	}
	o.stop()
	o.wg.Wait()
	err := o.s.abortUpload(ctx, o.api, o.name, o.upload)
	if o.spill != nil {
		err = errors.Join(err, o.spill.remove(o.parts))
	}
	o.finish()
	return err
}
