// Package archivetest makes packages for tests: whole .deb and .rpm files, as those of distributions are formed.
package archivetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io/fs"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// A File is one of a package. Its folders need not be listed.
type File struct {
	Name string
	Data string
	Link string // of a symbolic link
	Hard string // of a hard link: the name of a file before it
	Mode fs.FileMode
	Kind byte // of a tar entry, in place of what the other fields say
}

// must panics on what cannot happen: writing to memory.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Tar is a tar of the files.
func Tar(files ...File) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: int64(f.Mode.Perm()), Size: int64(len(f.Data)), Typeflag: tar.TypeReg}
		switch {
		case f.Kind != 0:
			h.Typeflag = f.Kind
		case f.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
		case f.Hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, f.Hard
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		must(w.WriteHeader(h))
		_, err := w.Write([]byte(f.Data))
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// Pack packs data as a file with this suffix is packed: .gz, .xz, .zst or none.
func Pack(suffix string, data []byte) []byte {
	var b bytes.Buffer
	switch suffix {
	case ".gz":
		w := gzip.NewWriter(&b)
		w.Write(data)
		must(w.Close())
	case ".xz":
		w, err := xz.NewWriter(&b)
		must(err)
		w.Write(data)
		must(w.Close())
	case ".zst":
		w, err := zstd.NewWriter(&b)
		must(err)
		w.Write(data)
		must(w.Close())
	default:
		return data
	}
	return b.Bytes()
}

// A Package is what a package says of itself.
type Package struct {
	Name, Version, Arch string
	Depends             string
	Suffix              string // how it is packed; empty: .gz
	Files               []File
}

func (p Package) suffix() string {
	if p.Suffix == "" {
		return ".gz"
	}
	return p.Suffix
}

// Deb is the package as a .deb.
func (p Package) Deb() []byte {
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nDepends: %s\nDescription: a test\n of several lines\n", p.Name, p.Version, p.Arch, p.Depends)
	out := []byte("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{
		{"debian-binary", []byte("2.0\n")},
		{"control.tar" + p.suffix(), Pack(p.suffix(), Tar(File{Name: "./control", Data: control}))},
		{"data.tar" + p.suffix(), Pack(p.suffix(), Tar(p.Files...))},
	} {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		out = append(out, m.data...)
		if len(m.data)%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

// RPM is the package as an .rpm; Version is VERSION-RELEASE. Hard links name the file that has the content, and follow it
// in Files; in the payload they come before it, as rpm writes them.
func (p Package) RPM() []byte {
	lead := make([]byte, 96)
	copy(lead, "\xed\xab\xee\xdb\x03\x00")
	copy(lead[10:76], p.Name)
	lead[77], lead[79] = 1, 5
	version, release, _ := bytes.Cut([]byte(p.Version), []byte("-"))
	out := append(lead, rpmHeader(true, 1000, "x")...)
	out = append(out, rpmHeader(false,
		1000, p.Name, 1001, string(version), 1002, string(release), 1022, p.Arch, 1124, "cpio", 1125, "gzip")...)
	return append(out, Pack(p.suffix(), p.cpio())...)
}

// rpmHeader makes a header of string tags.
func rpmHeader(pad bool, tags ...any) []byte {
	var index, store []byte
	for i := 0; i < len(tags); i += 2 {
		for _, v := range []uint32{uint32(tags[i].(int)), 6, uint32(len(store)), 1} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		store = append(append(store, tags[i+1].(string)...), 0)
	}
	out := []byte("\x8e\xad\xe8\x01\x00\x00\x00\x00")
	out = binary.BigEndian.AppendUint32(out, uint32(len(index)/16))
	out = binary.BigEndian.AppendUint32(out, uint32(len(store)))
	out = append(append(out, index...), store...)
	for pad && len(out)%8 != 0 {
		out = append(out, 0)
	}
	return out
}

func (p Package) cpio() []byte {
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	links := make(map[string][]string)
	for _, f := range p.Files {
		if f.Hard != "" {
			links[f.Hard] = append(links[f.Hard], f.Name)
		}
	}
	for i, f := range p.Files {
		if f.Hard != "" {
			continue
		}
		h := &cpio.Header{Name: f.Name, Mode: cpio.FileMode(f.Mode.Perm()) | cpio.TypeReg, Size: int64(len(f.Data)), Inode: int64(i + 1), Links: 1 + len(links[f.Name])}
		if f.Mode == 0 {
			h.Mode |= 0o644
		}
		data := f.Data
		switch {
		case f.Link != "":
			h.Mode, h.Size, data = cpio.TypeSymlink|0o777, int64(len(f.Link)), f.Link
		case f.Kind == tar.TypeChar:
			h.Mode = cpio.TypeChar | 0o600
		}
		for _, other := range links[f.Name] {
			o := *h
			o.Name, o.Size = other, 0
			must(w.WriteHeader(&o))
		}
		must(w.WriteHeader(h))
		_, err := w.Write([]byte(data))
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}
