package frame

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sort"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A Format is how an image is stored.
type Format string

// The formats that Open knows, by their first bytes.
const (
	FormatRaw  Format = "raw" // a LiME image as it is
	FormatZstd Format = "zstd"
	FormatS2   Format = "s2" // or snappy, which it includes
	FormatGzip Format = "gzip"
)

var (
	// ErrFormat is wrapped by Open's errors about what it does not know.
	ErrFormat = errors.New("not a LiME image, plain or in zstd, s2 or gzip")
	// ErrSequential is returned by ReadAt when the image can only be read
	// from its start.
	ErrSequential = errors.New("stored without frames: can only be read in sequence")
)

// A Reader gives back the raw bytes of a stored image, whoever made it.
// ReadAt may be called concurrently. Read and WriteTo, which decode ahead on all cores, may
// not, but beside ReadAt they may. Close ends decoding; it does not close the
// file.
type Reader struct {
	r      io.ReaderAt
	size   int64
	format Format
	index  *Index // nil: raw, or a stream without frames of known size
	tail   *TailError
	dec    *decoder

	seq  sequence
	serr error // sticky, of Read

	mu     sync.Mutex
	recent [4]recent // frames that ReadAt decoded last
	turn   int
}

type recent struct {
	frame int
	raw   []byte
}

// A sequence hands out the raw bytes from the start.
type sequence interface {
	io.Reader
	io.WriterTo
	Close()
}

// Open returns a Reader of the image in r, of which size bytes are read. The
// frames of zstd and s2 are found by the seek table or, where there is none, by going
// through the frames; a file that was cut short opens: see Tail.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	head := make([]byte, min(32, max(0, size)))
	if err := readFullAt(r, head, 0); err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	f := newReader(r, size)
	var magic uint32
	if len(head) >= 4 {
		magic = binary.LittleEndian.Uint32(head)
	}
	var err error
	switch {
	case magic == limeMagic:
		f.format = FormatRaw
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		f.format = FormatGzip
	case magic == zstdMagic, magic&^15 == skipMagic:
		f.format = FormatZstd
		err = f.frames(readSeekTable, scan)
	case isS2(head):
		f.format = FormatS2
		err = f.frames(readS2Table, scanS2)
	case len(head) == 0:
		err = fmt.Errorf("%w: it is empty", ErrFormat)
	default:
		err = fmt.Errorf("%w: starts with % x", ErrFormat, head[:min(8, len(head))])
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// OpenPlain returns a Reader of what is stored as it is, whatever it is.
func OpenPlain(r io.ReaderAt, size int64) *Reader {
	f := newReader(r, size)
	f.format = FormatRaw
	return f
}

func newReader(r io.ReaderAt, size int64) *Reader {
	f := &Reader{r: r, size: size}
	for i := range f.recent {
		f.recent[i].frame = -1
	}
	return f
}

// limeMagic is lime.Magic; the two packages do not need each other.
const limeMagic = 0x4C694D45

// frames finds the frames by the table at the end or, if there is none, by
// going through them.
func (f *Reader) frames(table func(io.ReaderAt, int64) (*Index, error), scan func(io.ReaderAt, int64) (*Index, *TailError, error)) (err error) {
	f.index, err = table(f.r, f.size)
	if err != nil { // no table, or its place cannot be read: the frames may be there all the same
		f.index, f.tail, err = scan(f.r, f.size)
	}
	switch {
	case errors.Is(err, errUnsized):
		f.index, f.tail = nil, nil
		return nil
	case err != nil:
		return err
	}
	f.dec, err = newDecoder(0)
	return err
}

// Format returns how the image is stored.
func (f *Reader) Format() Format { return f.format }

// Index returns the frames found, without digests; nil when there are none to be told apart.
func (f *Reader) Index() *Index { return f.index }

// Size returns the raw size, if it is known without reading the image.
func (f *Reader) Size() (int64, bool) {
	switch {
	case f.format == FormatRaw:
		return f.size, true
	case f.index != nil:
		return f.index.Raw(), true
	}
	return 0, false
}

// Tail says what follows the last whole frame when the file was cut short or
// appended to, or is nil. Read returns it instead of io.EOF.
func (f *Reader) Tail() *TailError { return f.tail }

// ReadAt reads raw bytes at off. It decodes whole frames and remembers the
// last few.
func (f *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	switch {
	case f.format == FormatRaw:
		return f.r.ReadAt(p, off)
	case f.index == nil:
		return 0, ErrSequential
	case off < 0:
		return 0, errors.New("frame: negative offset")
	}
	entries := f.index.Entries
	i := sort.Search(len(entries), func(i int) bool { return entries[i].RawOffset+entries[i].RawSize > off })
	for ; n < len(p); i++ {
		if i == len(entries) {
			return n, io.EOF
		}
		raw, err := f.decode(i)
		if err != nil {
			return n, err
		}
		m := copy(p[n:], raw[off-entries[i].RawOffset:])
		n += m
		off += int64(m)
	}
	return n, nil
}

// decode returns the raw bytes of frame i.
func (f *Reader) decode(i int) ([]byte, error) {
	f.mu.Lock()
	for _, r := range f.recent {
		if r.frame == i {
			f.mu.Unlock()
			return r.raw, nil
		}
	}
	f.mu.Unlock()
	var j job
	if j.load(f.r, f.index, i, f.dec); j.err != nil {
		return nil, frameError(i, f.index.Entries[i], j.err)
	}
	f.mu.Lock()
	f.recent[f.turn] = recent{i, j.raw}
	f.turn = (f.turn + 1) % len(f.recent)
	f.mu.Unlock()
	return j.raw, nil
}

// Read reads the raw bytes in sequence. A damaged frame is a *FrameError, a
// file cut short a *TailError; what lies before has been read then.
func (f *Reader) Read(p []byte) (int, error) {
	if f.serr == nil {
		f.serr = f.start()
	}
	if f.serr != nil || len(p) == 0 {
		return 0, f.serr
	}
	n, err := f.seq.Read(p)
	f.serr = err
	return n, err
}

// WriteTo writes the raw bytes that Read has not read yet to w, without
// copying them.
func (f *Reader) WriteTo(w io.Writer) (int64, error) {
	if f.serr == nil {
		f.serr = f.start()
	}
	if f.serr != nil {
		if f.serr == io.EOF {
			return 0, nil
		}
		return 0, f.serr
	}
	n, err := f.seq.WriteTo(w)
	if f.serr = err; err == nil {
		f.serr = io.EOF
	}
	return n, err
}

// Close ends decoding.
func (f *Reader) Close() error {
	if f.serr == nil || f.serr == io.EOF {
		f.serr = errors.New("frame: read after close")
	}
	if f.seq != nil {
		f.seq.Close()
		f.seq = nil
	}
	if f.dec != nil {
		f.dec.close()
		f.dec = nil
	}
	return nil
}

func (f *Reader) start() error {
	if f.seq != nil {
		return nil
	}
	section := io.NewSectionReader(f.r, 0, f.size)
	switch {
	case f.format == FormatRaw:
		f.seq = plain{section}
	case f.format == FormatGzip:
		z, err := gzip.NewReader(bufio.NewReaderSize(section, 1<<20))
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		f.seq = plain{z}
	case f.index == nil:
		z, err := zstd.NewReader(section)
		if err != nil {
			return fmt.Errorf("zstd: %w", err)
		}
		f.seq = plain{z.IOReadCloser()}
	default:
		f.seq = &framed{f: f, a: newAhead(f.r, f.index, 0, runtime.GOMAXPROCS(0), f.dec)}
	}
	return nil
}

// plain is the sequence of a reader that does it all.
type plain struct{ io.Reader }

func (p plain) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{p.Reader}, make([]byte, 1<<20))
}

func (p plain) Close() {
	if c, ok := p.Reader.(io.Closer); ok {
		c.Close()
	}
}

// framed is the sequence of frames that are decoded ahead.
type framed struct {
	f    *Reader
	a    *ahead
	cur  *job
	rest []byte // of cur that has not been read
}

// more makes rest not empty, or returns why it is.
func (s *framed) more() error {
	for len(s.rest) == 0 {
		if s.cur != nil {
			s.a.free <- s.cur
			s.cur = nil
		}
		j := s.a.next()
		if j == nil {
			if s.f.tail != nil {
				return s.f.tail
			}
			return io.EOF
		}
		s.cur = j
		if j.err != nil {
			return frameError(j.i, s.f.index.Entries[j.i], j.err)
		}
		s.rest = j.raw
	}
	return nil
}

func (s *framed) Read(p []byte) (int, error) {
	if err := s.more(); err != nil {
		return 0, err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *framed) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if err := s.more(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
		m, err := w.Write(s.rest)
		n += int64(m)
		if err == nil && m < len(s.rest) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
		s.rest = nil
	}
}

func (s *framed) Close() { s.a.close() }
