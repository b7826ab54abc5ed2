package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Frames of zstd (RFC 8878, section 3.1.1) and lz4
// (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md) tell where they end to who
// follows their blocks. So a piece is read to its last byte, and none of what follows.

// slack is what a compressor may add to what does not compress, beside 1/64.
const slack = 64 << 10

// Most is how long a compressed piece of so many bytes may be.
func Most(size int) int { return size + size/64 + slack }

var errPacked = errors.New("a compressed piece is longer than what it was made of")

// frame reads one frame into u.packed. What it holds may be at most size bytes.
func (u *Unpacker) frame(r *bufio.Reader, follow func(*feed) error, size int) error {
	f := &feed{r: r, b: u.packed[:0], most: Most(size)}
	err := follow(f)
	u.packed = f.b
	return unpackError(u.tool, err)
}

// A feed reads a frame part by part, and keeps all of it.
type feed struct {
	r    *bufio.Reader
	b    []byte
	most int
}

// next reads n more bytes.
func (f *feed) next(n int) ([]byte, error) {
	at := len(f.b)
	if at+n > f.most {
		return nil, errPacked
	}
	f.b = append(f.b, make([]byte, n)...)
	_, err := io.ReadFull(f.r, f.b[at:])
	return f.b[at:], noEOF(err)
}

// A bounded reader fails with errPacked once it has given what may come: blocks of deflate may be
// empty, so that a piece without an end need not bring a byte.
type bounded struct {
	r    *bufio.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errPacked
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// ReadByte implements io.ByteReader.
func (b *bounded) ReadByte() (byte, error) {
	if b.left == 0 {
		return 0, errPacked
	}
	c, err := b.r.ReadByte()
	if err == nil {
		b.left--
	}
	return c, err
}

func zstdFrame(f *feed) error {
	head, err := f.next(5)
	if err != nil {
		return err
	}
	// The descriptor says how long the header is.
	d := head[4]
	single := d>>5&1 == 1
	more := []int{0, 1, 2, 4}[d&3] + []int{0, 2, 4, 8}[d>>6]
	if !single || d>>6 == 0 {
		more++ // the window, or a size of one byte
	}
	if _, err := f.next(more); err != nil {
		return err
	}
	var h zstd.Header
	if err := h.Decode(f.b); err != nil {
		return err
	}
	if h.Skippable || h.HeaderSize != len(f.b) {
		return errors.New("not a zstd frame")
	}
	for last := false; !last; {
		b, err := f.next(3)
		if err != nil {
			return err
		}
		v := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		last = v&1 != 0
		n := v >> 3
		switch v >> 1 & 3 {
		case 1: // one byte, repeated
			n = 1
		case 3:
			return errors.New("reserved block type")
		}
		if _, err := f.next(n); err != nil {
			return err
		}
	}
	if h.HasCheckSum {
		_, err = f.next(4)
	}
	return err
}

func lz4Frame(f *feed) error {
	head, err := f.next(7)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(head) != 0x184D2204 {
		return fmt.Errorf("not an lz4 frame: it begins with %x", head)
	}
	flags := head[4]
	has := func(bit int) bool { return flags>>bit&1 == 1 }
	more := 0
	if has(3) {
		more += 8 // content size
	}
	if has(0) {
		more += 4 // dictionary
	}
	if _, err := f.next(more); err != nil {
		return err
	}
	for {
		b, err := f.next(4)
		if err != nil {
			return err
		}
		n := int(binary.LittleEndian.Uint32(b) &^ (1 << 31))
		if n == 0 {
			break
		}
		if has(4) {
			n += 4 // block checksum
		}
		if _, err := f.next(n); err != nil {
			return err
		}
	}
	if has(2) {
		_, err = f.next(4)
	}
	return err
}
