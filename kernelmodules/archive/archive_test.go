package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"github.com/shotglass-ir/shotglass/kernelmodules/archive"
	"github.com/shotglass-ir/shotglass/kernelmodules/archive/archivetest"
)

func all(string) bool { return true }

// unpack writes data to a file, and unpacks it as a package or a tarball.
func unpack(t *testing.T, name string, data []byte) (root string, err error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	root = filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	u, err := archive.NewUnpacker(root)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if !archive.IsPackage(name) {
		_, err = archive.Tarball(t.Context(), file, u)
	} else {
		var p *archive.Package
		if p, err = archive.OpenPackage(file); err == nil {
			err = p.Unpack(t.Context(), u, all)
		}
	}
	if err == nil {
		err = u.Finish()
	}
	if entries, rerr := os.ReadDir(dir); rerr != nil || len(entries) != 2 {
		t.Errorf("beside the folder: %v, %v", entries, rerr)
	}
	return root, err
}

var good = archivetest.Package{
	Name: "linux-headers-6.1", Version: "6.1.2-3", Arch: "amd64", Depends: "linux-kbuild-6.1:any (>= 6.1) | x, linux-headers-6.1-common",
	Files: []archivetest.File{
		{Name: "./usr/src/linux-headers-6.1/Makefile", Data: "all:\n"},
		{Name: "./usr/src/linux-headers-6.1/scripts/run", Data: "#!/bin/sh\n", Mode: 0o755},
		{Name: "./lib/modules/6.1/build", Link: "/usr/src/linux-headers-6.1"},
		{Name: "./usr/src/linux-headers-6.1/up", Link: "../../../lib/modules"},
		{Name: "./usr/src/linux-headers-6.1/dangling", Link: "nothing/there"},
		{Name: "./usr/src/linux-headers-6.1/again", Hard: "./usr/src/linux-headers-6.1/Makefile"},
	},
}

func TestUnpack(t *testing.T) {
	for name, data := range map[string][]byte{
		"a.deb": good.Deb(), "a.rpm": good.RPM(),
		"a.tar": archivetest.Tar(good.Files...), "a.tar.gz": archivetest.Pack(".gz", archivetest.Tar(good.Files...)),
		"a.tar.xz": archivetest.Pack(".xz", archivetest.Tar(good.Files...)), "a.tar.zst": archivetest.Pack(".zst", archivetest.Tar(good.Files...)),
	} {
		root, err := unpack(t, name, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// Absolute links lead to the same place below the folder.
		for _, path := range []string{"usr/src/linux-headers-6.1/Makefile", "lib/modules/6.1/build/Makefile", "usr/src/linux-headers-6.1/again", "usr/src/linux-headers-6.1/up/6.1/build/Makefile"} {
			if b, err := os.ReadFile(filepath.Join(root, path)); err != nil || string(b) != "all:\n" {
				t.Errorf("%s: %s: %q, %v", name, path, b, err)
			}
		}
		if info, err := os.Stat(filepath.Join(root, "usr/src/linux-headers-6.1/scripts/run")); err != nil || info.Mode() != 0o755 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestUnpackSuffixes(t *testing.T) {
	for _, suffix := range []string{".gz", ".xz", ".zst", ".none"} {
		p := good
		p.Suffix = suffix
		for name, data := range map[string][]byte{"a.deb": p.Deb(), "a.rpm": p.RPM()} {
			if _, err := unpack(t, name, data); err != nil {
				t.Errorf("%s packed as %s: %v", name, suffix, err)
			}
		}
	}
}

// TestUnpackGreedyXZ: a dictionary of 4 GiB, which a block's header only claims, is not allocated.
func TestUnpackGreedyXZ(t *testing.T) {
	data := archivetest.Pack(".xz", archivetest.Tar(good.Files...))
	if filter := binary.LittleEndian.Uint16(data[14:]); data[12] != 2 || filter != 0x0121 {
		t.Fatalf("not the header of a block with LZMA2 alone: % x", data[:24])
	}
	data[16] = 40
	binary.LittleEndian.PutUint32(data[20:], crc32.ChecksumIEEE(data[12:20]))
	if _, err := unpack(t, "a.tar.xz", data); !errors.Is(err, xz.ErrMemlimit) {
		t.Errorf("unpacked, or refused for another reason: %v", err)
	}
}

// TestUnpackStaysInside: names and links that lead out are refused, and nothing is written there.
func TestUnpackStaysInside(t *testing.T) {
	for name, files := range map[string][]archivetest.File{
		"parent":         {{Name: "../evil", Data: "x"}},
		"deep parent":    {{Name: "./usr/../../evil", Data: "x"}},
		"link":           {{Name: "usr/out", Link: "../../evil"}},
		"through a link": {{Name: "usr/out", Link: "../.."}, {Name: "usr/out/evil", Data: "x"}},
		"link by a link": {{Name: "a/b/c/d/file", Data: "x"}, {Name: "deep", Link: "a/b/c/d"}, {Name: "deep/out", Link: "../../../../.."}},
		"chain":          {{Name: "one", Link: "two"}, {Name: "two", Link: "../evil"}},
		"loop":           {{Name: "one", Link: "two"}, {Name: "two", Link: "one"}},
		"hard link":      {{Name: "evil", Hard: "../a.deb"}},
		"hard link to a link": {
			{Name: "a/b/c/file", Data: "x"}, {Name: "a/b/c/up", Link: "../../../evil"}, {Name: "up", Hard: "a/b/c/up"},
		},
		"device":         {{Name: "dev", Kind: tar.TypeChar}},
		"FIFO":           {{Name: "fifo", Kind: tar.TypeFifo}},
		"file over link": {{Name: "file", Link: "other"}, {Name: "file", Data: "x"}},
		"two files":      {{Name: "file", Data: "x"}, {Name: "file", Data: "y"}},
		"file as folder": {{Name: "file", Data: "x"}, {Name: "file/x", Data: "y"}},
	} {
		p := good
		p.Files = files
		formats := map[string][]byte{"a.deb": p.Deb()}
		if !strings.HasPrefix(name, "hard link") && name != "FIFO" { // of a cpio, such a link has no name elsewhere
			formats["a.rpm"] = p.RPM()
		}
		for format, data := range formats {
			if root, err := unpack(t, format, data); err == nil {
				t.Errorf("%s in %s was unpacked", name, format)
			} else if b, err := os.ReadFile(filepath.Join(filepath.Dir(root), "evil")); err == nil {
				t.Errorf("%s in %s wrote %q", name, format, b)
			}
		}
	}
	// A leading slash means the folder.
	p := good
	p.Files = []archivetest.File{{Name: "/usr/file", Data: "x"}}
	if root, err := unpack(t, "a.deb", p.Deb()); err != nil {
		t.Error(err)
	} else if _, err := os.Stat(filepath.Join(root, "usr/file")); err != nil {
		t.Error(err)
	}
}

func TestSameFileTwice(t *testing.T) {
	p := good
	p.Files = []archivetest.File{{Name: "file", Data: "x"}, {Name: "file", Data: "x"}, {Name: "l", Link: "file"}, {Name: "l", Link: "file"}}
	if _, err := unpack(t, "a.deb", p.Deb()); err != nil {
		t.Error(err)
	}
}

// TestSameFileStreams: files that are there already are compared without a copy of either.
func TestSameFileStreams(t *testing.T) {
	const size = 16 << 20
	data := strings.Repeat("x", size)
	twice := archivetest.Tar(archivetest.File{Name: "file", Data: data}, archivetest.File{Name: "file", Data: data})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := unpack(t, "a.tar", twice)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err != nil || took > size/2 {
		t.Errorf("took %d bytes of memory: %v", took, err)
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"last byte": {archivetest.Tar(archivetest.File{Name: "file", Data: data}, archivetest.File{Name: "file", Data: data[1:] + "y"}), "is another file"},
		"cut":       {twice[:len(twice)-size/2], "unexpected EOF"},
	} {
		if _, err := unpack(t, "a.tar", tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestUnpackCounts: what holds no file, or a file that comes later, counts from the start.
func TestUnpackCounts(t *testing.T) {
	const many = 400_001
	var header, comments bytes.Buffer
	w := tar.NewWriter(&header)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax", PAXRecords: map[string]string{"comment": "x"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(&comments, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	for range many {
		z.Write(header.Bytes())
	}
	z.Write(archivetest.Tar(good.Files...))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	// Names of one file, whose content is not reached: the payload is cut.
	linked := func(n, length int) []byte {
		p := good
		p.Suffix = ".none"
		p.Files = []archivetest.File{{Name: "file", Data: "x"}}
		for i := range n {
			p.Files = append(p.Files, archivetest.File{Name: fmt.Sprintf("%0*d", length, i), Hard: "file"})
		}
		data := p.RPM()
		return data[:len(data)-150]
	}
	for name, data := range map[string][]byte{
		"comments.tar.zst": comments.Bytes(), "links.rpm": linked(many, 6), "names.rpm": linked(20_000, 4000),
	} {
		if _, err := unpack(t, name, data); err == nil || !strings.Contains(err.Error(), "that is too much") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for folders, want := range map[int]string{2048: "a name of 4097 bytes", 65: "below more than 64 folders", 64: ""} {
		_, err := unpack(t, "a.tar", archivetest.Tar(archivetest.File{Name: strings.Repeat("d/", folders) + "f", Data: "x"}))
		if (want == "") != (err == nil) || want != "" && !strings.Contains(err.Error(), want) {
			t.Errorf("a name of %d folders: %v, want %q", folders, err, want)
		}
	}
}

func TestOpenPackage(t *testing.T) {
	write := func(data []byte) string {
		name := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	d, err := archive.OpenPackage(write(good.Deb()))
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != good.Name || d.Version != good.Version || d.Arch != "amd64" || d.Machine() != "x86_64" || d.RPM ||
		strings.Join(d.Depends, " ") != "linux-kbuild-6.1 linux-headers-6.1-common" || len(d.SHA256) != 64 {
		t.Errorf("%+v", d)
	}
	p := good
	p.Arch = "aarch64"
	r, err := archive.OpenPackage(write(p.RPM()))
	if err != nil || r.Name != good.Name || r.Version != "6.1.2-3" || r.Machine() != "aarch64" || !r.RPM {
		t.Errorf("%+v, %v", r, err)
	}
	p.Arch = "armhf"
	negative := good.Deb()
	copy(negative[8+48:], "-60       ")
	// Counts and sizes that a header only claims are not allocated.
	bomb := good.RPM()
	binary.BigEndian.PutUint32(bomb[96+16+12:], 1<<31)
	huge := good.RPM()
	binary.BigEndian.PutUint32(huge[96+12:], 1<<31)
	outside := good.RPM()
	binary.BigEndian.PutUint32(outside[96+16+8:], 100)
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":           {nil, "neither a .deb nor an .rpm"},
		"text":            {[]byte("<html>not found</html>"), "neither a .deb nor an .rpm"},
		"other machine":   {p.Deb(), `"armhf"`},
		"negative member": {negative, "no valid header"},
		"truncated deb":   {good.Deb()[:150], "unexpected EOF"},
		"half rpm":        {good.RPM()[:130], "EOF"},
		"value bomb":      {bomb, "values"},
		"big header":      {huge, "2147483648 bytes"},
		"offset":          {outside, "out of range"},
	} {
		if _, err := archive.OpenPackage(write(tt.data)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestUnpackEnds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.deb")
	if err := os.WriteFile(name, good.Deb(), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := archive.OpenPackage(name)
	if err != nil {
		t.Fatal(err)
	}
	u, err := archive.NewUnpacker(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := p.Unpack(ctx, u, all); !errors.Is(err, why) {
		t.Errorf("Unpack with a dead context: %v", err)
	}
	other := good
	other.Version = "7-1"
	if err := os.WriteFile(name, other.Deb(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Unpack(t.Context(), u, all); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("Unpack of another file: %v", err)
	}
}

// FuzzPackage: nothing but the folder is written to, whatever a package says, and memory is bounded.
func FuzzPackage(f *testing.F) {
	for _, suffix := range []string{".none", ".gz"} {
		p := good
		p.Suffix = suffix
		f.Add(p.Deb())
		f.Add(p.RPM())
		p.Files = append(p.Files, archivetest.File{Name: "out", Link: "../.."}, archivetest.File{Name: "out/x", Data: "x"})
		f.Add(p.Deb())
	}
	dir := f.TempDir()
	file, root := filepath.Join(dir, "package"), filepath.Join(dir, "root")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := archive.OpenPackage(file)
		if err != nil {
			return
		}
		if err := os.Mkdir(root, 0o700); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		u, err := archive.NewUnpacker(root)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		if err := p.Unpack(t.Context(), u, all); err == nil && u.Finish() == nil {
			filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type()&fs.ModeSymlink != 0 {
					to, err := filepath.EvalSymlinks(path)
					if err == nil && to != root && !strings.HasPrefix(to, root+"/") {
						t.Errorf("%s leads to %s", path, to)
					}
				}
				return nil
			})
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
			t.Errorf("beside the folder: %v, %v", entries, err)
		}
	})
}
