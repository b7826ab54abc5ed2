package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/sinktest"
)

// A breaker makes a fake fail on everything while it is on.
type breaker struct {
	on   atomic.Bool
	from int // the UploadPart that turns it on
}

func (b *breaker) fault(c call, w http.ResponseWriter) bool {
	if b.from > 0 && c.Op == "UploadPart" && c.Nth >= b.from {
		b.from = 0
		b.on.Store(true)
	}
	if b.on.Load() {
		apiError(w, 503, "ServiceUnavailable")
	}
	return b.on.Load()
}

// spilling is a sink with a folder, whose bucket fails from part n on.
func spilling(t *testing.T, n int) (*fake, *Sink, *breaker, string) {
	isolate(t)
	f, dir := newFake(t), filepath.Join(t.TempDir(), "spill")
	b := &breaker{from: n}
	f.fault = b.fault
	return f, f.sink(t, func(o *Options) { o.Spill, o.backoff = dir, time.Millisecond }), b, dir
}

func TestConformanceWithSpill(t *testing.T) {
	isolate(t)
	sinktest.Test(t, func(t *testing.T) sink.Sink {
		f, dir := newFake(t), t.TempDir()
		t.Cleanup(func() {
			f.noUploads(t)
			nothingIn(t, dir)
		})
		return f.sink(t, func(o *Options) { o.Spill = dir })
	}, sinktest.Options{})
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	if e, err := os.ReadDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) || len(e) > 0 {
		t.Errorf("%s holds %v, %v", dir, e, err)
	}
}

// pieces writes data to an object whose bucket fails, and ends it.
func pieces(t *testing.T, s *Sink, name string, data []byte, end func(sink.Object) (sink.Receipt, error)) *sink.Pending {
	t.Helper()
	o := create(t, s, name)
	for rest := data; len(rest) > 0; {
		k := min(len(rest), 1_234_567)
		write(t, o, rest[:k])
		rest = rest[k:]
	}
	r, err := end(o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Pending == nil || r.Size != int64(len(data)) || r.Pending.Here+r.Pending.There != r.Size || r.Location != o.Location() {
		t.Fatalf("receipt %+v, pending %+v", r, r.Pending)
	}
	return r.Pending
}

func folderOf(p *sink.Pending) string {
	return filepath.Join(p.Root, filepath.Dir(p.Descriptions[0].Name))
}

func commit(o sink.Object) (sink.Receipt, error) { return o.Commit(context.Background()) }
func keep(o sink.Object) (sink.Receipt, error)   { return o.Keep(context.Background()) }

// TestSpill lets the bucket fail at every part of an image, and come back after the end.
func TestSpill(t *testing.T) {
	data := pattern(5*minPartSize + 5)
	for _, from := range []int{1, 2, 4, 6} {
		for _, partial := range []bool{false, true} {
			t.Run(fmt.Sprintf("from part %d, partial %t", from, partial), func(t *testing.T) {
				f, s, b, dir := spilling(t, from)
				end := commit
				if partial {
					end = keep
				}
				p := pieces(t, s, "image.lime", data, end)
				if k := f.keys(); len(k) > 0 {
					t.Fatalf("objects %q", k)
				}
				again := f.options()
				if _, err := Finish(t.Context(), folderOf(p), again); err == nil {
					t.Fatal("Finish succeeded although the bucket fails")
				}
				b.on.Store(false)
				r, err := Finish(t.Context(), folderOf(p), again)
				if err != nil {
					t.Fatal(err)
				}
				if r.Partial != partial || r.Location != p.Final || r.Checksums["crc64nvme"] == "" {
					t.Errorf("receipt %+v", r)
				}
				f.content(t, "image.lime", data)
				f.noUploads(t)
				nothingIn(t, dir)
			})
		}
	}
}

// TestSpillComesBack: the bucket fails in the middle and is there again at the end.
func TestSpillComesBack(t *testing.T) {
	f, s, b, dir := spilling(t, 3)
	var warned []string
	s.opts.Warn = func(text string) { warned = append(warned, text) }
	o, data := create(t, s, "image.lime"), pattern(12*minPartSize+5)
	write(t, o, data)
	if e, _ := os.ReadDir(filepath.Join(dir, "image.lime.spill")); len(e) < 1 {
		t.Errorf("the folder holds %v", e)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], dir) || !strings.Contains(warned[0], "ServiceUnavailable") {
		t.Errorf("warned: %q", warned)
	}
	b.on.Store(false)
	r, err := o.Commit(t.Context())
	if err != nil || r.Pending != nil || len(r.Notes) != 1 {
		t.Fatalf("Commit = %+v, %v", r, err)
	}
	f.content(t, "image.lime", data)
	f.noUploads(t)
	nothingIn(t, dir)
}

// TestSpillOrder: the parts in the folder and those in the bucket are all, each once.
func TestSpillOrder(t *testing.T) {
	f, s, _, _ := spilling(t, 4)
	data := pattern(9*minPartSize + 5)
	p := pieces(t, s, "image.lime", data, commit)
	d, sum, err := ReadPieces(folderOf(p))
	if err != nil || sum != p.Descriptions[0].SHA256 {
		t.Fatalf("pieces %s, %v", sum, err)
	}
	var whole bytes.Buffer
	for _, piece := range d.Parts {
		if piece.ETag != "" {
			whole.Write(f.uploads[d.Upload].parts[int(piece.Number)])
			continue
		}
		b, err := os.ReadFile(filepath.Join(folderOf(p), piece.File))
		if err != nil {
			t.Fatal(err)
		}
		whole.Write(b)
	}
	if !bytes.Equal(whole.Bytes(), data) {
		t.Error("the pieces are not what was written")
	}
	if p.There == 0 || p.Here == 0 {
		t.Errorf("pending %+v", p)
	}
}

// TestSpillBesides: once an image is in pieces, its manifest does not come before it, though
// the bucket be back.
func TestSpillBesides(t *testing.T) {
	f, s, b, dir := spilling(t, 2)
	data := pattern(3 * minPartSize)
	image := pieces(t, s, "image.lime", data, commit)
	b.on.Store(false)
	paper := pieces(t, s, "image.lime.json", []byte("{}"), commit)
	other := create(t, s, "image2.lime.json")
	write(t, other, []byte("{}"))
	if r, err := other.Commit(t.Context()); err != nil || r.Pending != nil {
		t.Errorf("what lies beside another image: %+v, %v", r, err)
	}
	for _, p := range []*sink.Pending{image, paper} {
		if _, err := Finish(t.Context(), folderOf(p), f.options()); err != nil {
			t.Fatal(err)
		}
	}
	f.content(t, "image.lime", data)
	f.content(t, "image.lime.json", []byte("{}"))
	nothingIn(t, dir)
}

// TestSpillNothingUp: a bucket that fails before anything was stored, also at Create.
func TestSpillNothingUp(t *testing.T) {
	f, s, b, dir := spilling(t, 0)
	b.on.Store(true)
	data := pattern(2*minPartSize + 1)
	image := pieces(t, s, "image.lime", data, commit)
	small := pieces(t, s, "small.json", []byte("{}"), commit)
	b.on.Store(false)
	for _, p := range []*sink.Pending{image, small} {
		if _, err := Finish(t.Context(), folderOf(p), f.options()); err != nil {
			t.Fatal(err)
		}
	}
	f.content(t, "image.lime", data)
	f.content(t, "small.json", []byte("{}"))
	if n := len(f.of("PutObject")); n == 0 {
		t.Error("the small one was not stored by one request")
	}
	f.noUploads(t)
	nothingIn(t, dir)
}

// TestFinishUnanswered: a service that hangs up is told after the few attempts of a question, and nothing is sent to it.
func TestFinishUnanswered(t *testing.T) {
	f, s, b, dir := spilling(t, 0)
	b.on.Store(true)
	image := pieces(t, s, "image.lime", pattern(2*minPartSize+1), commit)
	b.on.Store(false)
	before := len(f.of("CreateMultipartUpload")) + len(f.of("PutObject"))
	f.fault = func(call, http.ResponseWriter) bool { panic(http.ErrAbortHandler) }
	asked := len(f.of("HeadObject"))
	if _, err := Finish(t.Context(), folderOf(image), f.options()); err == nil || !strings.Contains(err.Error(), "look for the object") {
		t.Errorf("Finish: %v", err)
	}
	if n := len(f.of("HeadObject")) - asked; n < 4 || n > 5 { // net/http repeats one on its own
		t.Errorf("asked %d times", n)
	}
	if n := len(f.of("CreateMultipartUpload")) + len(f.of("PutObject")) - before; n != 0 {
		t.Errorf("%d requests to store", n)
	}
	f.fault = nil
	if _, err := Finish(t.Context(), folderOf(image), f.options()); err != nil {
		t.Fatal(err)
	}
	nothingIn(t, dir)
}

// TestSpillTaken: what lost the race for its name does not go to the folder.
func TestSpillTaken(t *testing.T) {
	f, s, _, dir := spilling(t, 0)
	o := create(t, s, "image.lime")
	write(t, o, []byte("mine"))
	f.mu.Lock()
	f.store("case-1/image.lime", "other", []byte("theirs"))
	f.mu.Unlock()
	if _, err := o.Commit(t.Context()); !errors.Is(err, sink.ErrExists) {
		t.Errorf("Commit: %v", err)
	}
	nothingIn(t, dir)
}

// TestSpillTakenLater: the name of an object that is in pieces is taken meanwhile: the pieces are
// described and stay.
func TestSpillTakenLater(t *testing.T) {
	f, s, b, dir := spilling(t, 2)
	o, data := create(t, s, "image.lime"), pattern(12*minPartSize)
	write(t, o, data)
	b.on.Store(false)
	f.mu.Lock()
	f.store("case-1/image.lime", "other", []byte("theirs"))
	f.mu.Unlock()
	if _, err := o.Commit(t.Context()); !errors.Is(err, sink.ErrExists) {
		t.Fatalf("Commit: %v", err)
	}
	r, err := o.Keep(t.Context())
	if err != nil || r.Pending == nil || r.Size != int64(len(data)) {
		t.Fatalf("Keep = %+v, %v", r, err)
	}
	if _, err := Finish(t.Context(), folderOf(r.Pending), f.options()); !errors.Is(err, sink.ErrExists) {
		t.Errorf("Finish: %v", err)
	}
	f.content(t, "image.lime", []byte("theirs"))
	// Somebody aborts the upload: of what is in the folder, nothing is lost.
	d, _, err := ReadPieces(folderOf(r.Pending))
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	delete(f.objects, "case-1/image.lime")
	for n := range f.uploads[d.Upload].parts {
		if d.Parts[n-1].File != "" {
			delete(f.uploads[d.Upload].parts, n)
		}
	}
	f.mu.Unlock()
	if _, err := Finish(t.Context(), folderOf(r.Pending), f.options()); err != nil {
		t.Fatal(err)
	}
	f.content(t, "image.lime", data)
	nothingIn(t, dir)
}

// TestCheckSpill: a folder that cannot be written to is told by the plan.
func TestCheckSpill(t *testing.T) {
	_, s, _, dir := spilling(t, 0)
	if err := s.Check(t.Context(), "image.lime"); err != nil {
		t.Fatal(err)
	}
	nothingIn(t, dir)
	_, s, _, dir = spilling(t, 0)
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), "image.lime"); err == nil || !strings.Contains(err.Error(), "spill") {
		t.Errorf("Check: %v", err)
	}
}

// TestSpillNowhere: without the folder it is as if there were none: what the bucket has is kept.
func TestSpillNowhere(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.fault = faulty("UploadPart", func(n int, w http.ResponseWriter) bool {
		if n > 1 {
			apiError(w, 403, "AccessDenied")
		}
		return n > 1
	})
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o, data := create(t, f.sink(t, func(o *Options) { o.Spill, o.Concurrency = dir, 1 }), "image.lime"), pattern(6*minPartSize)
	if _, err := o.Write(data); err == nil || !strings.Contains(err.Error(), "spill") || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("Write: %v", err)
	}
	if r, err := o.Keep(t.Context()); err != nil || r.Size != minPartSize || r.Pending != nil {
		t.Fatalf("Keep = %+v, %v", r, err)
	}
	f.content(t, "image.lime", data[:minPartSize])
	f.noUploads(t)
}

// TestSpillHastened: a user who leaves while the bucket hangs gets everything into the folder.
func TestSpillHastened(t *testing.T) {
	isolate(t)
	f := newFake(t)
	dir := filepath.Join(t.TempDir(), "spill")
	hung := f.hanging(t, "UploadPart", 2)
	s := f.sink(t, func(o *Options) { o.Spill, o.Concurrency = dir, 1 })
	o, data := create(t, s, "image.lime"), pattern(4*minPartSize+3)
	go func() {
		<-hung
		o.(sink.Hastener).Hasten(100 * time.Millisecond)
	}()
	write(t, o, data)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r, err := o.Keep(ctx)
	if err != nil || r.Pending == nil || r.Size != int64(len(data)) {
		t.Fatalf("Keep = %+v, %v", r, err)
	}
	f.mu.Lock()
	f.fault = nil
	f.mu.Unlock()
	if _, err := Finish(t.Context(), folderOf(r.Pending), f.options()); err != nil {
		t.Fatal(err)
	}
	f.content(t, "image.lime", data)
}

// TestSpillTwice: pieces of an earlier object of that name are left alone.
func TestSpillTwice(t *testing.T) {
	f, s, _, _ := spilling(t, 2)
	first := pieces(t, s, "image.lime", pattern(3*minPartSize), commit)
	s2 := f.sink(t, func(o *Options) { *o = s.opts })
	second := pieces(t, s2, "image.lime", pattern(2*minPartSize), commit)
	if folderOf(first) == folderOf(second) {
		t.Fatalf("both are in %s", folderOf(first))
	}
}

// A smallDisk has room for a few bytes, of which what is reserved is a part.
type smallDisk struct {
	*sink.Disk
	left *atomic.Int64
}

func (d *smallDisk) Reserve(ctx context.Context, name string, n int64) (func(), error) {
	if d.left.Add(-n) < 0 {
		d.left.Add(n)
		return nil, syscall.ENOSPC
	}
	return func() { d.left.Add(n) }, nil
}

func (d *smallDisk) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := d.Disk.Create(ctx, name)
	return &smallFile{o, d, 0}, err
}

type smallFile struct {
	sink.Object
	d *smallDisk
	n int64
}

func (f *smallFile) Write(p []byte) (int, error) {
	if f.d.left.Add(-int64(len(p))) < 0 {
		f.d.left.Add(int64(len(p)))
		return 0, syscall.ENOSPC
	}
	f.n += int64(len(p))
	return f.Object.Write(p)
}

func (f *smallFile) Abort(ctx context.Context) error {
	f.d.left.Add(f.n)
	return f.Object.Abort(ctx)
}

// TestSpillFull: every byte that Write took before the disk was full is in the pieces.
func TestSpillFull(t *testing.T) {
	for _, room := range []int64{1, 6} {
		f, s, b, _ := spilling(t, 2)
		var left atomic.Int64
		left.Store(room*minPartSize + describing + 1000)
		s.opts.folder = func(dir string) (folder, error) {
			d, err := sink.NewDisk(dir)
			return &smallDisk{d, &left}, err
		}
		data := pattern(30 * minPartSize)
		o := create(t, s, "image.lime")
		n, err := 0, error(nil)
		for n < len(data) && err == nil {
			var k int
			k, err = o.Write(data[n:min(n+1_234_567, len(data))])
			n += k
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Write: %v", err)
		}
		if _, err := o.Commit(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Commit: %v", err)
		}
		r, err := o.Keep(t.Context())
		if err != nil || r.Pending == nil || !r.Partial {
			t.Fatalf("Keep = %+v, %v", r, err)
		}
		// If the disk has no room for what is in memory, less is kept, and said.
		if r.Size != int64(n) && room > 4 || r.Size > int64(n) || r.Size < minPartSize*min(room, 5) {
			t.Errorf("room for %d parts: %d bytes are kept of %d", room, r.Size, n)
		}
		b.on.Store(false)
		if _, err := Finish(t.Context(), folderOf(r.Pending), f.options()); err != nil {
			t.Fatal(err)
		}
		f.content(t, "image.lime", data[:r.Size])
	}
}
