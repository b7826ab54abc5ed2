package forms

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sort"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// records gives an image's memory.
type records interface {
	// next begins the next range, all of the one before having been read. io.EOF: there is none.
	next() (lime.Range, error)
	// read fills p with bytes of the range, of which there are as many. io.ErrUnexpectedEOF: the image
	// ends there, after n of them.
	read(p []byte) (n int, err error)
	// locate returns which memory lies in the decoded file's bytes at off, as far as it was read.
	locate(off, n int64) []lime.Range
}

// A reading is one pass over an image.
type reading struct {
	records
	c   *content
	rep *Report
}

// records starts a pass over what the file stores, as it stores it.
func (i *Image) records(ctx context.Context, rep *Report) *reading {
	rep.Content, rep.Container = i.form, i.container
	c := i.stream(ctx)
	r := &reading{c: c, rep: rep}
	switch i.form {
	case AVML2:
		r.records = &avmlRecords{c: c, rep: rep}
	case ELF:
		r.records = &segmentRecords{i: i, c: c, rep: rep, list: i.segments}
	case Raw:
		r.records = &rawRecords{c: c, rep: rep, size: i.raw, ram: i.o.RAM}
	default:
		r.records = &limeRecords{c: c, rep: rep, headers: i.o.Headers}
	}
	return r
}

func (r *reading) close() { r.c.close() }

// settle says in the report what the decoder met.
func (r *reading) settle() {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for _, d := range r.c.lost {
		if d.Bytes > 0 && d.Kind != Truncated {
			d.Ranges = r.locate(d.Offset, d.Bytes)
		}
		r.rep.damage(d)
	}
	for _, d := range r.c.appends {
		r.rep.damage(d)
	}
}

// places say which memory lies where in the decoded file.
type places []place

type place struct {
	off int64
	r   lime.Range
}

func (l places) locate(off, n int64) (out []lime.Range) {
	i := sort.Search(len(l), func(i int) bool { return l[i].off+int64(l[i].r.Size()) > off })
	for ; i < len(l) && l[i].off < off+n; i++ {
		from, to := max(off, l[i].off), min(off+n, l[i].off+int64(l[i].r.Size()))
		out = append(out, lime.Range{Start: l[i].r.Start + uint64(from-l[i].off), End: l[i].r.Start + uint64(to-l[i].off) - 1})
	}
	return out
}

// limeRecords reads LiME records.
type limeRecords struct {
	places
	c       *content
	rep     *Report
	headers map[int64]lime.Range
	last    lime.Range
	begun   bool
	cut     bool
}

// follows reports whether a record can come now.
func (l *limeRecords) follows(r lime.Range) bool { return !l.begun || r.Start > l.last.End }

func (l *limeRecords) next() (lime.Range, error) {
	if l.cut {
		return lime.Range{}, io.EOF
	}
	at := l.c.off
	h, err := l.c.buf.Peek(lime.HeaderSize)
	if err != nil && err != io.EOF {
		return lime.Range{}, err
	}
	if len(h) == 0 {
		return lime.Range{}, io.EOF
	}
	if len(h) < lime.HeaderSize {
		l.rep.damage(Damage{Kind: Truncated, Offset: at, Bytes: int64(len(h)), Detail: "the file ends in the header of a record"})
		return lime.Range{}, io.EOF
	}
	r, err := lime.DecodeHeader(h)
	ok := err == nil && l.follows(r)
	if known, there := l.headers[at]; there && (!ok || known != r) && known.Valid() && l.follows(known) {
		l.rep.damage(Damage{Kind: BadHeader, Offset: at, Bytes: lime.HeaderSize, Detail: "a record's header is damaged; the manifest says that it is of " + known.String()})
		r, ok = known, true
	}
	if !ok {
		why := "it lies not above the one before"
		if err != nil {
			why = err.Error()
		}
		n, found, err := l.c.seek([][]byte{limeMagic}, lime.HeaderSize, func(b []byte) bool {
			r, err := lime.DecodeHeader(b)
			return err == nil && l.follows(r) && bytes.Equal(b[24:32], make([]byte, 8))
		})
		if err != nil {
			return lime.Range{}, err
		}
		l.rep.damage(Damage{Kind: Garbage, Offset: at, Bytes: n, Detail: "no record: " + why})
		if !found {
			return lime.Range{}, io.EOF
		}
		return l.next()
	}
	if len(l.places) == maxRecords {
		return lime.Range{}, fmt.Errorf("%w: more than %d records", ErrForm, maxRecords)
	}
	l.c.skip(lime.HeaderSize) // it was peeked at
	l.last, l.begun = r, true
	l.places = append(l.places, place{l.c.off, r})
	l.rep.Records++
	return r, nil
}

func (l *limeRecords) read(p []byte) (int, error) {
	n, err := l.c.read(p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		l.cut = true
		at := &l.places[len(l.places)-1]
		l.rep.damage(Damage{Kind: Truncated, Offset: l.c.off, Detail: fmt.Sprintf("the file ends %d bytes before the end of the record %s", int64(at.r.Size())-(l.c.off-at.off), at.r)})
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
