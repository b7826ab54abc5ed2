package forms

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// ErrForm is wrapped by errors about a file that is no image of a known form.
var ErrForm = errors.New("no memory image of a known form")

// The compressions of a Report.
const (
	containerNone = "none"
	containerGzip = "gzip"
	containerZlib = "zlib"
)

// OpenOptions say what is known of an image beside its bytes. The zero value knows nothing.
type OpenOptions struct {
	// Index lists the frames of the file with their digests. It is not that of an encrypted file.
	Index *frame.Index
	// RAM are the ranges that the image is to have, ascending: memory between them that the file does not
	// store is zeros. Nil: they are as in the file; what AVML cut apart is joined.
	RAM []lime.Range
	// Headers are the ranges whose LiME headers lie at these offsets of the decoded file: a damaged one is
	// restored.
	Headers map[int64]lime.Range
	// Raw says that the file is a raw image: nothing in it shows that.
	Raw bool
}

// An Image is a stored image. It can be read from its start any number of times, one reading after the
// other.
type Image struct {
	r    io.ReaderAt
	size int64
	o    OpenOptions

	container string
	index     *frame.Index // nil: a stream
	tail      *frame.TailError
	raw       int64        // bytes decoded; -1 where that is not known
	at        io.ReaderAt  // the decoded file, nil for a stream
	close     func() error // of at
	form      Form

	segments []segment   // of an ELF core
	machine  elf.Machine // of an ELF core

	placed bool
	places places // of LiME records, once they were looked for
}

// Open finds out what the size bytes of r are. Errors wrap ErrForm, or are those of r.
func Open(r io.ReaderAt, size int64, o OpenOptions) (*Image, error) {
	i := &Image{r: r, size: size, o: o, raw: -1, container: containerNone, close: func() error { return nil }}
	head := make([]byte, min(64, size))
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), head); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read image: %w", err)
	}
	if err := i.contain(head); err != nil {
		return nil, err
	}
	if i.container != containerNone {
		var err error
		if head, err = i.decodedHead(); err != nil {
			i.Close()
			return nil, err
		}
	}
	if err := i.recognize(head); err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// contain finds out how the file is compressed.
func (i *Image) contain(head []byte) error {
	switch {
	case i.o.Raw, bytes.HasPrefix(head, elfMagic), bytes.HasPrefix(head, avmlMagic), bytes.HasPrefix(head, limeMagic):
		i.at, i.raw = i.r, i.size
		if i.index = i.o.Index; i.index == nil || i.index.Compression != frame.None {
			i.index = plainIndex(i.size)
		}
		return nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		i.container = containerGzip
		return nil
	case len(head) >= 2 && head[0]&0x0f == 8 && head[0]>>4 <= 7 && (int(head[0])<<8|int(head[1]))%31 == 0:
		i.container = containerZlib
		return nil
	}
	f, err := frame.Open(i.r, i.size)
	if i.size == 0 {
		return errors.New("the file is empty")
	}
	if errors.Is(err, frame.ErrFormat) {
		return fmt.Errorf("%w: it starts with % x", ErrForm, head[:min(8, len(head))])
	}
	if err != nil {
		return err
	}
	i.container, i.tail = string(f.Format()), f.Tail()
	if x := f.Index(); x != nil {
		i.index, i.at, i.raw, i.close = x, f, x.Raw(), f.Close
		// The side file knows more frames of a file that was cut short, and their digests.
		if o := i.o.Index; o != nil && o.Compression == x.Compression {
			i.index, i.tail = o, nil
		}
		return nil
	}
	return f.Close()
}

// plainIndex is that of a file that is stored as it is.
func plainIndex(size int64) *frame.Index {
	x := &frame.Index{Compression: frame.None}
	step := int64(frame.PlanFrameSize(size))
	for at := int64(0); at < size; at += step {
		n := min(step, size-at)
		x.Entries = append(x.Entries, frame.Entry{StoredOffset: at, StoredSize: n, RawOffset: at, RawSize: n})
	}
	return x
}

// decodedHead returns the first bytes of what is compressed. Where the first frame is damaged, it is taken for LiME.
func (i *Image) decodedHead() (head []byte, err error) {
	head = make([]byte, 64)
	var n int
	if i.at != nil {
		n, err = i.at.ReadAt(head, 0)
	} else {
		var r io.Reader
		var done func()
		if r, done, err = i.decoder(i.r); err == nil {
			n, err = io.ReadFull(r, head)
			done()
		}
	}
	switch {
	case n > 0 || err == nil || err == io.EOF:
		return head[:n], nil
	case len(i.o.Headers) > 0, i.at != nil: // what it is shows further on, perhaps
		return limeMagic, nil
	}
	return nil, fmt.Errorf("%w: it looks like %s and does not decode: %w", ErrForm, i.container, err)
}

var (
	limeMagic = []byte("EMiL\x01\x00\x00\x00")
	avmlMagic = []byte("AVML\x02\x00\x00\x00")
	elfMagic  = []byte("\x7fELF")
)

// recognize finds out what the decoded file is.
func (i *Image) recognize(head []byte) error {
	_, first := i.o.Headers[0]
	switch {
	case i.o.Raw:
		i.form = Raw
	case bytes.HasPrefix(head, limeMagic), first && i.o.RAM != nil:
		i.form = Lime
	case bytes.HasPrefix(head, avmlMagic):
		i.form = AVML2
	case bytes.HasPrefix(head, elfMagic):
		i.form = ELF
		return i.core()
	default:
		return fmt.Errorf("%w: it starts with % x; a raw image must be called one", ErrForm, head[:min(8, len(head))])
	}
	return nil
}

// Content returns the form of the decoded file: Lime, AVML2, Raw or ELF. Records of AVML's version 1 are LiME's.
func (i *Image) Content() Form { return i.form }

// Machine returns that of an ELF core; of another form 0: nothing in it says so.
func (i *Image) Machine() elf.Machine { return i.machine }

// Container returns how the file is compressed: none, zstd, s2, gzip or zlib.
func (i *Image) Container() string { return i.container }

// Close ends all use of the image. It does not close the file.
func (i *Image) Close() error { return i.close() }

// Ranges finds out which ranges the image has, of which the last may be cut short as the file is. It reads the
// headers of records alone where the form allows, otherwise the whole file.
func (i *Image) Ranges(ctx context.Context) ([]lime.Range, error) {
	switch {
	case i.o.RAM != nil:
		return slices.Clone(i.o.RAM), nil
	case i.form == ELF:
		return i.segmentRanges(), nil
	case i.form == Raw:
		if i.raw < 1 {
			return nil, nil
		}
		return []lime.Range{{Start: 0, End: uint64(i.raw) - 1}}, nil
	case i.form == Lime && i.at != nil:
		if list, ok := i.hop(ctx); ok {
			return joinCut(list), nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return i.survey(ctx)
}

// hop reads the headers of LiME records alone. Not ok: one is not as it should be.
func (i *Image) hop(ctx context.Context) (list []lime.Range, ok bool) {
	var h [lime.HeaderSize]byte
	for at := int64(0); at < i.raw; {
		if n, _ := i.at.ReadAt(h[:], at); n < len(h) || ctx.Err() != nil || len(list) == maxRecords {
			return nil, false
		}
		r, err := lime.DecodeHeader(h[:])
		if err != nil || len(list) > 0 && r.Start <= list[len(list)-1].End {
			return nil, false
		}
		at += lime.HeaderSize
		if left := i.raw - at; int64(r.Size()) > left {
			if left == 0 {
				break
			}
			r.End = r.Start + uint64(left) - 1
		}
		list = append(list, r)
		at += int64(r.Size())
	}
	return list, true
}

// Joined returns the ranges of LiME records that AVML has cut, joined again; nil where it has cut none, or where that is not
// seen without reading the whole file.
func (i *Image) Joined(ctx context.Context) []lime.Range {
	if i.form != Lime || i.at == nil {
		return nil
	}
	list, ok := i.hop(ctx)
	if joined := joinCut(list); ok && len(joined) < len(list) {
		return joined
	}
	return nil
}

// maxRecords bounds how many records, segments or ranges an image has. AVML makes one of 16 MiB: of 16 TiB
// that is as many.
const maxRecords = 1 << 20

// survey reads the whole file.
func (i *Image) survey(ctx context.Context) ([]lime.Range, error) {
	s := i.records(ctx, &Report{})
	defer s.close()
	var list []lime.Range
	buf := make([]byte, contentBuffer)
	for {
		r, err := s.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(list) == maxRecords {
			return nil, fmt.Errorf("%w: more than %d records", ErrForm, maxRecords)
		}
		var had uint64
		for had < r.Size() {
			n, err := s.read(buf[:min(uint64(len(buf)), r.Size()-had)])
			had += uint64(n)
			if err == io.ErrUnexpectedEOF {
				break
			}
			if err != nil {
				return nil, err
			}
		}
		if had > 0 {
			list = append(list, lime.Range{Start: r.Start, End: r.Start + had - 1})
		}
	}
	if i.form == AVML2 {
		return joinAVML(list), nil
	}
	return joinCut(list), nil
}

// pieceSize is where AVML cuts ranges.
const pieceSize = 16 << 20

// joinCut joins LiME records if AVML has cut them: then one that touches the next has 16 MiB.
func joinCut(list []lime.Range) []lime.Range {
	cut := false
	for i, r := range list {
		if r.Size() > pieceSize {
			return list
		}
		cut = cut || i > 0 && list[i-1].End+1 == r.Start && list[i-1].Size() == pieceSize
	}
	if !cut {
		return list
	}
	return joinAVML(list)
}

// joinAVML joins what AVML cut, and adds the last byte of ranges, which it leaves out.
func joinAVML(list []lime.Range) []lime.Range {
	out := lime.Coalesce(list)
	for i := range out {
		if out[i].End%lime.PageSize == lime.PageSize-2 && (i+1 == len(out) || out[i+1].Start > out[i].End+1) {
			out[i].End++
		}
	}
	return lime.Coalesce(out)
}

// ReadPhysical reads memory at a physical address, out of the order of the file. It fails where the form does not
// allow that: of a stream, and of AVML's own records. It must not be called concurrently.
func (i *Image) ReadPhysical(ctx context.Context, p []byte, phys uint64) error {
	off, ok := i.offset(ctx, phys, uint64(len(p)))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !ok {
		return fmt.Errorf("memory at %s cannot be read alone", lime.Addr(phys))
	}
	n, err := i.at.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	return err
}

// offset returns where memory lies in the decoded file.
func (i *Image) offset(ctx context.Context, phys, n uint64) (off int64, ok bool) {
	if i.at == nil {
		return 0, false
	}
	switch i.form {
	case Raw:
		return int64(phys), phys < 1<<62
	case ELF:
		k := sort.Search(len(i.segments), func(k int) bool { return i.segments[k].r.End >= phys })
		if k < len(i.segments) {
			s := i.segments[k]
			return s.off + int64(phys-s.r.Start), phys >= s.r.Start && n <= s.file && phys-s.r.Start <= s.file-n
		}
	case Lime:
		i.place(ctx)
		k := sort.Search(len(i.places), func(k int) bool { return i.places[k].r.End >= phys })
		if k < len(i.places) {
			p := i.places[k]
			return p.off + int64(phys-p.r.Start), phys >= p.r.Start && n <= p.r.End-phys+1
		}
	}
	return 0, false
}

// place lists LiME records by their headers, up to the first that is not as it should be.
func (i *Image) place(ctx context.Context) {
	if i.placed {
		return
	}
	i.placed = true
	var h [lime.HeaderSize]byte
	for at := int64(0); at < i.raw && len(i.places) < maxRecords && ctx.Err() == nil; {
		if n, _ := i.at.ReadAt(h[:], at); n < len(h) {
			return
		}
		r, err := lime.DecodeHeader(h[:])
		if k := len(i.places); err != nil || k > 0 && r.Start <= i.places[k-1].r.End {
			return
		}
		at += lime.HeaderSize
		i.places = append(i.places, place{at, r})
		at += int64(r.Size())
	}
}
