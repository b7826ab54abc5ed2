//go:build linux || darwin

package sink_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shotglass-ir/shotglass/sink"
)

const crashChunk = 64 << 10

func chunk(i int) []byte { return bytes.Repeat([]byte{byte(i)}, crashChunk) }

func TestMain(m *testing.M) {
	if dir := os.Getenv("SINK_TEST_CRASH_DIR"); dir != "" {
		crashWriter(dir)
	}
	os.Exit(m.Run())
}

// crashWriter writes until it is killed, and says after each chunk.
func crashWriter(dir string) {
	d, err := sink.NewDisk(dir)
	if err != nil {
		panic(err)
	}
	o, err := d.Create(context.Background(), "image.lime")
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		if _, err := o.Write(chunk(i)); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

// TestDiskKilled: after kill -9 every byte that Write took is in the partial file.
func TestDiskKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "SINK_TEST_CRASH_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	written := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		i, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		written = i + 1
		if i == 20 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("writer ended with %v, want SIGKILL", err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "image.lime.partial"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < written*crashChunk {
		t.Fatalf("%d bytes left, %d were written", len(got), written*crashChunk)
	}
	for i := 0; len(got) > 0; i++ {
		n := min(len(got), crashChunk)
		if !bytes.Equal(got[:n], chunk(i)[:n]) {
			t.Fatalf("chunk %d differs", i)
		}
		got = got[n:]
	}
	d := newDisk(t, dir)
	if _, err := os.Lstat(filepath.Join(dir, "image.lime")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the name is visible: %v", err)
	}
	if _, err := d.Create(t.Context(), "image.lime"); !errors.Is(err, sink.ErrExists) {
		t.Errorf("Create beside the partial file: %v, want ErrExists", err)
	}
	if r, err := d.Open(t.Context(), "image.lime.partial"); err != nil {
		t.Error(err)
	} else {
		r.Close()
	}
}

func TestDiskReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 { // modes do not bind root
		readOnly(t, dir)
	} else if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	d := newDisk(t, dir)
	for name, err := range map[string]error{
		"Check":             d.Check(t.Context(), "a"),
		"Check of a parent": newDisk(t, filepath.Join(dir, "sub")).Check(t.Context(), "a"),
		"Create":            func() error { _, err := d.Create(t.Context(), "a"); return err }(),
	} {
		if !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s in a read-only folder: %v", name, err)
		}
	}
	if _, err := d.Free(t.Context()); err != nil {
		t.Errorf("Free: %v", err)
	}
}

// TestDiskFileSizeLimit: a fault of the real kernel without root.
func TestDiskFileSizeLimit(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Skip(err)
	}
	limit := old
	limit.Cur = 1 << 20
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Skip(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_FSIZE, &old)
	d := newDisk(t, t.TempDir())
	o, err := d.Create(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	n, err := o.Write(make([]byte, 3<<20))
	if n != 1<<20 || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("Write = %d, %v, want %d, EFBIG", n, err, 1<<20)
	}
	if r, err := o.Keep(t.Context()); err != nil || r.Size != 1<<20 {
		t.Errorf("Keep: %+v, %v", r, err)
	}
}

func TestOpenRefusesFIFO(t *testing.T) {
	d := newDisk(t, t.TempDir())
	if err := unix.Mkfifo(filepath.Join(d.String(), "pipe"), 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := d.Open(t.Context(), "pipe"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Open of a FIFO: %v", err)
	}
}

func TestLinkNoReplace(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for _, rename := range []func(string, string) error{sink.RenameNoReplace, sink.LinkNoReplace} {
		write := func(path string) {
			if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(from)
		write(to)
		if err := rename(from, to); !errors.Is(err, os.ErrExist) {
			t.Errorf("rename onto a file: %v", err)
		}
		if got, _ := os.ReadFile(to); string(got) != to {
			t.Error("rename replaced a file")
		}
		os.Remove(to)
		if err := rename(from, to); err != nil {
			t.Error(err)
		}
		if got, _ := os.ReadFile(to); string(got) != from {
			t.Errorf("renamed file has %q", got)
		}
		if _, err := os.Lstat(from); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the old name is still there: %v", err)
		}
		os.Remove(to)
	}
}
