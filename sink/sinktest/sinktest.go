// Package sinktest is the conformance suite of sinks: every implementation of
// [sink.Sink] passes [Test].
package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/shotglass-ir/shotglass/sink"
)

// Options tune the suite to a sink. The zero value is ready.
type Options struct {
	// Size is that of the large object. The default crosses one part of an S3
	// multipart upload at its smallest, 5 MiB, and is no power of two.
	Size int
	// Faulty, if set, returns a sink whose objects fail to take more than n
	// bytes each.
	Faulty func(t *testing.T, n int64) sink.Sink
}

func (o Options) withDefaults() Options {
	if o.Size == 0 {
		o.Size = 6<<20 + 4097
	}
	return o
}

// Test runs the suite. newSink returns an empty sink; it is called once per
// subtest. A sink that is a [sink.Opener] is read back.
func Test(t *testing.T, newSink func(t *testing.T) sink.Sink, o Options) {
	o = o.withDefaults()
	tests := []struct {
		name string
		run  func(*testing.T, sink.Sink)
	}{
		{"names", names},
		{"commit", func(t *testing.T, s sink.Sink) { commit(t, s, pattern(o.Size)) }},
		{"empty", func(t *testing.T, s sink.Sink) { commit(t, s, nil) }},
		{"invisible before commit", invisible},
		{"keep", func(t *testing.T, s sink.Sink) { keep(t, s, pattern(o.Size)) }},
		{"keep empty", func(t *testing.T, s sink.Sink) { keep(t, s, nil) }},
		{"abort", abort},
		{"ends once", endsOnce},
		{"never overwrites", func(t *testing.T, s sink.Sink) { exclusive(t, s) }},
		{"race for a name", race},
		{"cancelled", cancelled},
		{"create context ends", createContext},
		{"concurrent objects", concurrent},
		{"missing object", missing},
		{"free", free},
		{"check", check},
		{"list", list},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, newSink(t)) })
	}
	if o.Faulty != nil {
		t.Run("failed write", func(t *testing.T) { failedWrite(t, o.Faulty) })
	}
}

// pattern returns n bytes without a short period.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(n) | 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

func create(t *testing.T, s sink.Sink, name string) sink.Object {
	t.Helper()
	o, err := s.Create(t.Context(), name)
	if err != nil {
		t.Fatalf("Create(%q): %v", name, err)
	}
	return o
}

func write(t *testing.T, o sink.Object, data []byte) {
	t.Helper()
	for len(data) > 0 {
		n := min(len(data), 1<<20)
		if m, err := o.Write(data[:n]); m != n || err != nil {
			t.Fatalf("Write of %d bytes = %d, %v", n, m, err)
		}
		data = data[n:]
	}
}

// content checks what is stored under name, by stream and by range.
func content(t *testing.T, s sink.Sink, name string, want []byte) {
	t.Helper()
	opener, ok := s.(sink.Opener)
	if !ok {
		return
	}
	r, err := opener.Open(t.Context(), name)
	if err != nil {
		t.Errorf("Open(%q): %v", name, err)
		return
	}
	defer r.Close()
	if r.Size() != int64(len(want)) {
		t.Errorf("Size of %q = %d, want %d", name, r.Size(), len(want))
	}
	mid := len(want) / 2
	for _, span := range [][2]int{{mid, len(want)}, {0, mid}, {len(want), len(want)}, {mid / 2, mid/2 + min(7, mid/2)}} {
		b := make([]byte, span[1]-span[0])
		n, err := r.ReadAt(b, int64(span[0]))
		if n != len(b) || err != nil && err != io.EOF || !bytes.Equal(b, want[span[0]:span[1]]) {
			t.Errorf("ReadAt of %q, bytes %d to %d: n = %d, err = %v, or wrong content", name, span[0], span[1], n, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, 2), int64(len(want))-1); len(want) > 0 && (n != 1 || err != io.EOF) {
		t.Errorf("ReadAt of %q across its end = %d, %v, want 1, EOF", name, n, err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q: read %d bytes, %v; want %d bytes, or their content differs", name, len(got), err, len(want))
	}
}

func receipt(t *testing.T, o sink.Object, r sink.Receipt, size int, partial bool) {
	t.Helper()
	if r.Size != int64(size) || r.Partial != partial || r.Name == "" || r.Location != o.Location() {
		t.Errorf("receipt %+v, want size %d, partial %t, location %q", r, size, partial, o.Location())
	}
}

func taken(t *testing.T, s sink.Sink, name string) {
	t.Helper()
	if o, err := s.Create(t.Context(), name); !errors.Is(err, sink.ErrExists) {
		t.Errorf("Create(%q) again: %v, want ErrExists", name, err)
		if err == nil {
			o.Abort(t.Context())
		}
	}
}

func absent(t *testing.T, s sink.Sink, name string) {
	t.Helper()
	if opener, ok := s.(sink.Opener); ok {
		if r, err := opener.Open(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v, want fs.ErrNotExist", name, err)
			if err == nil {
				r.Close()
			}
		}
	}
}

func names(t *testing.T, s sink.Sink) {
	if s.String() == "" {
		t.Error("String is empty")
	}
	for _, name := range []string{
		"", ".", "..", ".hidden", "-f", "a/b", "../a", `a\b`, "/a", "a b", "a\x00", "a\n", "é", "a:b", "a*", "dot.",
		"a" + sink.PartialSuffix, strings.Repeat("x", sink.MaxName+1),
	} {
		if o, err := s.Create(t.Context(), name); err == nil {
			t.Errorf("Create(%q) succeeded", name)
			o.Abort(t.Context())
		}
	}
	for _, name := range []string{
		"a", "db-1.example.org-20260131T101112Z-mem.lime.zst.age", "_+=@", strings.Repeat("x", sink.MaxName),
	} {
		commitName(t, s, name, []byte(name))
	}
}

func commitName(t *testing.T, s sink.Sink, name string, data []byte) {
	t.Helper()
	o := create(t, s, name)
	write(t, o, data)
	r, err := o.Commit(t.Context())
	if err != nil {
		t.Fatalf("Commit of %q: %v", name, err)
	}
	receipt(t, o, r, len(data), false)
	content(t, s, r.Name, data)
}

func commit(t *testing.T, s sink.Sink, data []byte) {
	commitName(t, s, "image.lime", data)
	taken(t, s, "image.lime")
}

func invisible(t *testing.T, s sink.Sink) {
	o := create(t, s, "image.lime")
	write(t, o, pattern(100))
	absent(t, s, "image.lime")
	taken(t, s, "image.lime")
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	content(t, s, "image.lime", pattern(100))
}

func keep(t *testing.T, s sink.Sink, data []byte) {
	o := create(t, s, "image.lime")
	write(t, o, data)
	r, err := o.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	receipt(t, o, r, len(data), true)
	content(t, s, r.Name, data)
	taken(t, s, "image.lime")
}

func abort(t *testing.T, s sink.Sink) {
	o := create(t, s, "image.lime")
	write(t, o, pattern(100))
	if err := o.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	absent(t, s, "image.lime")
	commit(t, s, pattern(50)) // the name is free again
}

func endsOnce(t *testing.T, s sink.Sink) {
	ends := map[string]func(sink.Object) error{
		"commit": func(o sink.Object) error { _, err := o.Commit(t.Context()); return err },
		"keep":   func(o sink.Object) error { _, err := o.Keep(t.Context()); return err },
		"abort":  func(o sink.Object) error { return o.Abort(t.Context()) },
	}
	for first, end := range ends {
		o := create(t, s, first+"ted.lime")
		write(t, o, pattern(10))
		if err := end(o); err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		for second, again := range ends {
			if err := again(o); !errors.Is(err, sink.ErrEnded) {
				t.Errorf("%s after %s: %v, want ErrEnded", second, first, err)
			}
		}
		if n, err := o.Write([]byte("x")); n != 0 || !errors.Is(err, sink.ErrEnded) {
			t.Errorf("Write after %s = %d, %v, want ErrEnded", first, n, err)
		}
		if first == "commit" {
			content(t, s, "committed.lime", pattern(10))
		}
	}
}

func exclusive(t *testing.T, s sink.Sink) {
	commitName(t, s, "image.lime", pattern(10))
	taken(t, s, "image.lime")
	content(t, s, "image.lime", pattern(10))

	o := create(t, s, "other.lime")
	write(t, o, pattern(20))
	r, err := o.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	taken(t, s, "other.lime")
	content(t, s, r.Name, pattern(20))
}

// race lets writers fight for one name: one gets it, and whoever had an object
// still keeps its bytes.
func race(t *testing.T, s sink.Sink) {
	const writers = 8
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		won   [][]byte
		kept  = map[string][]byte{}
		start = make(chan struct{})
	)
	for i := range writers {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte('a' + i)}, 1000+i)
			<-start
			o, err := s.Create(t.Context(), "image.lime")
			if err != nil {
				if !errors.Is(err, sink.ErrExists) {
					t.Errorf("Create: %v, want ErrExists", err)
				}
				return
			}
			if _, err := o.Write(data); err != nil {
				t.Error(err)
			}
			_, err = o.Commit(t.Context())
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				won = append(won, data)
				return
			}
			if !errors.Is(err, sink.ErrExists) {
				t.Errorf("Commit: %v, want ErrExists", err)
			}
			r, err := o.Keep(t.Context())
			if err != nil {
				t.Errorf("Keep after a lost race: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			kept[r.Name] = data
		})
	}
	close(start)
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d writers committed one name, want 1", len(won))
	}
	content(t, s, "image.lime", won[0])
	for name, data := range kept {
		content(t, s, name, data)
	}
}

func cancelled(t *testing.T, s sink.Sink) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o, err := s.Create(ctx, "image.lime"); !errors.Is(err, context.Canceled) {
		t.Errorf("Create with a cancelled context: %v", err)
		if err == nil {
			o.Abort(t.Context())
		}
	}
	for _, name := range []string{"kept.lime", "committed.lime"} {
		o := create(t, s, name)
		write(t, o, pattern(10))
		if _, err := o.Commit(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("Commit with a cancelled context: %v", err)
		}
		absent(t, s, name)
		end := o.Commit
		if name == "kept.lime" {
			end = o.Keep
		}
		r, err := end(t.Context())
		if err != nil {
			t.Fatalf("%s: end after a cancelled Commit: %v", name, err)
		}
		content(t, s, r.Name, pattern(10))
	}
}

// createContext checks that the context of Create bounds Create alone: the one
// of a capture that was interrupted must not take the bytes with it.
func createContext(t *testing.T, s sink.Sink) {
	ctx, cancel := context.WithCancel(t.Context())
	o, err := s.Create(ctx, "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	write(t, o, pattern(10))
	cancel()
	write(t, o, pattern(10))
	r, err := o.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content(t, s, r.Name, append(pattern(10), pattern(10)...))
}

func concurrent(t *testing.T, s sink.Sink) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			data := pattern(100_000 + i)
			o, err := s.Create(t.Context(), fmt.Sprintf("host-%d.lime", i))
			if err != nil {
				t.Error(err)
				return
			}
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 7001)
				if _, err := o.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				o.Location()
				rest = rest[n:]
			}
			end := o.Commit
			if i%4 == 3 {
				end = o.Keep
			}
			r, err := end(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			content(t, s, r.Name, data)
		})
	}
	wg.Wait()
}

func missing(t *testing.T, s sink.Sink) {
	absent(t, s, "image.lime")
	absent(t, s, "image.lime"+sink.PartialSuffix)
	if opener, ok := s.(sink.Opener); ok {
		for _, name := range []string{"", "..", "../x", "a/b", sink.PartialSuffix} {
			if r, err := opener.Open(t.Context(), name); err == nil {
				t.Errorf("Open(%q) succeeded", name)
				r.Close()
			}
		}
	}
}

func free(t *testing.T, s sink.Sink) {
	checker, ok := s.(sink.SpaceChecker)
	if !ok {
		t.Skip("no SpaceChecker")
	}
	if n, err := checker.Free(t.Context()); err != nil || n <= 0 {
		t.Errorf("Free = %d, %v", n, err)
	}
}

func check(t *testing.T, s sink.Sink) {
	checker, ok := s.(sink.Checker)
	if !ok {
		t.Skip("no Checker")
	}
	for range 2 { // the second time shows that the first left nothing
		if err := checker.Check(t.Context(), "image.lime"); err != nil {
			t.Fatalf("Check: %v", err)
		}
	}
	if err := checker.Check(t.Context(), "a/b"); err == nil {
		t.Error("Check took a bad name")
	}
	commitName(t, s, "image.lime", pattern(10))
	o := create(t, s, "other.lime")
	if _, err := o.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"image.lime", "other.lime"} {
		if err := checker.Check(t.Context(), name); !errors.Is(err, sink.ErrExists) {
			t.Errorf("Check(%q): %v, want ErrExists", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := checker.Check(ctx, "third.lime"); !errors.Is(err, context.Canceled) {
		t.Errorf("Check with a cancelled context: %v", err)
	}
}

// list checks that what ended is listed under the names of its receipts, that what was
// aborted is not, and that another writer's unfinished object can be told from a committed one.
func list(t *testing.T, s sink.Sink) {
	lister, ok := s.(sink.Lister)
	if !ok {
		t.Skip("no Lister")
	}
	if l, err := lister.List(t.Context()); err != nil || len(l.Objects)+len(l.Unfinished) != 0 {
		t.Fatalf("an empty place lists %+v, %v", l, err)
	}
	want := map[string]int64{}
	for i, name := range []string{"c.lime", "a.lime", "b.lime", "a.lime.json"} {
		o := create(t, s, name)
		write(t, o, pattern(100+i))
		end := o.Commit
		if name == "b.lime" {
			end = o.Keep
		}
		r, err := end(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want[r.Name] = r.Size
	}
	gone := create(t, s, "gone.lime")
	write(t, gone, pattern(6<<20))
	if err := gone.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	live := create(t, s, "live.lime")
	defer live.Abort(t.Context())
	write(t, live, pattern(6<<20)) // more than one part of S3
	l, err := lister.List(t.Context())
	if err != nil || l.Unknown != nil {
		t.Fatal(err, l.Unknown)
	}
	last := ""
	for _, o := range l.Objects {
		switch size, ours := want[o.Name]; {
		case o.Name == "live.lime"+sink.PartialSuffix: // visible while it is written
		case !ours:
			t.Errorf("%q is listed", o.Name)
		case o.Size != size || o.Time.IsZero() || !strings.HasSuffix(o.Location, o.Name):
			t.Errorf("listed as %+v, want %d bytes", o, size)
		}
		if o.Name <= last {
			t.Errorf("%q is listed after %q", o.Name, last)
		}
		last = o.Name
		delete(want, o.Name)
	}
	for name := range want {
		t.Errorf("%q is not listed", name)
	}
	for _, o := range l.Unfinished {
		if o.Name != "live.lime" || o.Location == "" {
			t.Errorf("unfinished: %+v", o)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lister.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("List with a cancelled context: %v", err)
	}
}

func failedWrite(t *testing.T, faulty func(*testing.T, int64) sink.Sink) {
	s := faulty(t, 1000)
	o := create(t, s, "image.lime")
	write(t, o, pattern(600))
	n, first := o.Write(pattern(600))
	if first == nil {
		// A sink that uploads later may say it later, but not after Commit.
		_, first = o.Commit(t.Context())
	}
	if first == nil {
		t.Fatal("no error from Write or Commit")
	}
	if m, err := o.Write([]byte("x")); m != 0 || err == nil {
		t.Errorf("Write after a failed Write = %d, %v", m, err)
	}
	if _, err := o.Commit(t.Context()); err == nil {
		t.Fatal("Commit succeeded after a failed Write")
	}
	absent(t, s, "image.lime")
	r, err := o.Keep(t.Context())
	if err != nil {
		t.Fatalf("Keep after a failed Write: %v", err)
	}
	want := append(pattern(600), pattern(600)...)[:600+n]
	receipt(t, o, r, len(want), true)
	content(t, s, r.Name, want)
}
