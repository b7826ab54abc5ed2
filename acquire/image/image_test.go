package image

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// storedForms calls f with an image in each stored form.
func storedForms(t *testing.T, f func(t *testing.T, s *stock)) {
	for _, compression := range frame.Compressions {
		for _, encrypt := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,age=%t", compression, encrypt), func(t *testing.T) {
				t.Parallel()
				f(t, store(t, testRaw(), compression, encrypt))
			})
		}
	}
}

func TestJumpsAbout(t *testing.T) {
	storedForms(t, func(t *testing.T, s *stock) {
		img := s.open(t, Options{Signers: trusting(t, testSigner.PublicKey()), Cache: 5 * testFrame, Workers: 3})
		if trust := img.Trust(); !trust.Digests || !trust.Signature.Trusted {
			t.Errorf("trust %+v", trust)
		}
		v := img.Lime()
		if v.Size() != int64(len(s.raw)) {
			t.Fatalf("size %d, want %d", v.Size(), len(s.raw))
		}
		var wg sync.WaitGroup
		for seed := range uint64(4) {
			wg.Go(func() { jump(t, v, s.raw, seed, 200) })
		}
		wg.Go(func() {
			all, err := io.ReadAll(io.NewSectionReader(v, 0, v.Size()))
			if err != nil || !bytes.Equal(all, s.raw) {
				t.Errorf("read in sequence: %d bytes, %v", len(all), err)
			}
		})
		wg.Wait()
	})
}

// What nobody vouches for is read too.
func TestWithoutManifest(t *testing.T) {
	storedForms(t, func(t *testing.T, s *stock) {
		for _, suffix := range []string{acquire.ManifestSuffix, acquire.FramesSuffix} {
			if err := os.Remove(s.path + suffix); err != nil {
				t.Fatal(err)
			}
		}
		img := s.open(t, Options{})
		if img.Trust().Digests {
			t.Error("digests from nowhere")
		}
		jump(t, img.Lime(), s.raw, 1, 100)
		if _, err := s.try(t.Context(), Options{Signers: trusting(t, testSigner.PublicKey())}); !errors.Is(err, ErrUntrusted) {
			t.Errorf("with trusted signers: %v", err)
		}
		f, err := os.Open(s.path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		alone, err := OpenFile(t.Context(), f, info.Size(), "x", Options{Identities: s.keys})
		if err != nil {
			t.Fatal(err)
		}
		defer alone.Close()
		jump(t, alone.Lime(), s.raw, 2, 100)
	})
}

// memory is what the padded view must be.
func memory(raw []byte) []byte {
	last := testRAM[len(testRAM)-1]
	m := make([]byte, last.End+1)
	for _, r := range testRAM {
		raw = raw[lime.HeaderSize:]
		raw = raw[copy(m[r.Start:r.End+1], raw):]
	}
	return m
}

func TestViews(t *testing.T) {
	s := store(t, testRaw(), frame.Zstd, false)
	img := s.open(t, Options{})
	raw, err := img.Raw()
	if err != nil {
		t.Fatal(err)
	}
	want := memory(s.raw)
	if raw.Size() != int64(len(want)) {
		t.Fatalf("size %d, want %d", raw.Size(), len(want))
	}
	jump(t, raw, want, 3, 300)
	for _, r := range testRAM { // the edges of holes
		p, from := make([]byte, 8192), int64(max(r.Start, 4096))-4096
		n, _ := raw.ReadAt(p, from)
		if !bytes.Equal(p[:n], want[from:from+int64(n)]) || n < 4096 {
			t.Errorf("before %s: other bytes", r)
		}
	}
	if from, to, ok := raw.Data(0xa0000); from != 0x100000 || to != 0x300000 || !ok {
		t.Errorf("data after a hole: %#x to %#x, %t", from, to, ok)
	}

	note := []byte("OSRELEASE=6.1.0\nPAGESIZE=4096\n")
	core, err := img.ELF(img.Machine(), note, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(core)
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_CORE || f.Machine != elf.EM_X86_64 || len(f.Progs) != 4 {
		t.Fatalf("%+v", f.FileHeader)
	}
	got, err := io.ReadAll(f.Progs[0].Open())
	if err != nil || f.Progs[0].Type != elf.PT_NOTE || !bytes.Contains(got, note) || !bytes.Contains(got, []byte("VMCOREINFO\x00")) {
		t.Errorf("note %q, %v", got, err)
	}
	for n, p := range f.Progs[1:] {
		got, err := io.ReadAll(p.Open())
		r := testRAM[n]
		if err != nil || p.Type != elf.PT_LOAD || p.Paddr != r.Start || p.Off%4096 != 0 || !bytes.Equal(got, want[r.Start:r.End+1]) {
			t.Errorf("segment %d: %+v, %d bytes, %v", n, p.ProgHeader, len(got), err)
		}
	}
	if last := f.Progs[3]; core.Size() != int64(last.Off+last.Filesz) {
		t.Errorf("size %d, and the last segment ends at %d", core.Size(), last.Off+last.Filesz)
	}
}

// Damage is an error where it lies, told once, and nowhere else.
func TestDamage(t *testing.T) {
	storedForms(t, func(t *testing.T, s *stock) {
		x := s.index(t)
		bad := len(x.Entries) / 2
		flip(t, s.path, x.Entries[bad].StoredOffset+x.Entries[bad].StoredSize/2)
		var mu sync.Mutex
		var told []error
		img := s.open(t, Options{Cache: 5 * testFrame, Damaged: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, err)
		}})
		v, hurt := img.Lime(), 0
		for range 2 {
			for at := 0; at < len(s.raw); at += 4096 {
				p := make([]byte, min(4096, len(s.raw)-at))
				n, err := v.ReadAt(p, int64(at))
				if !bytes.Equal(p[:n], s.raw[at:at+n]) {
					t.Fatalf("other bytes at %d", at)
				}
				if err == nil && n == len(p) {
					continue
				}
				var fe *frame.FrameError
				if !errors.As(err, &fe) || !errors.Is(err, frame.ErrDigest) {
					t.Fatalf("at %d: %v", at, err)
				}
				hurt++
				if e := x.Entries[bad]; int64(at+len(p)) <= e.RawOffset || int64(at) >= e.RawOffset+e.RawSize {
					t.Errorf("an error at %d, and the damage lies from %d to %d", at, e.RawOffset, e.RawOffset+e.RawSize)
				}
			}
		}
		if hurt == 0 || len(told) == 0 {
			t.Errorf("%d reads failed, told %v", hurt, told)
		}
		if want := 1; x.Compression != frame.Age && len(told) != want {
			t.Errorf("told %d times: %v", len(told), told)
		}
	})
}

func (s *stock) index(t testing.TB) *frame.Index {
	t.Helper()
	f, err := os.Open(s.path + acquire.FramesSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, err := frame.ParseIndex(f)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Without a digest to hold it against, s2 and zstd notice damage by their own checksums, and a plain file
// does not; the digests are what shows it.
func TestDamagedIndexOrManifest(t *testing.T) {
	for what, suffix := range map[string]string{"index": acquire.FramesSuffix, "manifest": acquire.ManifestSuffix} {
		t.Run(what, func(t *testing.T) {
			s := store(t, testRaw(), frame.Zstd, false)
			flip(t, s.path+suffix, 40)
			_, err := s.try(t.Context(), Options{})
			if bad, ok := errors.AsType[*MismatchError](err); !ok || len(bad.Problems) == 0 {
				t.Fatalf("opened: %v", err)
			}
			img := s.open(t, Options{Unchecked: true})
			jump(t, img.Lime(), s.raw, 1, 50)
		})
	}
}

func TestUntrusted(t *testing.T) {
	s := store(t, testRaw(), frame.Zstd, true)
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.try(t.Context(), Options{Identities: []age.Identity{other}}); !errors.Is(err, agefile.ErrNoMatch) {
		t.Errorf("another key: %v", err)
	}
	if err := os.Remove(s.path + acquire.ManifestSuffix + acquire.SignatureSuffix); err != nil {
		t.Fatal(err)
	}
	if _, err := s.try(t.Context(), Options{Signers: trusting(t, testSigner.PublicKey())}); !errors.Is(err, ErrUntrusted) {
		t.Errorf("no signature: %v", err)
	}
	s.open(t, Options{})
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	if _, err := s.try(t.Context(), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no image: %v", err)
	}
}

// An image that was cut short opens with what there is.
func TestPartial(t *testing.T) {
	storedForms(t, func(t *testing.T, s *stock) {
		info, err := os.Stat(s.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(s.path, info.Size()*2/3); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{acquire.ManifestSuffix, acquire.FramesSuffix} {
			if err := os.Remove(s.path + suffix); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(s.path, s.path+".partial"); err != nil {
			t.Fatal(err)
		}
		img := s.open(t, Options{})
		v := img.Lime()
		if v.Size() == 0 || v.Size() >= int64(len(s.raw)) {
			t.Fatalf("size %d of %d", v.Size(), len(s.raw))
		}
		if img.Defect() == nil {
			t.Error("no defect")
		}
		jump(t, v, s.raw[:v.Size()], 1, 100)
		raw, err := img.Raw()
		if err != nil {
			t.Fatal(err)
		}
		jump(t, raw, memory(s.raw)[:raw.Size()], 1, 100)
	})
}

// Where a header is damaged, the manifest knows the records.
func TestDamagedHeader(t *testing.T) {
	s := store(t, testRaw(), frame.Zstd, false)
	x := s.index(t)
	second := lime.HeaderSize + int64(testRAM[0].Size())
	for _, e := range x.Entries {
		if e.RawOffset <= second && second < e.RawOffset+e.RawSize {
			flip(t, s.path, e.StoredOffset+e.StoredSize/2)
		}
	}
	img := s.open(t, Options{})
	if got := len(img.Records()); got != len(testRAM) || img.Defect() == nil {
		t.Errorf("%d records, %v", got, img.Defect())
	}
	raw, err := img.Raw()
	if err != nil {
		t.Fatal(err)
	}
	p, last := make([]byte, 100), testRAM[2]
	if _, err := raw.ReadAt(p, int64(last.Start)); err != nil || !bytes.Equal(p, s.raw[len(s.raw)-int(last.Size()):][:100]) {
		t.Errorf("last record: %v", err)
	}
}

// Who reads what has no frames of its own is free when his time is up, though the read below is not; Close waits for that.
func TestSlowWithoutFrames(t *testing.T) {
	src := &flaky{data: testRaw()}
	img, err := OpenFile(t.Context(), src, int64(len(src.data)), "x", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	jump(t, img.Lime(), src.data, 1, 20)
	src.hold = make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	p := bytes.Repeat([]byte{7}, 100)
	if n, err := img.Lime().ReadContext(ctx, p, 0); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%d, %v", n, err)
	}
	closed := make(chan error)
	go func() { closed <- img.Close() }()
	select {
	case <-closed:
		t.Error("closed while it is read")
	case <-time.After(20 * time.Millisecond):
	}
	close(src.hold)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if !bytes.Equal(p, bytes.Repeat([]byte{7}, 100)) {
		t.Error("the late read wrote into the buffer")
	}
	if _, err := img.raw.ReadContext(t.Context(), p, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
