// Package wire unpacks what compressors on targets send: zstd, lz4 and gzip, as their
// command line tools write it.
//
// A target may be hostile. What is unpacked is bounded by what was asked for, whatever its
// headers say, and memory by the formats' own small windows. What is cut off, too long or
// damaged is an error, never a short result.
package wire

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compressors, by the name of the program on the target.
const (
	Zstd = "zstd"
	Lz4  = "lz4"
	Gzip = "gzip"
)

// Tools are all of them, the one that does most for a slow link first.
var Tools = []string{Zstd, Lz4, Gzip}

// Command is what runs a tool as a filter, at its cheapest level: the target has other work.
func Command(tool string) string {
	switch tool {
	case Zstd:
		return "zstd -q -1 -c -"
	case Lz4:
		return "lz4 -q -1 -c -"
	}
	return "gzip -1 -c"
}

// maxWindow is the most that zstd -1 asks a reader to remember, and four times that.
const maxWindow = 8 << 20

// ErrTooMuch: it unpacks to more than was asked for.
var ErrTooMuch = errors.New("the target sent more than was asked for")

// An Unpacker unpacks pieces, one after the other. It is for one goroutine.
type Unpacker struct {
	tool   string
	packed []byte
	zstd   *zstd.Decoder
	lz4    *lz4.Reader
	gzip   *gzip.Reader
	most   bounded // what gzip reads from
}

// NewUnpacker makes an Unpacker. Close it.
func NewUnpacker(tool string) (*Unpacker, error) {
	u := &Unpacker{tool: tool}
	if !slices.Contains(Tools, tool) {
		return nil, fmt.Errorf("no compressor is called %q", tool)
	}
	if tool == Zstd {
		var err error
		u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, err
		}
	}
	return u, nil
}

// Close frees the Unpacker.
func (u *Unpacker) Close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
}

// Piece reads exactly one compressed piece from r and unpacks it into buf. n is how much it
// was; one that is larger than buf is an error, ErrTooMuch where that can be told. The end of r
// within the piece is io.ErrUnexpectedEOF.
func (u *Unpacker) Piece(r *bufio.Reader, buf []byte) (n int, err error) {
	switch u.tool {
	case Zstd:
		if err := u.frame(r, zstdFrame, len(buf)); err != nil {
			return 0, err
		}
		out, err := u.zstd.DecodeAll(u.packed, buf[:0:len(buf)])
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			return 0, ErrTooMuch
		}
		return len(out), unpackError(u.tool, err)
	case Lz4:
		if err := u.frame(r, lz4Frame, len(buf)); err != nil {
			return 0, err
		}
		if u.lz4 == nil {
			u.lz4 = lz4.NewReader(nil)
		}
		u.lz4.Reset(bytes.NewReader(u.packed))
		return fill(u.tool, u.lz4, buf)
	}
	// inflate reads no byte too many from an io.ByteReader.
	u.most = bounded{r, Most(len(buf))}
	if u.gzip == nil {
		u.gzip, err = gzip.NewReader(&u.most)
	} else {
		err = u.gzip.Reset(&u.most)
	}
	if err != nil {
		return 0, unpackError(u.tool, noEOF(err))
	}
	u.gzip.Multistream(false)
	return fill(u.tool, u.gzip, buf)
}

// fill reads r to its end.
func fill(tool string, r io.Reader, buf []byte) (n int, err error) {
	var more [1]byte
	for {
		p := buf[n:]
		if len(p) == 0 {
			p = more[:]
		}
		k, err := r.Read(p)
		if k > 0 && n == len(buf) {
			return n, ErrTooMuch
		}
		switch n += k; {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, unpackError(tool, err)
		}
	}
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func unpackError(tool string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("unpack what %s on the target sent: %w", tool, err)
}
