package avml

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/s2"
)

// The snappy framing format: https://github.com/google/snappy/blob/main/framing_format.txt. Of its chunks
// AVML writes two kinds, and no other is taken.
const (
	chunkCompressed = 0x00
	chunkPlain      = 0x01

	maxBlock = 64 << 10 // uncompressed bytes of a chunk
)

// identifier starts a stream.
const identifier = "\xff\x06\x00\x00sNaPpY"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the masked CRC-32C of the framing format.
func checksum(p []byte) uint32 {
	c := crc32.Checksum(p, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// chunks reads the snappy stream of one record, and the length that follows it.
type chunks struct {
	r    *bufio.Reader
	n    uint64 // bytes of the stream so far
	in   []byte
	out  []byte // of the chunk under way
	left []byte // of out
}

func (c *chunks) read(p []byte) error {
	n, err := io.ReadFull(c.r, p)
	c.n += uint64(n)
	return err
}

// begin reads the stream identifier.
func (c *chunks) begin() error {
	var id [len(identifier)]byte
	if err := c.read(id[:]); err != nil {
		return short(err)
	}
	if string(id[:]) != identifier {
		return fmt.Errorf("%w: a compressed record begins with % x", ErrFormat, id)
	}
	return nil
}

// next returns at most limit bytes, valid until it is called again. io.EOF, of either kind, says that
// the source ended.
func (c *chunks) next(limit uint64) ([]byte, error) {
	if len(c.left) == 0 {
		if err := c.chunk(); err != nil {
			return nil, err
		}
	}
	n := min(limit, uint64(len(c.left)))
	p := c.left[:n]
	c.left = c.left[n:]
	return p, nil
}

// chunk reads one.
func (c *chunks) chunk() error {
	var h [8]byte // kind, length, checksum
	if err := c.read(h[:]); err != nil {
		return err
	}
	kind := h[0]
	size := int(h[1]) | int(h[2])<<8 | int(h[3])<<16
	size -= 4 // the checksum
	if size <= 0 || size > s2.MaxEncodedLen(maxBlock) || kind == chunkPlain && size > maxBlock {
		return fmt.Errorf("%w: a chunk of kind %#x with %d bytes", ErrFormat, kind, size)
	}
	if cap(c.in) < size {
		c.in = make([]byte, max(size, maxBlock))
	}
	in := c.in[:size]
	if err := c.read(in); err != nil {
		return short(err)
	}
	switch kind {
	case chunkPlain:
		c.left = in
	case chunkCompressed:
		n, err := s2.DecodedLen(in)
		if err != nil || n == 0 || n > maxBlock {
			return fmt.Errorf("%w: a chunk that decodes to %d bytes: %v", ErrFormat, n, err)
		}
		if c.out == nil {
			c.out = make([]byte, maxBlock)
		}
		if c.left, err = s2.Decode(c.out, in); err != nil {
			return fmt.Errorf("%w: a chunk does not decode: %w", ErrFormat, err)
		}
	default:
		return fmt.Errorf("%w: a chunk of kind %#x", ErrFormat, kind)
	}
	if want, got := binary.LittleEndian.Uint32(h[4:]), checksum(c.left); want != got {
		return fmt.Errorf("%w: a chunk with checksum %08x, and it says %08x", ErrFormat, got, want)
	}
	return nil
}

// finish reads what follows the record.
func (c *chunks) finish() error {
	if len(c.left) > 0 {
		return fmt.Errorf("%w: a record with %d bytes more than its range", ErrFormat, len(c.left))
	}
	var n [8]byte
	if _, err := io.ReadFull(c.r, n[:]); err != nil {
		return short(err)
	}
	if said := binary.LittleEndian.Uint64(n[:]); said != c.n {
		return fmt.Errorf("%w: a record of %d compressed bytes, and it says %d", ErrFormat, c.n, said)
	}
	return nil
}

func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("the stream ends in a compressed record: %w", io.ErrUnexpectedEOF)
	}
	return err
}
