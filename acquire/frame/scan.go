package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// A TailError says that a file goes on after its last whole frame with
// something that is none: mostly a frame that was being written when the
// writer died. What lies before it can be read.
type TailError struct {
	Offset int64 // in the stored file
	Bytes  int64 // from there to its end
	Err    error
}

func (e *TailError) Error() string {
	return fmt.Sprintf("no whole frame in the last %d bytes, from offset %d: %v", e.Bytes, e.Offset, e.Err)
}

// Unwrap returns the reason.
func (e *TailError) Unwrap() error { return e.Err }

// errUnsized says that a frame cannot be decoded on its own: its header does
// not say how long it is, or it is too long for memory.
var errUnsized = errors.New("frame of unknown or excessive size")

var errNoFrame = errors.New("not a zstd frame")

// scan finds the frames of r by walking their block headers. Skippable frames
// are counted to the frame after them. It returns errUnsized when the file can
// only be read as a stream, an I/O error, or the frames and the *TailError that
// ended them, if any.
func scan(r io.ReaderAt, size int64) (*Index, *TailError, error) {
	w := window{r: r, size: size}
	x := &Index{Compression: Zstd}
	for at, start := int64(0), int64(0); at < size; {
		end, raw, err := w.frame(at)
		var bad *TailError
		switch {
		case errors.As(err, &bad):
			bad.Offset, bad.Bytes = at, size-at
			return x, bad, nil
		case err != nil:
			return nil, nil, err
		}
		at = end
		if raw < 0 {
			continue
		}
		if len(x.Entries) == maxFrames {
			return nil, nil, fmt.Errorf("%w: more than %d frames", errNoTable, maxFrames)
		}
		x.add(at-start, raw, Sum{})
		start = at
	}
	return x, nil, nil
}

// frame returns where the frame at off ends and its raw size, which is -1 for
// a skippable frame. What is wrong with the frame is a *TailError.
func (w *window) frame(off int64) (end, raw int64, err error) {
	head, err := w.at(off, zstd.HeaderMaxSize)
	if err != nil {
		return 0, 0, err
	}
	if len(head) < 4 {
		return 0, 0, &TailError{Err: io.ErrUnexpectedEOF}
	}
	if m := binary.LittleEndian.Uint32(head); m != zstdMagic && m&^15 != skipMagic {
		return 0, 0, &TailError{Err: errNoFrame}
	}
	var h zstd.Header
	switch err := h.Decode(head); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, 0, &TailError{Err: err}
	case err != nil:
		return 0, 0, &TailError{Err: fmt.Errorf("%w: %w", errNoFrame, err)}
	}
	off += int64(h.HeaderSize)
	if h.Skippable {
		if off += int64(h.SkippableSize); off > w.size {
			return 0, 0, &TailError{Err: io.ErrUnexpectedEOF}
		}
		return off, -1, nil
	}
	if !h.HasFCS || h.FrameContentSize > maxDecoded {
		return 0, 0, errUnsized
	}
	for last := false; !last; {
		b, err := w.at(off, 3)
		if err != nil {
			return 0, 0, err
		}
		if len(b) < 3 {
			return 0, 0, &TailError{Err: io.ErrUnexpectedEOF}
		}
		v := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
		last = v&1 != 0
		switch n := v >> 3; v >> 1 & 3 {
		case 0, 2: // raw, compressed
			off += 3 + n
		case 1: // one byte, repeated
			off += 3 + 1
		default:
			return 0, 0, &TailError{Err: fmt.Errorf("%w: reserved block type", errNoFrame)}
		}
	}
	if h.HasCheckSum {
		off += 4
	}
	if off > w.size {
		return 0, 0, &TailError{Err: io.ErrUnexpectedEOF}
	}
	return off, int64(h.FrameContentSize), nil
}

// A window makes small reads at rising offsets cheap, also from afar.
type window struct {
	r    io.ReaderAt
	size int64
	off  int64
	buf  []byte
}

// at returns n bytes at off, or less where the file ends.
func (w *window) at(off int64, n int) ([]byte, error) {
	n = int(max(0, min(int64(n), w.size-off)))
	if n == 0 {
		return nil, nil
	}
	if off < w.off || off+int64(n) > w.off+int64(len(w.buf)) {
		if w.buf == nil {
			w.buf = make([]byte, 1<<20)
		}
		w.buf = w.buf[:min(int64(cap(w.buf)), w.size-off)]
		w.off = off
		if err := readFullAt(w.r, w.buf, off); err != nil {
			return nil, fmt.Errorf("read frame headers: %w", err)
		}
	}
	return w.buf[off-w.off:][:n], nil
}
