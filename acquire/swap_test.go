//go:build unix

package acquire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/sink"
)

const swapsHead = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

// swapHead is a header as mkswap writes it.
func swapHead(pageSize, pages int, order binary.ByteOrder, label string) []byte {
	p := make([]byte, pageSize)
	order.PutUint32(p[1024:], 1)
	order.PutUint32(p[1028:], uint32(pages-1))
	copy(p[1036:], "0123456789abcdef")
	copy(p[1052:1068], label)
	copy(p[pageSize-10:], "SWAPSPACE2")
	return p
}

// addSwap gives the target a swap file of so many bytes with random content, and returns it.
func (f *fakeKcore) addSwap(name string, size int, head []byte) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size)}).Read(data[min(4096, size/2) : size/2]) // the rest is zeros
	copy(data, head)
	f.write(name, string(data))
	used := (size / 2) >> 10
	f.write("swaps", f.read("swaps")+fmt.Sprintf("%s file\t%d\t%d\t-2\n", strings.ReplaceAll(f.path(name), " ", `\040`), (size-4096)>>10, used))
	return data
}

// withDirect makes a dd that reads around the page cache as far as anybody can tell: not every file
// system for temporary files can.
const withDirect = `dd() {
	for a; do
		shift
		case $a in iflag=direct) continue ;; iflag=*,direct) a=${a%,direct} ;; esac
		set -- "$@" "$a"
	done
	command dd "$@"
}`

// asksSwap makes the options ask for swap.
func asksSwap(o *Options) { o.Swap, o.Compression = true, "zstd" }

// unpack returns the raw bytes of a stored file.
func unpack(t *testing.T, path string, id age.Identity) []byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, _ := file.Stat()
	var r io.ReaderAt = file
	size := info.Size()
	if id != nil {
		plain, err := agefile.Open(file, size, id)
		if err != nil {
			t.Fatal(err)
		}
		r, size = plain, plain.Size()
	}
	if strings.HasSuffix(strings.TrimSuffix(path, agefile.Suffix), ".raw") {
		out, err := io.ReadAll(io.NewSectionReader(r, 0, size))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	fr, err := frame.Open(r, size)
	if err != nil {
		t.Fatal(err)
	}
	defer fr.Close()
	var b bytes.Buffer
	if _, err := fr.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// verify reads the capture in dir again.
func verifyIn(t *testing.T, dir string, m *Manifest, ids ...age.Identity) *VerifyReport {
	t.Helper()
	d, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := Verify(t.Context(), d, m.Image.Name, VerifyOptions{Identities: ids})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestSwap(t *testing.T) {
	t.Parallel()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	key, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	keys := []agefile.Recipient{key}
	for _, tt := range []struct {
		name string
		edit func(*Options)
		size int
		ends string
		ids  []age.Identity
	}{
		{"zstd", func(*Options) {}, 9<<20 + 512, ".raw.zst", nil},
		{"s2, three connections", func(o *Options) { o.Compression, o.Connections = "s2", 3 }, 50 << 20, ".raw.s2", nil},
		{"as it is", func(o *Options) { o.Compression = "none" }, 4096, ".raw", nil},
		{"encrypted", func(o *Options) { o.Recipients = keys }, 9<<20 + 512, ".raw.zst.age", []age.Identity{id}},
		{"encrypted as it is", func(o *Options) { o.Recipients, o.Compression = keys, "none" }, 1<<20 + 4096, ".raw.age", []age.Identity{id}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newKcore(t)
			f.dd = withDirect
			first := f.addSwap("swap one's", tt.size, swapHead(4096, tt.size/4096, binary.LittleEndian, "data"))
			second := f.addSwap("swap2", 1<<20, swapHead(4096, 256, binary.LittleEndian, ""))
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) { asksSwap(o); tt.edit(o) })
			if res.State != StateComplete || res.Err != nil || len(res.Swap) != 2 {
				t.Fatalf("%+v", res)
			}
			m := manifestIn(t, dir)
			for i, want := range [][]byte{first[:len(first)/page*page], second} {
				x := m.SwapImages[i]
				if !x.Complete || len(x.Reasons) > 0 || x.Size != int64(len(want)) || x.Header == nil || x.Header.Magic != "SWAPSPACE2" || x.Priority != -2 || x.Begun.IsZero() || x.Ended.Before(x.Begun) || x.Connections == nil {
					t.Errorf("swap %d: %+v", i+1, x)
				}
				stem := strings.TrimSuffix(swapStem(m.Image.Name), "-swap")
				if name := fmt.Sprintf("%s-swap-%d%s", stem, i+1, tt.ends); x.Image.Name != name || filepath.Base(x.Image.Location) != name {
					t.Errorf("swap %d is called %q at %q, want %q", i+1, x.Image.Name, x.Image.Location, name)
				}
				var key age.Identity
				if tt.ids != nil {
					key = tt.ids[0]
				}
				if got := unpack(t, x.Image.Location, key); !bytes.Equal(got, want) {
					t.Errorf("swap %d: %d bytes that differ from the %d of the area", i+1, len(got), len(want))
				}
			}
			if h := m.SwapImages[0].Header; h.UUID != "30313233-3435-3637-3839-616263646566" || h.Label != "data" || h.Pages != uint64(tt.size/4096) {
				t.Errorf("header %+v", h)
			}
			rep := verifyIn(t, dir, m, tt.ids...)
			if rep.Verdict != VerdictUntrusted || len(rep.Problems) > 0 || len(rep.Swap) != 2 || !rep.Swap[1].Decoded || rep.Swap[0].Raw != int64(len(first)/page*page) {
				t.Errorf("verify: %+v", rep)
			}
			if tt.ids != nil {
				rep := verifyIn(t, dir, m)
				if len(rep.Problems) > 0 || rep.Swap[0].Decoded || rep.Swap[0].Stored != m.SwapImages[0].Image.Stored.Bytes || len(rep.NotChecked) < 3 {
					t.Errorf("verify without the key: %+v", rep)
				}
			}
			if n := m.SwapImages[0].Connections.Most; tt.size == 50<<20 && n != 3 {
				t.Errorf("%d connections", n)
			}
			if !m.Footprint.Clean || m.Footprint.Commands == 0 || f.scripts["swap"] != 3 {
				t.Errorf("footprint %+v, scripts %v", m.Footprint, f.scripts)
			}
		})
	}
}

// TestSwapNotAsked: without the option no swap area is read, and the plan says so.
func TestSwapNotAsked(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	f.addSwap("swap1", 1<<20, swapHead(4096, 256, binary.LittleEndian, ""))
	dir := t.TempDir()
	m := f.complete(dir, f.capture(t.Context(), dir, nil))
	if len(m.SwapImages) != 0 || len(m.Swap) != 1 || f.scripts["swap"] != 0 {
		t.Errorf("swap images %v, swap %v, scripts %v", m.SwapImages, m.Swap, f.scripts)
	}
}

// TestSwapFails: what becomes of one swap area touches neither the image of memory nor the other area.
func TestSwapFails(t *testing.T) {
	t.Parallel()
	good := swapHead(4096, 512, binary.LittleEndian, "")
	for _, tt := range []struct {
		name   string
		size   int
		head   []byte
		dd     string
		exec   func(f *fakeKcore) func(string)
		reason string
		stored bool
	}{
		{"no header", 2 << 20, make([]byte, 4096), withDirect, nil, "does not begin as a swap area", true},
		{"a header that speaks of more", 2 << 20, swapHead(4096, 513, binary.LittleEndian, ""), withDirect, nil, "its header speaks of 2101248 bytes", true},
		{"only through the page cache", 2 << 20, good, `dd() { case "$*" in *direct*) return 1 ;; esac; command dd "$@"; }`, nil, "page cache", true},
		{"switched off meanwhile", 2 << 20, good, withDirect, func(f *fakeKcore) func(string) {
			return func(script string) {
				if script == "read" && f.scripts["swap"] == 1 {
					lines := strings.SplitAfter(f.read("swaps"), "\n")
					f.write("swaps", strings.Join(slices.Delete(lines, 1, 2), ""))
				}
			}
		}, "switched off", true},
		{"gone", 2 << 20, good, withDirect, func(f *fakeKcore) func(string) {
			return func(script string) {
				if script == "swap" {
					os.Remove(f.path("bad"))
				}
			}
		}, "no device or file of that name", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newKcore(t)
			f.dd = tt.dd
			f.addSwap("bad", tt.size, tt.head)
			f.addSwap("other", 1<<20, swapHead(4096, 256, binary.LittleEndian, ""))
			if tt.exec != nil {
				f.exec = tt.exec(f)
			}
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, asksSwap)
			serr, ok := errors.AsType[*SwapError](res.Err)
			if res.State != StateComplete || !ok || !strings.Contains(serr.Error(), tt.reason) {
				t.Fatalf("%+v", res)
			}
			m := manifestIn(t, dir)
			x := m.SwapImages[0]
			if !m.Complete || x.Complete || (x.Image.Stored.Bytes > 0) != tt.stored {
				t.Fatalf("complete %t, swap %+v", m.Complete, x)
			}
			if tt.stored && (!x.Image.Partial || !strings.HasSuffix(x.Image.Location, ".partial")) {
				t.Errorf("kept at %q", x.Image.Location)
			}
			if other := m.SwapImages[1]; other.Complete != (tt.name != "only through the page cache") {
				t.Errorf("the other area: %+v", other)
			}
			rep := verifyIn(t, dir, m)
			if len(rep.Problems) > 0 || rep.Swap[0].Verdict != VerdictUntrusted && rep.Swap[0].Verdict != VerdictPartial {
				t.Errorf("verify: %+v", rep)
			}
		})
	}
}

// TestSwapInterrupted: the image of memory stands, what came of the swap area is kept.
func TestSwapInterrupted(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	f.dd = withDirect
	f.addSwap("swap1", 24<<20, swapHead(4096, 24<<8, binary.LittleEndian, ""))
	f.addSwap("swap2", 1<<20, swapHead(4096, 256, binary.LittleEndian, ""))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	res := f.capture(ctx, dir, func(o *Options) {
		asksSwap(o)
		o.LimitRate = 8 << 20
		o.Observer = func(e Event) {
			if s, ok := e.(Streaming); ok && s.What != "" {
				go func() {
					for s.Progress.RawBytes.Load() < 4<<20 {
						if ctx.Err() != nil || t.Context().Err() != nil {
							return
						}
					}
					cancel()
				}()
			}
		}
	})
	m := manifestIn(t, dir)
	if res.State != StateComplete || !res.Interrupted || !m.Complete {
		t.Fatalf("%+v", res)
	}
	if x := m.SwapImages[0]; x.Complete || x.Image.Stored.Bytes == 0 || !x.Image.Partial {
		t.Errorf("the first area: %+v", x)
	}
	if x := m.SwapImages[1]; x.Complete || x.Image.Location != "" || !strings.Contains(x.Reasons[0], "interrupted") {
		t.Errorf("the second area: %+v", x)
	}
	if !m.Footprint.Clean {
		t.Errorf("left: %v", m.Footprint.Left)
	}
	if rep := verifyIn(t, dir, m); len(rep.Problems) > 0 {
		t.Errorf("verify: %+v", rep.Problems)
	}
}

// TestSwapNameTaken: a file that is there stays as it is.
func TestSwapNameTaken(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	f.dd = withDirect
	f.addSwap("swap1", 1<<20, swapHead(4096, 256, binary.LittleEndian, ""))
	dir := t.TempDir()
	taken := filepath.Join(dir, "web1-swap-1.raw.zst")
	if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := (&fakeTarget{t: t}).options(dir)
	o.Method = MethodKcore
	asksSwap(&o)
	target := f.server.Target()
	target.Name = "fake"
	res := runJobs(t.Context(), t, o, Job{Target: target, Name: "web1.lime.zst"})[0]
	if _, ok := errors.AsType[*SwapError](res.Err); !ok || res.State != StateComplete {
		t.Fatalf("%+v", res)
	}
	if b, _ := os.ReadFile(taken); string(b) != "mine" {
		t.Errorf("the file is %q now", b)
	}
}

// TestSwapTampered: each file of a swap area is checked, and named.
func TestSwapTampered(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	f.dd = withDirect
	f.addSwap("swap1", 3<<20, swapHead(4096, 3<<8, binary.LittleEndian, ""))
	dir := t.TempDir()
	if res := f.capture(t.Context(), dir, asksSwap); res.Err != nil {
		t.Fatal(res.Err)
	}
	m := manifestIn(t, dir)
	path := m.SwapImages[0].Image.Location
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := os.ReadFile(path + FramesSuffix)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/3] ^= 1
	for _, tt := range []struct {
		name, file string
		data       []byte // nil: removed
		what       string
	}{
		{"a byte", path, flipped, mismatchFrame},
		{"cut short", path, whole[:len(whole)-700000], mismatchStored},
		{"more", path, append(bytes.Clone(whole), 0), mismatchStored},
		{"removed", path, nil, mismatchSwap},
		{"the index", path + FramesSuffix, append(bytes.Clone(frames), '\n'), mismatchIndex},
		{"no index", path + FramesSuffix, nil, mismatchIndex},
	} {
		os.WriteFile(path, whole, 0o600)
		os.WriteFile(path+FramesSuffix, frames, 0o600)
		if tt.data == nil {
			os.Remove(tt.file)
		} else if err := os.WriteFile(tt.file, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		rep := verifyIn(t, dir, m)
		i := slices.IndexFunc(rep.Problems, func(p Mismatch) bool { return p.What == tt.what && p.File == filepath.Base(path) })
		if i < 0 || rep.Verdict != VerdictMismatch {
			t.Errorf("%s: verdict %s, %+v", tt.name, rep.Verdict, rep.Problems)
		}
	}
}

// TestSwapResume: an image whose swap is not there is taken again if swap is asked for, and only then.
func TestSwapResume(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	f.dd = withDirect
	f.addSwap("swap1", 1<<20, make([]byte, 4096)) // of which no complete file comes
	dir := t.TempDir()
	o := (&fakeTarget{t: t}).resuming(dir)
	o.Method, o.Compression = MethodKcore, "zstd"
	run := func() Result {
		target := f.server.Target()
		target.Name = "fake"
		return runJobs(t.Context(), t, o, Job{Target: target})[0]
	}
	if res := run(); res.State != StateComplete || res.Err != nil {
		t.Fatalf("%+v", res)
	}
	if res := run(); res.KeptFrom.IsZero() {
		t.Errorf("not kept: %+v", res)
	}
	o.Swap = true
	for range 2 { // without swap, then with a part of it
		res := run()
		if _, ok := errors.AsType[*SwapError](res.Err); !ok || !res.KeptFrom.IsZero() || !strings.Contains(strings.Join(res.Notes, ";"), "--swap asks for it") {
			t.Errorf("%+v", res)
		}
	}
	f.write("swaps", swapsHead)
	f.addSwap("swap1", 1<<20, swapHead(4096, 256, binary.LittleEndian, ""))
	if res := run(); res.Err != nil || !res.KeptFrom.IsZero() {
		t.Errorf("%+v", res)
	}
	if res := run(); res.Err != nil || res.KeptFrom.IsZero() {
		t.Errorf("not kept: %+v", res)
	}
	o.Swap = false
	if res := run(); res.KeptFrom.IsZero() {
		t.Errorf("not kept: %+v", res)
	}
}
