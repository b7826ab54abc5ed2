package forms

import (
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/klauspost/pgzip"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// WriteOptions say how a form is written.
type WriteOptions struct {
	// Ranges are those that will come, the last one cut short where the image is. An ELF core needs them; the
	// others do without.
	Ranges     []lime.Range
	Machine    elf.Machine // of an ELF core; default x86-64
	VMCoreInfo []byte      // the text of the kernel's note, for an ELF core
	Direct     uint64      // where the kernel maps all of memory, see ELFHead; 0: not known
	// MaxPadding bounds what a raw image adds to memory, in bytes; 0: DefaultPadding.
	MaxPadding uint64
}

// DefaultPadding is for files with holes, in which padding takes time and no room.
const DefaultPadding = 1 << 40

// ErrPadding is wrapped by the error about a raw image that would be mostly padding.
var ErrPadding = errors.New("more padding than is allowed")

// NewWriter returns a Writer of the form f to w, in bounded memory. What package frame compresses is not
// compressed here: of Zstd and S2 it writes the LiME stream.
func NewWriter(w io.Writer, f Form, o WriteOptions) (Writer, error) {
	switch f {
	case Lime, Zstd, S2:
		return NewLime(w), nil
	case Gzip:
		return newGzip(w)
	case AVML1, AVML2:
		return newPieces(w, f == AVML2), nil
	case Raw:
		if o.MaxPadding == 0 {
			o.MaxPadding = DefaultPadding
		}
		if pad, ok := Padding(o.Ranges); !ok || pad > o.MaxPadding {
			return nil, fmt.Errorf("%w: %d bytes, %d are", ErrPadding, pad, o.MaxPadding)
		}
		return &rawWriter{w: w, max: o.MaxPadding}, nil
	case ELF:
		return newELF(w, o)
	}
	return nil, fmt.Errorf("form %q cannot be written", f)
}

// Padding returns how many bytes a raw image of ranges has beside their own. Not ok: it is longer than a file
// can be.
func Padding(ranges []lime.Range) (pad uint64, ok bool) {
	end := uint64(0)
	for _, r := range ranges {
		if r.End >= math.MaxInt64 {
			return 0, false
		}
		pad, end = pad+r.Start-end, r.End+1
	}
	return pad, true
}

// newGzip compresses in blocks on all cores, to one member.
func newGzip(w io.Writer) (Writer, error) {
	z, err := pgzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := z.SetConcurrency(1<<20, runtime.GOMAXPROCS(0)+1); err != nil {
		return nil, err
	}
	return &gzipWriter{NewLime(z), z}, nil
}

type gzipWriter struct {
	Writer
	z *pgzip.Writer
}

func (g *gzipWriter) Close() error { return errors.Join(g.Writer.Close(), g.z.Close()) }

// rawWriter puts every byte at the offset of its address.
type rawWriter struct {
	w       io.Writer
	at      uint64
	pad     uint64
	max     uint64
	padding []byte
}

func (r *rawWriter) Begin(x lime.Range) error {
	if x.Start < r.at || x.End >= math.MaxInt64 {
		return fmt.Errorf("range %s does not fit into a raw image after %#x", x, r.at)
	}
	n := x.Start - r.at
	if r.pad += n; r.pad > r.max {
		return fmt.Errorf("%w: %d bytes before %s, %d are", ErrPadding, r.pad, x, r.max)
	}
	if r.padding == nil {
		r.padding = make([]byte, contentBuffer)
	}
	for n > 0 {
		m, err := r.w.Write(r.padding[:min(n, uint64(len(r.padding)))])
		if err != nil {
			return err
		}
		n -= uint64(m)
		r.at += uint64(m)
	}
	return nil
}

func (r *rawWriter) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	r.at += uint64(n)
	return n, err
}

func (r *rawWriter) Close() error { return nil }

// elfWriter writes an ELF core whose segments are known before.
type elfWriter struct {
	w      io.Writer
	list   []lime.Range
	places []int64
	at     int64
	head   []byte
	left   uint64
	over   bool // a range has begun that has no segment
}

func newELF(w io.Writer, o WriteOptions) (Writer, error) {
	if o.Machine == 0 {
		o.Machine = MachineX86
	}
	var stretches []Stretch
	for _, r := range o.Ranges {
		stretches = append(stretches, Stretch{r.Start, int64(r.Size())})
	}
	head, places, err := ELFHead(o.Machine, stretches, o.VMCoreInfo, o.Direct)
	if err != nil {
		return nil, err
	}
	return &elfWriter{w: w, list: o.Ranges, places: places, head: head}, nil
}

var errRanges = errors.New("the image has other ranges than it had when it was looked through before")

// begin writes up to an offset.
func (e *elfWriter) pad(to int64) error {
	if e.head != nil {
		n, err := e.w.Write(e.head)
		e.at += int64(n)
		if e.head = nil; err != nil {
			return err
		}
	}
	n, err := e.w.Write(make([]byte, to-e.at)) // less than a page
	e.at += int64(n)
	return err
}

func (e *elfWriter) Begin(r lime.Range) error {
	if len(e.list) == 0 && e.left == 0 && !e.over {
		e.over = true // the image was cut right behind this header: no byte of the range follows
		return nil
	}
	if len(e.list) == 0 || e.left > 0 || e.list[0].Start != r.Start || e.list[0].End > r.End {
		return errRanges
	}
	to := e.places[0]
	e.left = e.list[0].Size()
	e.list, e.places = e.list[1:], e.places[1:]
	return e.pad(to)
}

func (e *elfWriter) Write(p []byte) (int, error) {
	if uint64(len(p)) > e.left {
		return 0, errRanges
	}
	n, err := e.w.Write(p)
	e.left -= uint64(n)
	e.at += int64(n)
	return n, err
}

func (e *elfWriter) Close() error {
	if e.head != nil {
		if err := e.pad(int64(len(e.head))); err != nil {
			return err
		}
	}
	if len(e.list) > 0 || e.left > 0 {
		return errRanges
	}
	return nil
}
