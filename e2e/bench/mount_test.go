//go:build e2e

package bench

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// mountSize is how large an image is read in place, at least.
const mountSize = 2 << 30

// BenchmarkMount reads an image of 2 GiB of a guest's memory in place, through a mount, and the same as a plain file beside
// it, in turns: by Volatility, in sequence, and by jumps. Nothing is in the page cache when each begins. Volatility
// runs linux.pslist where SHOTGLASS_BENCH_SYMBOLS is a folder with symbols of the guest's kernel, and otherwise
// banners.Banners, which reads it all.
func BenchmarkMount(b *testing.B) {
	l, err := lab.Open()
	if err != nil {
		b.Skip(err)
	}
	dir := b.TempDir()
	plain := filepath.Join(dir, "plain.lime")
	enlarge(b, images(b)[0].path, plain)
	program := filepath.Join(dir, "shotglass")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/shotglass").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	stored := map[string]string{"zstd": filepath.Join(dir, "zstd"), "none": filepath.Join(dir, "none")}
	for compression, folder := range stored {
		stored[compression] = storeImage(b, plain, folder, compression)
	}
	vol := []string{"-q"}
	plugin := "banners.Banners"
	if symbols := os.Getenv("SHOTGLASS_BENCH_SYMBOLS"); symbols != "" {
		vol, plugin = append(vol, "-s", symbols), "linux.pslist"
	}
	jobs := []struct {
		what string
		do   func(path string) float64
	}{
		{plugin + ", s", func(path string) float64 {
			begin := time.Now()
			out, err := exec.Command(l.Volatility, append(vol, "-f", path, plugin)...).CombinedOutput()
			if err != nil || bytes.Count(out, []byte("\n")) < 4 {
				b.Fatalf("%v: %s", err, out)
			}
			return time.Since(begin).Seconds()
		}},
		{"in sequence, MB/s", readThrough(b)},
		{"pages at random, /s", readPages(b)},
	}
	for _, job := range jobs {
		got := map[string][]float64{}
		for range max(b.N, 3) {
			for _, form := range []string{"plain", "zstd", "none"} {
				cold(b, plain, stored["zstd"], stored["none"])
				path, end := plain, func() {}
				if form != "plain" {
					path, end = mountImage(b, program, stored[form])
				}
				got[form] = append(got[form], job.do(path))
				end()
			}
		}
		addRow("An image of 2 GiB, read in place", []string{"", "plain file", "mount of zstd", "mount of the same not compressed"},
			[]string{job.what, spread(got["plain"]), spread(got["zstd"]), spread(got["none"])})
	}
}

// enlarge makes an image of mountSize or more from a guest's: further up its memory comes again, with all bytes
// changed, so that it compresses as before and no kernel is found there.
func enlarge(b *testing.B, from, to string) {
	b.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	w.Write(data)
	n, other := len(data), data[lime.HeaderSize:]
	for i := range other {
		other[i] ^= 0x5a
	}
	for at := uint64(1 << 32); n < mountSize; at += 1 << 32 {
		w.Write(lime.AppendHeader(nil, lime.Range{Start: at, End: at + uint64(len(other)) - 1}))
		w.Write(other)
		n += len(other)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
}

// storeImage stores an image as a capture does, in a folder, with digests in a manifest.
func storeImage(b *testing.B, plain, folder, compression string) string {
	b.Helper()
	name := "bench-mem.lime" + frame.Suffix(compression)
	path := filepath.Join(folder, name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		b.Fatal(err)
	}
	src, err := os.Open(plain)
	if err != nil {
		b.Fatal(err)
	}
	defer src.Close()
	dst, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer dst.Close()
	pool := frame.NewPool(frame.PoolOptions{})
	defer pool.Close()
	out, err := pipeline.Run(b.Context(), src, dst, pipeline.Options{Pool: pool, Compression: compression})
	if err != nil {
		b.Fatal(err)
	}
	var side bytes.Buffer
	out.Index.WriteTo(&side)
	sum := sha256.Sum256(side.Bytes())
	m := acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Reasons: []string{"a benchmark"}, Image: acquire.Image{
		Name: name, Format: "lime", Compression: compression, Encryption: "none",
		Raw:    acquire.Digest{Bytes: out.Raw.Bytes, SHA256: out.Raw.SHA256.String()},
		Stored: acquire.Digest{Bytes: out.Stored.Bytes, SHA256: out.Stored.SHA256.String()},
		Frames: &acquire.Frames{Name: name + acquire.FramesSuffix, Count: len(out.Index.Entries), FrameSize: out.FrameSize,
			Digest: acquire.Digest{Bytes: int64(side.Len()), SHA256: hex.EncodeToString(sum[:])}},
	}}
	paper, err := m.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	for suffix, data := range map[string][]byte{acquire.FramesSuffix: side.Bytes(), acquire.ManifestSuffix: paper} {
		if err := os.WriteFile(path+suffix, data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return path
}

// cold makes the kernel forget files.
func cold(b *testing.B, paths ...string) {
	b.Helper()
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fsync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// mountImage mounts, and returns the LiME view and what unmounts.
func mountImage(b *testing.B, program, image string) (path string, end func()) {
	b.Helper()
	dir := b.TempDir()
	cmd := exec.Command(program, "mount", "--json", image, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, `"mounted"`) {
		b.Fatalf("mount: %q, %v", line, err)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*.lime"))
	if len(found) != 1 {
		b.Fatalf("mounted %q", found)
	}
	return found[0], func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			b.Logf("%s: %d MiB at most, %.1f s of CPU", filepath.Base(image), u.Maxrss>>10, cmd.ProcessState.UserTime().Seconds()+cmd.ProcessState.SystemTime().Seconds())
		}
	}
}

// readThrough reads a file from its start.
func readThrough(b *testing.B) func(string) float64 {
	return func(path string) float64 {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		begin := time.Now()
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, 1<<20))
		if err != nil {
			b.Fatal(err)
		}
		return float64(n) / 1e6 / time.Since(begin).Seconds()
	}
}

// readPages has two readers read pages anywhere.
func readPages(b *testing.B) func(string) float64 {
	const readers, pages = 2, 2000
	return func(path string) float64 {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for seed := range uint64(readers) {
			wg.Go(func() {
				rnd, p := rand.New(rand.NewPCG(seed, 1)), make([]byte, 4096)
				for range pages {
					if _, err := f.ReadAt(p, rnd.Int64N(info.Size()-4096)&^4095); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return readers * pages / time.Since(begin).Seconds()
	}
}
