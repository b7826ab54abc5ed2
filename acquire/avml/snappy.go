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
)

const (
	// MaxChunk is the most uncompressed bytes of a chunk.
	MaxChunk = 64 << 10
	// ChunkHeader is the length of a chunk's header: kind, length, checksum.
	ChunkHeader = 8
	// Identifier starts a stream.
	Identifier = "\xff\x06\x00\x00sNaPpY"
)

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
	var id [len(Identifier)]byte
	if err := c.read(id[:]); err != nil {
		return short(err)
	}
	if string(id[:]) != Identifier {
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
	var b [ChunkHeader]byte
	if err := c.read(b[:]); err != nil {
		return err
	}
	h, err := ParseChunk(b[:])
	if err != nil {
		return err
	}
	if cap(c.in) < h.Size {
		c.in = make([]byte, max(h.Size, MaxChunk))
	}
	in := c.in[:h.Size]
	if err := c.read(in); err != nil {
		return short(err)
	}
	if c.out == nil {
		c.out = make([]byte, MaxChunk)
	}
	c.left, err = h.Decode(c.out, in)
	return err
}

// A Chunk is the header of one.
type Chunk struct {
	Size int // of what follows

	kind  byte
	check uint32
}

// ParseChunk reads the header of a chunk: ChunkHeader bytes. Its errors wrap ErrFormat.
func ParseChunk(b []byte) (Chunk, error) {
	h := Chunk{kind: b[0], check: binary.LittleEndian.Uint32(b[4:])}
	h.Size = int(b[1]) | int(b[2])<<8 | int(b[3])<<16
	h.Size -= 4 // the checksum
	if h.Size <= 0 || h.Size > s2.MaxEncodedLen(MaxChunk) || h.kind == chunkPlain && h.Size > MaxChunk {
		return h, fmt.Errorf("%w: a chunk of kind %#x with %d bytes", ErrFormat, h.kind, h.Size)
	}
	if h.kind != chunkPlain && h.kind != chunkCompressed {
		return h, fmt.Errorf("%w: a chunk of kind %#x", ErrFormat, h.kind)
	}
	return h, nil
}

// Decode decodes what follows the header, into out, which has room for MaxChunk bytes, or returns in
// itself. Its errors wrap ErrFormat.
func (h Chunk) Decode(out, in []byte) (raw []byte, err error) {
	raw = in
	if h.kind == chunkCompressed {
		n, err := s2.DecodedLen(in)
		if err != nil || n == 0 || n > MaxChunk {
			return nil, fmt.Errorf("%w: a chunk that decodes to %d bytes: %v", ErrFormat, n, err)
		}
		if raw, err = s2.Decode(out, in); err != nil {
			return nil, fmt.Errorf("%w: a chunk does not decode: %w", ErrFormat, err)
		}
	}
	if got := checksum(raw); h.check != got {
		return nil, fmt.Errorf("%w: a chunk with checksum %08x, and it says %08x", ErrFormat, got, h.check)
	}
	return raw, nil
}

// Length returns how many bytes the chunk says that it decodes to; in is what follows the header.
func (h Chunk) Length(in []byte) (n int, ok bool) {
	if h.kind == chunkPlain {
		return len(in), true
	}
	n, err := s2.DecodedLen(in)
	return n, err == nil && n > 0 && n <= MaxChunk
}

// AppendChunk appends a chunk that decodes to raw, which has 1 to MaxChunk bytes.
func AppendChunk(dst, raw []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, ChunkHeader+s2.MaxEncodedLen(len(raw)))...)
	packed := s2.EncodeSnappy(dst[at+ChunkHeader:], raw)
	kind := byte(chunkCompressed)
	if len(packed) >= len(raw) {
		kind, packed = chunkPlain, raw
		copy(dst[at+ChunkHeader:], raw)
	}
	n := len(packed) + 4
	binary.LittleEndian.PutUint32(dst[at:], uint32(kind)|uint32(n)<<8)
	binary.LittleEndian.PutUint32(dst[at+4:], checksum(raw))
	return dst[:at+ChunkHeader+len(packed)]
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
