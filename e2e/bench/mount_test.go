//go:build e2e

package bench

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/e2e/lab"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// mountSize is how large an image is read in place, at least.
const mountSize = 2 << 30

// BenchmarkMount reads an image of 2 GiB of a guest's memory in place, through mounts of several stored forms, and the same
// as a plain file beside them, in turns: by Volatility, in sequence, and by jumps. Nothing is in the page cache when each
// begins, but what an S3 server on this machine has of it. Volatility runs linux.pslist with symbols that shotglass makes of
// what the guest told. zstdcat, which has to read all before anything can be looked at, is the peer.
func BenchmarkMount(b *testing.B) {
	l, err := lab.Open()
	if err != nil {
		b.Skip(err)
	}
	dir := b.TempDir()
	plain := filepath.Join(dir, "plain.lime")
	busy := images(b)[0]
	enlarge(b, busy.path, plain)
	program := filepath.Join(dir, "shotglass")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/shotglass").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	forms := []*storedForm{
		{name: "mount of zstd", compression: frame.Zstd},
		{name: "of zstd with age", compression: frame.Zstd, encrypt: true},
		{name: "of that in S3", compression: frame.Zstd, encrypt: true, s3: true},
		{name: "of it not compressed", compression: frame.None},
	}
	for _, f := range forms {
		f.store(b, plain, filepath.Join(dir, strings.ReplaceAll(f.name, " ", "-")))
	}
	symbols := filepath.Join(dir, "symbols")
	if err := os.Mkdir(symbols, 0o700); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command(program, "symbols", "--from", busy.bundle, "--output", filepath.Join(symbols, "kernel.json.xz")).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	jobs := []struct {
		what string
		do   func(path string) float64
	}{
		{"Volatility 3 `linux.pslist`, s", func(path string) float64 {
			begin := time.Now()
			out, err := exec.Command(l.Volatility, "-q", "--offline", "-s", symbols, "-f", path, "linux.pslist").CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte("\tsshd\t")) {
				b.Fatalf("%v: %s", err, out)
			}
			return time.Since(begin).Seconds()
		}},
		{"in sequence, MB/s", readThrough(b)},
		{"pages at random, /s", readPages(b)},
	}
	header := []string{"", "plain file"}
	for _, f := range forms {
		header = append(header, f.name)
	}
	peak, title := make([]int64, len(forms)), "An image of 2 GiB, read in place"
	for _, job := range jobs {
		got := make([][]float64, 1+len(forms)) // of the plain file, and of the forms
		for range max(b.N, 3) {
			cold(b, plain)
			got[0] = append(got[0], job.do(plain))
			for i, f := range forms {
				cold(b, f.files...)
				path, end := f.mount(b, program)
				got[i+1] = append(got[i+1], job.do(path))
				peak[i] = max(peak[i], end())
			}
		}
		row := []string{job.what}
		for _, v := range got {
			row = append(row, spread(v))
		}
		addRow(title, header, row)
	}
	row := []string{"most memory of the program, MiB", ""}
	for _, n := range peak {
		row = append(row, num("%.0f", float64(n)/(1<<20)))
	}
	addRow(title, header, row)
	var unpack []float64
	for range max(b.N, 3) {
		cold(b, forms[0].files...)
		begin := time.Now()
		if out, err := exec.Command("sh", "-c", `exec zstdcat "$0" >/dev/null`, forms[0].image).CombinedOutput(); err != nil {
			b.Fatalf("zstdcat: %v: %s", err, out)
		}
		unpack = append(unpack, time.Since(begin).Seconds())
	}
	addRow(title, header, []string{"zstdcat to nowhere, s", "", spread(unpack)})
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

// A storedForm is an image as a capture stores it, with digests in a manifest.
type storedForm struct {
	name, compression string
	encrypt, s3       bool

	image string // its location
	files []string
	args  []string // what reading it takes
	env   []string
}

// store stores an image in a folder, and from there in S3.
func (f *storedForm) store(b *testing.B, plain, folder string) {
	b.Helper()
	name := "bench-mem.lime" + frame.Suffix(f.compression)
	o := pipeline.Options{Pool: frame.NewPool(frame.PoolOptions{}), Compression: f.compression}
	defer o.Pool.Close()
	m := acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Reasons: []string{"a benchmark"}}
	m.Image = acquire.Image{Format: "lime", Compression: f.compression, Encryption: "none"}
	must := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	must(os.Mkdir(folder, 0o700))
	if f.encrypt {
		id, err := age.GenerateX25519Identity()
		must(err)
		to, err := agefile.ParseRecipient(id.Recipient().String())
		must(err)
		name += agefile.Suffix
		o.Recipients, m.Image.Encryption, f.args = []agefile.Recipient{to}, "age", []string{"--identity", folder + ".key"}
		must(os.WriteFile(folder+".key", []byte(id.String()+"\n"), 0o600))
	}
	f.image = filepath.Join(folder, name)
	f.files = []string{f.image}
	src, err := os.Open(plain)
	must(err)
	defer src.Close()
	dst, err := os.Create(f.image)
	must(err)
	defer dst.Close()
	out, err := pipeline.Run(b.Context(), src, dst, o)
	must(err)
	var side bytes.Buffer
	out.Index.WriteTo(&side)
	sum := sha256.Sum256(side.Bytes())
	m.Image.Name = name
	m.Image.Raw = acquire.Digest{Bytes: out.Raw.Bytes, SHA256: out.Raw.SHA256.String()}
	m.Image.Stored = acquire.Digest{Bytes: out.Stored.Bytes, SHA256: out.Stored.SHA256.String()}
	m.Image.Frames = &acquire.Frames{Name: name + acquire.FramesSuffix, Count: len(out.Index.Entries), FrameSize: out.FrameSize,
		Digest: acquire.Digest{Bytes: int64(side.Len()), SHA256: hex.EncodeToString(sum[:])}}
	paper, err := m.Marshal()
	must(err)
	for suffix, data := range map[string][]byte{acquire.FramesSuffix: side.Bytes(), acquire.ManifestSuffix: paper} {
		must(os.WriteFile(f.image+suffix, data, 0o600))
	}
	if f.s3 {
		f.upload(b, folder, name)
	}
}

// upload puts the files of an image into the bucket of a server, and takes it from there.
func (f *storedForm) upload(b *testing.B, folder, name string) {
	b.Helper()
	where := versitygw(b)
	to, err := s3.New(b.Context(), where)
	if err != nil {
		b.Fatal(err)
	}
	f.files = nil
	for _, suffix := range []string{"", acquire.FramesSuffix, acquire.ManifestSuffix} {
		obj, err := to.Create(b.Context(), name+suffix)
		if err != nil {
			b.Fatal(err)
		}
		src, err := os.Open(filepath.Join(folder, name+suffix))
		if err == nil {
			_, err = io.Copy(struct{ io.Writer }{obj}, src)
			src.Close()
		}
		if err == nil {
			_, err = obj.Commit(b.Context())
		}
		if err != nil {
			b.Fatal(errors.Join(err, obj.Abort(b.Context())))
		}
	}
	f.image = "s3://" + where.Bucket + "/" + name
	f.args = append(f.args, "--s3-endpoint", where.Endpoint, "--s3-path-style")
	if err := os.RemoveAll(folder); err != nil {
		b.Fatal(err)
	}
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

// mount shows the image, and returns the LiME view and what unmounts and says how much memory it took at most.
func (f *storedForm) mount(b *testing.B, program string) (path string, end func() int64) {
	b.Helper()
	dir := b.TempDir()
	cmd := exec.Command(program, slices.Concat([]string{"mount", "--json"}, f.args, []string{f.image, dir})...)
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
	return found[0], func() int64 {
		most := peakOf(b, cmd.Process.Pid)
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		return most
	}
}

// peakOf returns how much memory a process has had at most, in bytes: the figure of wait(2) begins with that of its parent.
func peakOf(b *testing.B, pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib << 10
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
