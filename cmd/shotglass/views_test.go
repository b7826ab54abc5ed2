package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/live"
)

// openTestViews opens an image as mount and serve-image do, and returns what they warn of.
func openTestViews(t *testing.T, args ...string) (v *viewed, warned string) {
	t.Helper()
	testApp(t) // nothing of the environment
	var stderr bytes.Buffer
	c := newConsole(strings.NewReader(""), io.Discard, &stderr)
	app := &cli.App{Flags: slices.Concat(viewFlags(), identityFlags(), s3AccessFlags()), Action: func(cc *cli.Context) (err error) {
		v, err = openViews(t.Context(), c, cc, cc.Args().First())
		return err
	}}
	if err := app.Run(append([]string{"views"}, args...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v, stderr.String()
}

const (
	testDirectMap = 0xffff8a0940000000
	testNote      = "OSRELEASE=6.1.0\nPAGESIZE=4096\nSYMBOL(init_top_pgt)=ffffffff80200000\nNUMBER(phys_base)=0\n"
)

// kernelImage is a LiME image of a kernel's page tables and its VMCOREINFO, between other bytes.
func kernelImage(t *testing.T) []byte {
	t.Helper()
	low, high := lime.Range{Start: 0x1000, End: 0x9fbff}, lime.Range{Start: 0x100000, End: 0x2fffff}
	mem := bytes.Repeat([]byte("memory: "), int(high.Size())/8)
	copy(mem[0x8000:], append([]byte(testNote), 0))
	table := mem[0x200000-high.Start:]
	clear(table[:3*lime.PageSize])
	for level, entry := range []uint64{0x201001, 0x202001, 0x1081} { // the last maps 2 MiB at 0
		index := uint64(testDirectMap) >> (39 - 9*level) & 511
		binary.LittleEndian.PutUint64(table[uint64(level)*lime.PageSize+8*index:], entry)
	}
	b := append(lime.AppendHeader(nil, low), bytes.Repeat([]byte{7}, int(low.Size()))...)
	return append(lime.AppendHeader(b, high), mem...)
}

// TestCoreOfViews: the ELF core of mount and serve-image is the one that convert writes, with the addresses that gdb takes.
func TestCoreOfViews(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "x.lime")
	if err := os.WriteFile(image, kernelImage(t), 0o600); err != nil {
		t.Fatal(err)
	}
	writeLiveItem(t, acquire.LiveName(image, false), vmcoreinfoItem, vmcoreinfoItem, testNote, live.After)
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"shotglass", "convert", "--form", "elf", "--unsigned", image}, strings.NewReader(""), io.Discard, &stderr); code != exitOK {
		t.Fatalf("convert: %d: %s", code, &stderr)
	}
	want, err := os.ReadFile(filepath.Join(dir, "x.elf"))
	if err != nil {
		t.Fatal(err)
	}
	v, warned := openTestViews(t, image)
	if w := v.views[len(v.views)-1]; w.Name != "x.elf" || !strings.Contains(w.What, fmt.Sprintf("direct map at %#x", uint64(testDirectMap))) || strings.Contains(warned, "p_vaddr") {
		t.Errorf("%s: %s; %s", w.Name, w.What, warned)
	}
	got := make([]byte, v.views[2].Size())
	if _, err := v.views[2].ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, and convert has %d, %v", len(got), len(want), err)
	}
	f, err := elf.NewFile(bytes.NewReader(got))
	if err != nil || len(f.Progs) != 3 {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, p := range f.Progs[1:] {
		if p.Vaddr != p.Paddr+testDirectMap {
			t.Errorf("%#x is at %#x", p.Paddr, p.Vaddr)
		}
	}
	// Without page tables there are no addresses, and that is told.
	none := filepath.Join(dir, "y.lime")
	if err := os.WriteFile(none, append(lime.AppendHeader(nil, lime.Range{Start: 0x1000, End: 0x1fff}), make([]byte, 0x1000)...), 0o600); err != nil {
		t.Fatal(err)
	}
	writeLiveItem(t, acquire.LiveName(none, false), vmcoreinfoItem, vmcoreinfoItem, testNote, live.After)
	if v, warned := openTestViews(t, none); !strings.Contains(warned, "p_vaddr is 0") || strings.Contains(v.views[2].What, "direct map") {
		t.Errorf("%s: %s", v.views[2].What, warned)
	}
}

// TestConvertedCore: what lies beside a converted image as if it had been collected there is not in its ELF core: nothing vouches for it.
func TestConvertedCore(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "x.lime")
	if err := os.WriteFile(image, kernelImage(t), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"shotglass", "convert", "--form", "zstd", "--unsigned", image}, strings.NewReader(""), io.Discard, &stderr); code != exitOK {
		t.Fatalf("convert: %d: %s", code, &stderr)
	}
	writeLiveItem(t, acquire.LiveName(image+".zst", false), vmcoreinfoItem, vmcoreinfoItem, testNote, live.After)
	for what, args := range map[string][]string{"ELF core, without VMCOREINFO": nil, "ELF core, with VMCOREINFO, the direct map": {"--unchecked"}} {
		if v, warned := openTestViews(t, append(args, image+".zst")...); !strings.HasPrefix(v.views[2].What, what) {
			t.Errorf("%q: %s; %s", args, v.views[2].What, warned)
		}
	}
}

// sealTo encrypts to a key.
func sealTo(t *testing.T, id *age.X25519Identity, data []byte) []byte {
	t.Helper()
	to, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := agefile.NewWriter(&b, []agefile.Recipient{to}, 64<<10)
	if err == nil {
		if _, err = w.Write(data); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestMountSealedSymbols mounts an encrypted image: its symbol file is there, decrypted, under the name that Volatility looks for.
func TestMountSealedSymbols(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	image, key, symbols := filepath.Join(dir, "x.lime.age"), filepath.Join(dir, "key"), []byte("\xfd7zXZ and what is in it")
	for name, data := range map[string][]byte{
		image: sealTo(t, id, kernelImage(t)), image + symbolsSuffix + agefile.Suffix: sealTo(t, id, symbols), key: []byte(id.String() + "\n"),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string][]byte{}
	v, warned := openTestViews(t, "--identity", key, image)
	files, err := v.files(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		got[f.Name] = make([]byte, f.Source.Size())
		if _, err := f.Source.ReadContext(t.Context(), got[f.Name], 0); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if !bytes.Equal(got["x.isf.json.xz"], symbols) || !bytes.Equal(got["x.lime"], kernelImage(t)) || len(got) != 4 {
		t.Errorf("%d files, symbols %q: %s", len(got), got["x.isf.json.xz"], warned)
	}
}

// TestViewMemory: what an image takes that has been read through leaves the collector room below the limit that it is given.
func TestViewMemory(t *testing.T) {
	image := filepath.Join(t.TempDir(), "x.lime.zst")
	pool := frame.NewPool(frame.PoolOptions{})
	defer pool.Close()
	var stored bytes.Buffer
	w, err := frame.NewWriter(&stored, frame.Options{Pool: pool, Compression: frame.Zstd})
	if err != nil {
		t.Fatal(err)
	}
	mem := make([]byte, 80<<20)
	if _, err := w.Write(append(lime.AppendHeader(nil, lime.Range{Start: 0, End: uint64(len(mem)) - 1}), mem...)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), os.WriteFile(image, stored.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, cache := range []int64{1 << 20, 48 << 20} {
		v, _ := openTestViews(t, "--cache", fmt.Sprint(cache), image)
		limit := v.memory(image, 0)
		if more := v.memory("s3://bucket/x", 0) - limit; more < 32<<20 {
			t.Errorf("from S3 it is %d more", more)
		}
		if _, err := io.Copy(io.Discard, io.NewSectionReader(v.views[0], 0, v.views[0].Size())); err != nil {
			t.Fatal(err)
		}
		debug.FreeOSMemory()
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		if used := int64(now.HeapAlloc); limit < used+garbage/2 {
			t.Errorf("cache %d: %d bytes are used, and the limit is %d", cache, used, limit)
		}
		v.Close()
	}
}
