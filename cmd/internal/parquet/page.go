package parquet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxPage bounds a page, stored and unpacked: writers make them of one MiB.
	maxPage = 8 << 20
	// maxHeld bounds the pages and dictionaries that a file has in memory, apart from one as it is stored.
	maxHeld = 48 << 20
	// maxValues bounds the values of a page. One of equal values has no more than a few bytes, whatever their number.
	maxValues = 1 << 24
	// ahead is how much of a column is asked for at once.
	ahead = 1 << 20
	// minBuffer holds the longest head of a page that is read.
	minBuffer = 64 << 10
)

const (
	pageData, pageDictionary, pageData2          = 0, 2, 3
	codecNone, codecSnappy, codecGzip, codecZstd = 0, 1, 2, 6
)

var codecNames = map[int64]string{3: "LZO", 4: "BROTLI", 5: "LZ4", 7: "LZ4_RAW"}

// A head is a PageHeader.
type head struct {
	kind             int64
	unpacked, stored int64
	crc              *uint32
	values, encoding int64
	levels           int64 // encoding of the definition levels
	levelBytes       int64 // of a second version's page
	repeatBytes      int64
	plain            bool // a second version's page that is not compressed
}

// parse reads a page's head, and says how long it is.
func (h *head) parse(b []byte) (n int, err error) {
	*h = head{kind: -1, levels: 3}
	w := &wire{b: b}
	number := func(p *int64) bool {
		*p = w.int()
		return true
	}
	w.structure(func(id int, kind byte) bool {
		switch {
		case id == 1 && kind == thriftI32:
			return number(&h.kind)
		case id == 2 && kind == thriftI32:
			return number(&h.unpacked)
		case id == 3 && kind == thriftI32:
			return number(&h.stored)
		case id == 4 && kind == thriftI32:
			sum := uint32(int32(w.int()))
			h.crc = &sum
			return true
		case kind != thriftStruct || id != 5 && id != 7 && id != 8:
			return false
		}
		second := id == 8
		w.structure(func(id int, kind byte) bool {
			switch {
			case second && id == 7 && kind == thriftFalse:
				h.plain = true
			case kind != thriftI32:
			case id == 1:
				return number(&h.values)
			case second && id == 4 || !second && id == 2:
				return number(&h.encoding)
			case !second && id == 3:
				return number(&h.levels)
			case second && id == 5:
				return number(&h.levelBytes)
			case second && id == 6:
				return number(&h.repeatBytes)
			}
			return false
		})
		return true
	})
	return len(b) - len(w.b), w.err
}

// check refuses what is beyond a bound.
func (h *head) check() error {
	switch {
	case h.unpacked < 0 || h.stored < 0 || h.unpacked > maxPage || h.stored > maxPage:
		return fmt.Errorf("a page of %d bytes, of %d unpacked: more than %d are not read", h.stored, h.unpacked, maxPage)
	case h.values < 0 || h.values > maxValues:
		return fmt.Errorf("a page of %d values: more than %d are not read", h.values, maxValues)
	case h.repeatBytes != 0 || h.levelBytes < 0 || h.levelBytes > h.stored || h.levelBytes > h.unpacked:
		return errors.New("a page whose levels are not those of a flat column")
	}
	return nil
}

// A pager reads a column's pages.
type pager struct {
	f     *File
	b     *bufio.Reader
	left  int64 // bytes of the column
	codec int64
}

func (f *File) pages(c chunk) (*pager, error) {
	if c.from < int64(len(magic)) || c.size < 0 || c.from > f.size || c.size > f.size-c.from {
		return nil, errShort
	}
	switch c.codec {
	case codecNone, codecSnappy, codecGzip, codecZstd:
	default:
		name, ok := codecNames[c.codec]
		if !ok {
			name = fmt.Sprintf("number %d", c.codec)
		}
		return nil, fmt.Errorf("its compression, %s, is not read", name)
	}
	buffer := max(minBuffer, min(int(c.size), ahead))
	return &pager{f: f, b: bufio.NewReaderSize(io.NewSectionReader(f.r, c.from, c.size), buffer), left: c.size, codec: c.codec}, nil
}

// next reads a page, unpacked into into, which it makes larger if need be; errNoMore after the last.
func (p *pager) next(into []byte) (h head, data []byte, err error) {
	if p.left <= 0 {
		return h, into, errNoMore
	}
	if p.f.ctx.Err() != nil {
		return h, into, context.Cause(p.f.ctx)
	}
	peeked, err := p.b.Peek(int(min(p.left, minBuffer)))
	if err != nil {
		return h, into, noEOF(err)
	}
	n, err := h.parse(peeked)
	if err == nil {
		err = h.check()
	}
	if err != nil {
		return h, into, fmt.Errorf("the head of a page: %w", err)
	}
	p.b.Discard(n) //nolint:errcheck // it was peeked
	if p.left -= int64(n) + h.stored; p.left < 0 {
		return h, into, errShort
	}
	stored := p.f.stored(int(h.stored))
	if _, err := io.ReadFull(p.b, stored); err != nil {
		return h, into, noEOF(err)
	}
	if h.crc != nil && crc32.ChecksumIEEE(stored) != *h.crc {
		return h, into, errors.New("a page does not have its checksum")
	}
	if cap(into) < int(h.unpacked) {
		if p.f.held += int(h.unpacked) - cap(into); p.f.held > maxHeld {
			return h, into, fmt.Errorf("its pages take more than %d bytes", maxHeld)
		}
		into = make([]byte, h.unpacked)
	}
	into = into[:h.unpacked]
	codec, levels := p.codec, int64(0)
	if h.kind == pageData2 {
		levels = int64(copy(into, stored[:h.levelBytes]))
		if levels == h.unpacked {
			return h, into, nil // all values are null
		}
		if h.plain {
			codec = codecNone
		}
	}
	return h, into, unpack(codec, stored[levels:], into[levels:])
}

// stored is where a page goes as it is stored.
func (f *File) stored(n int) []byte {
	if cap(f.packed) < n {
		f.packed = make([]byte, n)
	}
	return f.packed[:n]
}

var unzstd = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(2*maxPage), zstd.WithDecodeAllCapLimit(true))
})

// unpack fills to, exactly.
func unpack(codec int64, from, to []byte) error {
	got := []byte(nil)
	switch codec {
	case codecNone:
		got = from
		copy(to, from)
	case codecSnappy:
		n, err := snappy.DecodedLen(from)
		if err != nil {
			return err
		}
		if n != len(to) {
			break
		}
		if got, err = snappy.Decode(to, from); err != nil {
			return err
		}
	case codecZstd:
		z, err := unzstd()
		if err != nil {
			return err
		}
		if got, err = z.DecodeAll(from, to[:0:len(to)]); err != nil {
			return err
		}
	case codecGzip:
		z, err := gzip.NewReader(bytes.NewReader(from))
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(z, to); err != nil {
			return noEOF(err)
		}
		if _, err := io.ReadFull(z, make([]byte, 1)); err != io.EOF {
			return errors.Join(errLength, err)
		}
		got = to
	}
	if len(got) != len(to) {
		return errLength
	}
	return nil
}

var errLength = errors.New("a page does not have the length that its head says")

// noEOF is err, or that the file is short.
func noEOF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errShort
	}
	return err
}
