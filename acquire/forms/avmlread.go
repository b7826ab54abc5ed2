package forms

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/shotglass-ir/shotglass/acquire/avml"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// avmlRecords reads AVML's compressed records, and LiME's among them.
type avmlRecords struct {
	c     *content
	rep   *Report
	last  lime.Range
	begun bool

	snappy bool   // the record under way
	start  int64  // of its snappy stream
	addr   uint64 // next
	left   uint64
	lost   uint64 // zeros to give
	chunk  []byte
	in     []byte
	out    [avml.MaxChunk]byte
}

func (a *avmlRecords) locate(int64, int64) []lime.Range { return nil } // a bad chunk tells its own

// header decodes one; ok: it can come now.
func (a *avmlRecords) header(b []byte) (r lime.Range, snappy, ok bool) {
	le := binary.LittleEndian
	switch m, v := le.Uint32(b), le.Uint32(b[4:]); {
	case m == avml.Magic && v == avml.Version:
		snappy = true
	case m == lime.Magic && v == lime.Version:
	default:
		return r, false, false
	}
	r = lime.Range{Start: le.Uint64(b[8:]), End: le.Uint64(b[16:])}
	return r, snappy, r.Valid() && r.End < 1<<62 && le.Uint64(b[24:]) == 0 && (!a.begun || r.Start > a.last.End)
}

func (a *avmlRecords) next() (lime.Range, error) {
	at := a.c.off
	h, err := a.c.buf.Peek(lime.HeaderSize)
	if err != nil && err != io.EOF {
		return lime.Range{}, err
	}
	if len(h) == 0 {
		return lime.Range{}, io.EOF
	}
	if len(h) < lime.HeaderSize {
		a.rep.damage(Damage{Kind: Truncated, Offset: at, Bytes: int64(len(h)), Detail: "the file ends in the header of a record"})
		return lime.Range{}, io.EOF
	}
	r, snappy, ok := a.header(h)
	if !ok {
		n, found, err := a.resync()
		if err != nil {
			return lime.Range{}, err
		}
		a.rep.damage(Damage{Kind: Garbage, Offset: at, Bytes: n, Detail: "no record of AVML's"})
		if !found {
			return lime.Range{}, io.EOF
		}
		return a.next()
	}
	a.c.skip(lime.HeaderSize)
	a.last, a.begun, a.snappy = r, true, snappy
	a.addr, a.left, a.lost, a.chunk = r.Start, r.Size(), 0, nil
	a.rep.Records++
	a.start = a.c.off
	if snappy {
		id, err := a.c.buf.Peek(len(avml.Identifier))
		if err != nil && err != io.EOF {
			return lime.Range{}, err
		}
		if string(id) == avml.Identifier {
			a.c.skip(int64(len(id)))
		} else if len(id) == len(avml.Identifier) {
			return r, a.abandon("its snappy stream does not begin as one")
		}
	}
	return r, nil
}

// resync looks for the next record.
func (a *avmlRecords) resync() (int64, bool, error) {
	return a.c.seek([][]byte{avmlMagic, limeMagic}, lime.HeaderSize, func(b []byte) bool { _, _, ok := a.header(b); return ok })
}

// abandon gives up the record under way: zeros stand in for the rest of it.
func (a *avmlRecords) abandon(why string) error {
	at := a.c.off
	n, found, err := a.resync()
	if err != nil {
		return err
	}
	d := Damage{Kind: BadBlock, Offset: at, Bytes: n, Detail: why}
	if found {
		d.Zeroed, d.Ranges = true, []lime.Range{{Start: a.addr, End: a.addr + a.left - 1}}
		a.lost = a.left
	} else {
		d.Detail += "; no record follows, and the image ends there"
	}
	a.rep.damage(d)
	return nil
}

func (a *avmlRecords) read(p []byte) (done int, err error) {
	for done < len(p) {
		var n int
		switch q := p[done:]; {
		case a.lost > 0:
			n = int(min(uint64(len(q)), a.lost))
			clear(q[:n])
			a.lost -= uint64(n)
		case len(a.chunk) > 0:
			n = copy(q, a.chunk)
			a.chunk = a.chunk[n:]
		case a.snappy:
			err = a.more()
		default:
			if n, err = a.c.read(q); err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
		}
		done += n
		a.addr += uint64(n)
		a.left -= uint64(n)
		if err == io.ErrUnexpectedEOF {
			a.rep.damage(Damage{Kind: Truncated, Offset: a.c.off, Detail: fmt.Sprintf("the file ends in the record up to %s, of which %d bytes are missing", lime.Addr(a.last.End), a.left)})
		}
		if err != nil {
			return done, err
		}
	}
	if a.left == 0 && a.lost == 0 && a.snappy {
		a.snappy = false
		return done, a.trailer()
	}
	return done, nil
}

// more reads the next chunk.
func (a *avmlRecords) more() error {
	at := a.c.off
	b, err := a.c.buf.Peek(avml.ChunkHeader)
	if err != nil && err != io.EOF {
		return err
	}
	if len(b) < avml.ChunkHeader {
		return io.ErrUnexpectedEOF
	}
	h, err := avml.ParseChunk(b)
	if err != nil {
		if err := a.abandon(err.Error()); err != nil {
			return err
		}
		a.snappy = false
		if a.lost == 0 {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	a.c.skip(avml.ChunkHeader)
	if cap(a.in) < h.Size {
		a.in = make([]byte, max(h.Size, 2*avml.MaxChunk))
	}
	in := a.in[:h.Size]
	if _, err := a.c.read(in); err == io.EOF || err == io.ErrUnexpectedEOF {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	raw, err := h.Decode(a.out[:], in)
	if err != nil {
		n, ok := h.Length(in)
		if !ok {
			n = avml.MaxChunk
		}
		n = int(min(uint64(n), a.left))
		a.lost = uint64(n)
		a.rep.damage(Damage{Kind: BadBlock, Offset: at, Bytes: a.c.off - at, Zeroed: true, Ranges: []lime.Range{{Start: a.addr, End: a.addr + uint64(n) - 1}}, Detail: "a block of snappy has a bad checksum or does not decode"})
		return nil
	}
	if uint64(len(raw)) > a.left {
		a.rep.damage(Damage{Kind: BadBlock, Offset: at, Bytes: a.c.off - at, Detail: fmt.Sprintf("a block has %d bytes more than its record's range", uint64(len(raw))-a.left)})
		raw = raw[:a.left]
	}
	a.chunk = raw
	return nil
}

// trailer reads the length that follows the snappy stream of a record.
func (a *avmlRecords) trailer() error {
	n := a.c.off - a.start
	b, err := a.c.buf.Peek(8)
	if err != nil && err != io.EOF {
		return err
	}
	if len(b) < 8 {
		a.rep.damage(Damage{Kind: Truncated, Offset: a.c.off, Detail: "the file ends in the length that follows a record"})
		return nil
	}
	if said := binary.LittleEndian.Uint64(b); said != uint64(n) {
		a.rep.damage(Damage{Kind: BadHeader, Offset: a.c.off, Bytes: 8, Detail: fmt.Sprintf("a record of %d compressed bytes says that they are %d", n, said)})
		if _, _, ok := a.recordHere(); ok {
			return nil // it is missing
		}
	}
	a.c.skip(8)
	return nil
}

// recordHere reports whether a record begins here.
func (a *avmlRecords) recordHere() (r lime.Range, snappy, ok bool) {
	h, err := a.c.buf.Peek(lime.HeaderSize)
	if err != nil {
		return r, false, false
	}
	return a.header(h)
}
