package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cavaliergopher/cpio"
	"github.com/cavaliergopher/rpm"
)

const (
	rpmMagic = "\xed\xab\xee\xdb"
	rpmLead  = 96
	// maxRPMHeader bounds each of the two headers of a package, in bytes. That of kernel-devel, with 20,000
	// files, has 3 MB.
	maxRPMHeader = 32 << 20
)

// readRPM reads the headers of a package. Its payload follows in r.
func readRPM(r io.Reader) (p *rpm.Package, err error) {
	defer damaged(&err)
	headers, err := rpmHeaders(r)
	if err != nil {
		return nil, err
	}
	return rpm.Read(bytes.NewReader(headers))
}

// readRPM reads what an .rpm says of itself.
func (p *Package) readRPM(r io.Reader) (err error) {
	defer damaged(&err)
	h, err := readRPM(r)
	if err == nil {
		p.Name, p.Version, p.Arch = h.Name(), h.Version()+"-"+h.Release(), h.Architecture()
	}
	return err
}

// damaged turns a panic of a library into an error: they index with what the file says.
func damaged(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("is a damaged .rpm package: %v", r)
	}
}

// rpmHeaders reads the lead and the two headers of a package, after a look at what they would
// cost: the library allocates as many values as an entry claims.
func rpmHeaders(r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	if _, err := io.CopyN(&out, r, rpmLead); err != nil {
		return nil, unexpected(err)
	}
	for _, padded := range []bool{true, false} {
		intro := make([]byte, 16)
		if _, err := io.ReadFull(r, intro); err != nil {
			return nil, unexpected(err)
		}
		entries, size := int64(binary.BigEndian.Uint32(intro[8:])), int64(binary.BigEndian.Uint32(intro[12:]))
		if 16*entries > maxRPMHeader || size > maxRPMHeader {
			return nil, fmt.Errorf("is a damaged .rpm package: it has a header with %d entries and %d bytes", entries, size)
		}
		out.Write(intro)
		index := make([]byte, 16*entries)
		if _, err := io.ReadFull(r, index); err != nil {
			return nil, unexpected(err)
		}
		out.Write(index)
		// Each value takes a byte at least, and no two share one.
		var values int64
		for e := range slices.Chunk(index, 16) {
			values += int64(binary.BigEndian.Uint32(e[12:]))
		}
		if values > size {
			return nil, fmt.Errorf("is a damaged .rpm package: it has a header of %d bytes with %d values", size, values)
		}
		if padded {
			size = (size + 7) / 8 * 8
		}
		if _, err := io.CopyN(&out, r, size); err != nil {
			return nil, unexpected(err)
		}
	}
	return out.Bytes(), nil
}

// An rpmReader reads the payload of a package: a cpio.
type rpmReader struct {
	r     *cpio.Reader
	links map[int64][]string // names without content, by inode: it comes with the last one
	queue []entry            // what is known and was not returned yet
	files int                // read, to be returned or not
	names int                // bytes of names that were kept in links
}

// maxLinkNames bounds the names that are kept until the file's content comes, in bytes. Those of kernel-devel have 1 MB.
const maxLinkNames = 64 << 20

func (a *rpmReader) next() (e entry, err error) {
	defer damaged(&err)
	for {
		if len(a.queue) > 0 {
			e, a.queue = a.queue[0], a.queue[1:]
			return e, nil
		}
		h, err := a.r.Next()
		if errors.Is(err, io.EOF) && len(a.links) > 0 { // files with several names, and empty
			for _, names := range a.links {
				a.queue = append(a.queue, entry{name: names[0]})
				a.linked(names[0], names[1:])
			}
			a.links = nil
			continue
		}
		if err != nil {
			return entry{}, err
		}
		// Whoever reads entries counts them, but those in links come late.
		if a.files++; a.files > maxFiles {
			return entry{}, errTooMuch
		}
		e = entry{name: h.Name, size: h.Size, mode: rpmMode(h.Mode), link: h.Linkname}
		if !e.mode.IsRegular() || h.Links < 2 {
			return e, nil
		}
		if h.Size == 0 {
			if a.names += len(h.Name); a.names > maxLinkNames {
				return entry{}, errTooMuch
			}
			a.links[h.Inode] = append(a.links[h.Inode], h.Name)
			continue
		}
		a.linked(e.name, a.links[h.Inode])
		delete(a.links, h.Inode)
		return e, nil
	}
}

// linked queues more names of a file.
func (a *rpmReader) linked(name string, more []string) {
	for _, other := range more {
		a.queue = append(a.queue, entry{name: other, hard: name})
	}
}

func (a *rpmReader) Read(p []byte) (n int, err error) {
	defer damaged(&err)
	return a.r.Read(p)
}

// rpmMode turns a mode of cpio into one of Go.
func rpmMode(mode cpio.FileMode) fs.FileMode {
	m := fs.FileMode(mode & cpio.ModePerm)
	switch mode &^ cpio.ModePerm &^ (cpio.ModeSetuid | cpio.ModeSetgid | cpio.ModeSticky) {
	case cpio.TypeReg:
	case cpio.TypeDir:
		m |= fs.ModeDir
	case cpio.TypeSymlink:
		m |= fs.ModeSymlink
	default:
		m |= fs.ModeIrregular
	}
	return m
}
