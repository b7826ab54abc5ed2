package sink_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/sinktest"
)

func newDisk(t *testing.T, dir string) *sink.Disk {
	t.Helper()
	d, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// limitedFile takes n bytes, then fails as a full disk does: with part of the
// last write done.
type limitedFile struct {
	sink.DiskFile
	n   int64
	err error
}

func (f *limitedFile) Write(p []byte) (int, error) {
	if int64(len(p)) <= f.n {
		f.n -= int64(len(p))
		return f.DiskFile.Write(p)
	}
	n, err := f.DiskFile.Write(p[:f.n])
	f.n -= int64(n)
	return n, errors.Join(err, &fs.PathError{Op: "write", Path: "image", Err: f.err})
}

func limited(d *sink.Disk, n int64, err error) *sink.Disk {
	return d.WithHooks(sink.Hooks{File: func(f sink.DiskFile) sink.DiskFile {
		return &limitedFile{DiskFile: f, n: n, err: err}
	}})
}

func TestDisk(t *testing.T) {
	sinktest.Test(t, func(t *testing.T) sink.Sink { return newDisk(t, t.TempDir()) }, sinktest.Options{
		Faulty: func(t *testing.T, n int64) sink.Sink {
			return limited(newDisk(t, t.TempDir()), n, syscall.ENOSPC)
		},
	})
}

func TestDiskMissingFolder(t *testing.T) {
	sinktest.Test(t, func(t *testing.T) sink.Sink {
		return newDisk(t, filepath.Join(t.TempDir(), "case", "evidence"))
	}, sinktest.Options{Size: 10})
}

func TestDiskFolderMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	top := t.TempDir()
	dir := filepath.Join(top, "case", "evidence")
	var synced []string
	d := newDisk(t, dir).WithHooks(sink.Hooks{Before: func(step, path string) error {
		if step == "syncdir" {
			synced = append(synced, path)
		}
		return nil
	}})
	if err := d.Check(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(top); len(left) != 0 {
		t.Errorf("Check left %v", left)
	}
	synced = nil
	o, err := d.Create(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(top, "case"), top, dir, dir}; !slices.Equal(synced, want) {
		t.Errorf("synced %q, want %q", synced, want)
	}
	for path, want := range map[string]fs.FileMode{
		filepath.Join(top, "case"): fs.ModeDir | 0o700, dir: fs.ModeDir | 0o700, filepath.Join(dir, "a"): 0o600,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, mode %v, want %v", path, err, info.Mode(), want)
		}
	}
}

// TestDiskOrder: data first, then the name, then the folder.
func TestDiskOrder(t *testing.T) {
	var steps []string
	d := newDisk(t, t.TempDir()).WithHooks(sink.Hooks{
		File: func(f sink.DiskFile) sink.DiskFile { return recordedFile{f, &steps} },
		Before: func(step, path string) error {
			steps = append(steps, step)
			return nil
		},
	})
	run := func(end string) string {
		steps = nil
		o, err := d.Create(t.Context(), end)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		switch end {
		case "commit":
			_, err = o.Commit(t.Context())
		case "keep":
			_, err = o.Keep(t.Context())
		case "abort":
			err = o.Abort(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
		return strings.Join(steps, " ")
	}
	for end, want := range map[string]string{
		"commit": "create syncdir write sync close rename syncdir",
		"keep":   "create syncdir write sync close syncdir",
		"abort":  "create syncdir write close remove syncdir",
	} {
		if got := run(end); got != want {
			t.Errorf("%s: %s\nwant: %s", end, got, want)
		}
	}
}

type recordedFile struct {
	sink.DiskFile
	steps *[]string
}

func (f recordedFile) Write(p []byte) (int, error) {
	*f.steps = append(*f.steps, "write")
	return f.DiskFile.Write(p)
}

func (f recordedFile) Sync() error {
	*f.steps = append(*f.steps, "sync")
	return f.DiskFile.Sync()
}

func (f recordedFile) Close() error {
	*f.steps = append(*f.steps, "close")
	return f.DiskFile.Close()
}

func TestDiskFull(t *testing.T) {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		if runtime.GOOS == "windows" {
			t.Skip("other error numbers")
		}
		d := limited(newDisk(t, t.TempDir()), 1000, full)
		o, err := d.Create(t.Context(), "image.lime")
		if err != nil {
			t.Fatal(err)
		}
		n, err := o.Write(make([]byte, 4096))
		var space *sink.SpaceError
		if n != 1000 || !errors.Is(err, syscall.ENOSPC) || !errors.As(err, &space) || space.Written != 1000 || space.Free <= 0 {
			t.Errorf("Write = %d, %v", n, err)
		}
		if !strings.Contains(err.Error(), "1000 bytes were written") || !strings.Contains(err.Error(), "bytes free") {
			t.Errorf("message: %v", err)
		}
		if _, err := o.Commit(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Commit: %v", err)
		}
		if r, err := o.Keep(t.Context()); err != nil || r.Size != 1000 {
			t.Errorf("Keep: %+v, %v", r, err)
		}
	}
}

// TestDiskFaults makes each step of a commit fail; the bytes stay readable where
// Location says, and Keep or a second Commit works where it can.
func TestDiskFaults(t *testing.T) {
	boom := errors.New("boom")
	data := []byte("evidence")
	for _, step := range []string{"sync", "close", "rename", "syncdir"} {
		for _, end := range []string{"keep", "commit", "abort"} {
			t.Run(step+" then "+end, func(t *testing.T) {
				armed := false
				fail := func(s string) error {
					if armed && s == step {
						return boom
					}
					return nil
				}
				d := newDisk(t, t.TempDir()).WithHooks(sink.Hooks{
					File:   func(f sink.DiskFile) sink.DiskFile { return faultyFile{f, fail} },
					Before: func(s, _ string) error { return fail(s) },
				})
				o, err := d.Create(t.Context(), "image.lime")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := o.Write(data); err != nil {
					t.Fatal(err)
				}
				armed = true
				if _, err := o.Commit(t.Context()); !errors.Is(err, boom) {
					t.Fatalf("Commit: %v", err)
				}
				if got, err := os.ReadFile(o.Location()); err != nil || !bytes.Equal(got, data) {
					t.Errorf("at Location: %q, %v", got, err)
				}
				if n, err := o.Write(data); n != 0 || err == nil {
					t.Errorf("Write after a failed Commit = %d, %v", n, err)
				}
				armed = false
				// A failed fsync or close cannot be made good by a second one.
				durable := step != "sync" && step != "close"
				var r sink.Receipt
				switch end {
				case "keep":
					r, err = o.Keep(t.Context())
				case "commit":
					r, err = o.Commit(t.Context())
				case "abort":
					if err := o.Abort(t.Context()); err != nil {
						t.Fatal(err)
					}
					if left, _ := os.ReadDir(d.String()); len(left) != 0 {
						t.Errorf("Abort left %v", left)
					}
					return
				}
				if durable != (err == nil) || !durable && !errors.Is(err, boom) {
					t.Fatalf("%s: %v, want success %t", end, err, durable)
				}
				if durable && (r.Location != o.Location() || r.Partial != (end == "keep")) {
					t.Errorf("receipt %+v, Location %s", r, o.Location())
				}
				if got, err := os.ReadFile(o.Location()); err != nil || !bytes.Equal(got, data) {
					t.Errorf("at Location afterwards: %q, %v", got, err)
				}
			})
		}
	}
}

type faultyFile struct {
	sink.DiskFile
	fail func(string) error
}

func (f faultyFile) Sync() error  { return errors.Join(f.DiskFile.Sync(), f.fail("sync")) }
func (f faultyFile) Close() error { return errors.Join(f.DiskFile.Close(), f.fail("close")) }

// TestDiskNameAppears: somebody else takes the name while an object is written.
func TestDiskNameAppears(t *testing.T) {
	d := newDisk(t, t.TempDir())
	o, err := d.Create(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Write([]byte("ours")); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(d.String(), "image.lime")
	if err := os.WriteFile(theirs, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Commit(t.Context()); !errors.Is(err, sink.ErrExists) {
		t.Fatalf("Commit: %v, want ErrExists", err)
	}
	r, err := o.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{theirs: "theirs", r.Location: "ours"} {
		if got, err := os.ReadFile(path); string(got) != want {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
}

// TestDiskReplaced: the file is swapped while it is written. What lies there is
// neither committed nor removed.
func TestDiskReplaced(t *testing.T) {
	for _, closed := range []bool{false, true} {
		d := newDisk(t, t.TempDir())
		o, err := d.Create(t.Context(), "image.lime")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(o.Location()); err != nil {
			t.Skip(err) // Windows
		}
		if err := os.WriteFile(o.Location(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if closed {
			if _, err := o.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), "was replaced") {
				t.Errorf("Commit: %v", err)
			}
			if _, err := o.Keep(t.Context()); err == nil {
				t.Error("Keep succeeded")
			}
		}
		if err := o.Abort(t.Context()); err != nil {
			t.Errorf("Abort: %v", err)
		}
		if _, err := os.Stat(filepath.Join(d.String(), "image.lime.partial")); err != nil {
			t.Errorf("Abort removed somebody else's file: %v", err)
		}
	}
}

func TestDiskGrownOrCut(t *testing.T) {
	for _, size := range []int64{3, 5} {
		d := newDisk(t, t.TempDir())
		o, err := d.Create(t.Context(), "image.lime")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Write([]byte("four")); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(o.Location(), size); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("has %d bytes, 4 were written", size)) {
			t.Errorf("Commit: %v", err)
		}
	}
}

func TestDiskSymlinks(t *testing.T) {
	for _, planted := range []string{"image.lime", "image.lime.partial"} {
		dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
		if err := os.Symlink(victim, filepath.Join(dir, planted)); err != nil {
			t.Skip(err)
		}
		d := newDisk(t, dir)
		if _, err := d.Create(t.Context(), "image.lime"); !errors.Is(err, sink.ErrExists) {
			t.Errorf("Create over a planted %s: %v", planted, err)
		}
		if err := d.Check(t.Context(), "image.lime"); !errors.Is(err, sink.ErrExists) {
			t.Errorf("Check over a planted %s: %v", planted, err)
		}
		if _, err := os.Lstat(victim); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the link was followed: %v", err)
		}
		if err := os.WriteFile(victim, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := d.Open(t.Context(), planted); err == nil && runtime.GOOS != "windows" {
			t.Error("Open followed a link")
			r.Close()
		}
	}

	// The folder itself may be a link: /evidence often is one.
	real, link := t.TempDir(), filepath.Join(t.TempDir(), "evidence")
	if err := os.Symlink(real, link); err != nil {
		t.Skip(err)
	}
	o, err := newDisk(t, link).Create(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(real, "a")); err != nil {
		t.Error(err)
	}
}

func TestNewDiskRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", file} {
		if _, err := sink.NewDisk(dir); err == nil {
			t.Errorf("NewDisk(%q) succeeded", dir)
		}
	}
	d := newDisk(t, filepath.Join(file, "sub"))
	if err := d.Check(t.Context(), "a"); err == nil {
		t.Error("Check passed below a file")
	}
	if _, err := d.Create(t.Context(), "a"); err == nil {
		t.Error("Create passed below a file")
	}
}

// TestDiskCheckFaults: whatever fails, Check says so and leaves nothing.
func TestDiskCheckFaults(t *testing.T) {
	boom := errors.New("boom")
	for _, step := range []string{"create", "write", "sync", "close", "rename", "syncdir"} {
		fail := func(s string) error {
			if s == step {
				return boom
			}
			return nil
		}
		d := newDisk(t, t.TempDir()).WithHooks(sink.Hooks{
			File: func(f sink.DiskFile) sink.DiskFile {
				if step == "write" {
					f = &limitedFile{DiskFile: f, err: boom}
				}
				return faultyFile{f, fail}
			},
			Before: func(s, _ string) error { return fail(s) },
		})
		if err := d.Check(t.Context(), "image.lime"); !errors.Is(err, boom) {
			t.Errorf("Check with a failing %s: %v", step, err)
		}
		if left, _ := os.ReadDir(d.String()); len(left) != 0 {
			t.Errorf("Check with a failing %s left %v", step, left)
		}
	}
}

func BenchmarkDisk(b *testing.B) {
	d, err := sink.NewDisk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	b.SetBytes(256 << 20)
	for i := 0; b.Loop(); i++ {
		o, err := d.Create(b.Context(), fmt.Sprint(i))
		if err != nil {
			b.Fatal(err)
		}
		for range 256 {
			if _, err := o.Write(buf); err != nil {
				b.Fatal(err)
			}
		}
		r, err := o.Commit(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		os.Remove(r.Location)
	}
}
