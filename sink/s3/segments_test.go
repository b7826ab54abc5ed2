package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/sinktest"
)

// large is a sink all of whose objects are planned to be larger than a segment.
type large struct{ *Sink }

func (l large) Create(ctx context.Context, name string) (sink.Object, error) {
	return l.CreateSized(ctx, name, 1<<40)
}

func segmenting(o *Options) { o.SegmentSize = minPartSize + 4096 }

func TestConformanceInSegments(t *testing.T) {
	isolate(t)
	sinktest.Test(t, func(t *testing.T) sink.Sink {
		f := newFake(t)
		t.Cleanup(func() { f.noUploads(t) })
		return large{f.sink(t, func(o *Options) { o.SegmentSize = 7 << 20 })} // the suite aborts 6 MiB
	}, sinktest.Options{Size: 17<<20 + 3})
}

// TestSegmentPlan: whatever the size of the image, parts and memory stay as planned for one segment.
func TestSegmentPlan(t *testing.T) {
	isolate(t)
	const tb = 1_000_000_000_000
	s := newFake(t).sink(t, func(o *Options) { o.PartSize = defaultPartSize })
	for _, expected := range []int64{513 << 30, 1 << 40, 12 << 40, 24 * tb, 400 << 40} {
		part := partSize(defaultPartSize, defaultSegmentSize)
		if n := (defaultSegmentSize + part - 1) / part; n > maxParts {
			t.Errorf("a segment has %d parts", n)
		}
		if m := s.Memory(expected); m != 4*56<<20 {
			t.Errorf("%d bytes of memory for an image of %d", m, expected)
		}
		if part > 56<<20 {
			t.Errorf("parts of %d bytes", part)
		}
		bound := expected + expected/250
		if n := (bound + defaultSegmentSize - 1) / defaultSegmentSize; n > maxSegments {
			t.Errorf("%d bytes make %d segments", expected, n)
		}
	}
}

func TestSegments(t *testing.T) {
	isolate(t)
	size := minPartSize + 4096
	for _, n := range []int{1, size - 1, size, size + 1, 3 * size, 3*size + 77} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := newFake(t)
			s := f.sink(t, segmenting)
			o, err := s.CreateSized(t.Context(), "image.lime", 1<<40)
			if err != nil {
				t.Fatal(err)
			}
			data := pattern(n)
			for rest := data; len(rest) > 0; {
				k := min(len(rest), 1_234_567)
				write(t, o, rest[:k])
				rest = rest[k:]
			}
			r, err := o.Commit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := (n + size - 1) / size; len(r.Segments) != want || r.Size != int64(n) {
				t.Fatalf("%d segments with %d bytes, want %d with %d", len(r.Segments), r.Size, want, n)
			}
			var whole bytes.Buffer
			for i, g := range r.Segments {
				f.mu.Lock()
				d := f.objects["case-1/"+g.Name].data
				f.mu.Unlock()
				sum := sha256.Sum256(d)
				if g.Name != fmt.Sprintf("image.lime.%03d", i) || g.SHA256 != hex.EncodeToString(sum[:]) || g.Checksums["crc64nvme"] == "" || g.Size != int64(len(d)) {
					t.Errorf("segment %+v", g)
				}
				whole.Write(d)
			}
			if !bytes.Equal(whole.Bytes(), data) {
				t.Error("the segments are not what was written")
			}
			if keys := f.keys(); !slices.IsSorted(keys) || len(keys) != len(r.Segments)+1 {
				t.Errorf("objects %q", keys)
			}
			f.noUploads(t)

			rd, err := s.Open(t.Context(), "image.lime")
			if err != nil {
				t.Fatal(err)
			}
			defer rd.Close()
			got, err := io.ReadAll(rd)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
			if n > size {
				b := make([]byte, 20)
				if _, err := rd.ReadAt(b[:min(20, n-size+10)], int64(size-10)); err != nil || !bytes.Equal(b[:min(20, n-size+10)], data[size-10:min(size+10, n)]) {
					t.Errorf("across segments: %v", err)
				}
			}
		})
	}
}

// TestSegmentsNeverOverwrite: whichever name of the set is taken, it stays, and so does what was
// captured.
func TestSegmentsNeverOverwrite(t *testing.T) {
	isolate(t)
	data := pattern(3 * (minPartSize + 4096))
	for _, name := range []string{"image.lime", "image.lime.000", "image.lime.segments"} {
		f := newFake(t)
		f.store("case-1/"+name, "other", []byte("theirs"))
		if _, err := f.sink(t, segmenting).CreateSized(t.Context(), "image.lime", 1<<40); !errors.Is(err, sink.ErrExists) {
			t.Errorf("%s is taken: %v", name, err)
		}
		f.noUploads(t)
	}
	for _, name := range []string{"image.lime.000", "image.lime.001", "image.lime.002", "image.lime.segments"} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			o, err := f.sink(t, segmenting).CreateSized(t.Context(), "image.lime", 1<<40)
			if err != nil {
				t.Fatal(err)
			}
			f.mu.Lock()
			f.store("case-1/"+name, "other", []byte("theirs"))
			f.mu.Unlock()
			_, err = o.Write(data)
			if err == nil {
				_, err = o.Commit(t.Context())
			}
			if !errors.Is(err, sink.ErrExists) {
				t.Errorf("error %v, want ErrExists", err)
			}
			// What lost the race for a name before it was begun ends the image there.
			if r, err := o.Keep(t.Context()); err == nil && (r.Size >= int64(len(data)) || !r.Partial) {
				t.Errorf("Keep = %+v", r)
			}
			f.content(t, name, []byte("theirs"))
		})
	}
}

// TestSegmentsKept: a bucket that fails in the third segment leaves two, and what the third has.
func TestSegmentsKept(t *testing.T) {
	isolate(t)
	for stored, segments := range map[int]int{4: 2, 5: 3} { // parts; of the third segment none, or one
		segmentsKept(t, stored, segments)
	}
}

func segmentsKept(t *testing.T, stored, segments int) {
	f := newFake(t)
	s := f.sink(t, func(o *Options) { o.SegmentSize, o.Concurrency = 2*minPartSize, 1 })
	f.fault = faulty("UploadPart", func(n int, w http.ResponseWriter) bool {
		if n > stored {
			apiError(w, 500, "InternalError")
		}
		return n > stored
	})
	o, err := s.CreateSized(t.Context(), "image.lime", 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	data := pattern(12 * minPartSize)
	if _, err = o.Write(data); err == nil {
		t.Fatal("Write succeeded")
	}
	r, err := o.Keep(t.Context())
	if err != nil || !r.Partial || r.Size != int64(stored)*minPartSize || len(r.Segments) != segments {
		t.Fatalf("Keep = %+v, %v", r, err)
	}
	rd, err := s.Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	if got, err := io.ReadAll(rd); err != nil || !bytes.Equal(got, data[:r.Size]) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	f.noUploads(t)
}

func TestSegmentsHastened(t *testing.T) {
	isolate(t)
	f := newFake(t)
	hung := f.hanging(t, "UploadPart", 4)
	s := f.sink(t, func(o *Options) { o.SegmentSize, o.Concurrency = 2*minPartSize, 1 })
	o, err := s.CreateSized(t.Context(), "image.lime", 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	go func() {
		<-hung
		o.(sink.Hastener).Hasten(100 * time.Millisecond)
	}()
	if _, err := o.Write(pattern(12 * minPartSize)); err == nil {
		t.Fatal("Write succeeded")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	r, err := o.Keep(ctx)
	if err != nil || r.Size != 3*minPartSize {
		t.Errorf("Keep = %+v, %v", r, err)
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("it took %s to leave", d)
	}
	f.noUploads(t)
}

func TestSegmentMissing(t *testing.T) {
	isolate(t)
	for name, damage := range map[string]func(*fake){
		"image.lime.001, segment 2 of 3, is missing": func(f *fake) { delete(f.objects, "case-1/image.lime.001") },
		"image.lime.002 has 3 bytes":                 func(f *fake) { f.store("case-1/image.lime.002", "", []byte("abc")) },
		"is no list": func(f *fake) {
			f.store("case-1/image.lime.segments", "", []byte(`{"segments":[{"name":"image.lime.000"}]}`))
		},
		"segment 1 is": func(f *fake) { f.edit("image.lime.segments", "image.lime.001", "../../etc/a.001") },
	} {
		f := newFake(t)
		s := f.sink(t, segmenting)
		o, err := s.CreateSized(t.Context(), "image.lime", 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		write(t, o, pattern(2*(minPartSize+4096)+1))
		if _, err := o.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		damage(f)
		f.mu.Unlock()
		if _, err := s.Open(t.Context(), "image.lime"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
}

func (f *fake) edit(name, from, to string) {
	o := f.objects["case-1/"+name]
	o.data = bytes.ReplaceAll(o.data, []byte(from), []byte(to))
}

// TestSegmentsSpill: the bucket fails in the second segment and comes back after the end.
func TestSegmentsSpill(t *testing.T) {
	f, s, b, dir := spilling(t, 4)
	s.opts.SegmentSize = 2 * minPartSize
	o, err := s.CreateSized(t.Context(), "image.lime", 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	data := pattern(7*minPartSize + 1)
	write(t, o, data)
	r, err := o.Commit(t.Context())
	if err != nil || r.Pending == nil || r.Size != int64(len(data)) || r.Pending.Here+r.Pending.There < r.Size || r.Location != o.Location() {
		t.Fatalf("Commit = %+v, %v", r, err)
	}
	if _, err := s.Open(t.Context(), "image.lime"); err == nil {
		t.Error("it can be opened")
	}
	b.on.Store(false)
	for _, d := range r.Pending.Descriptions { // the list is the last
		folder := folderOf(&sink.Pending{Root: r.Pending.Root, Descriptions: []sink.Description{d}})
		if _, err := Finish(t.Context(), folder, f.options()); err != nil {
			t.Fatal(err)
		}
	}
	rd, err := s.Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	if got, err := io.ReadAll(rd); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	f.noUploads(t)
	nothingIn(t, dir)
}
