package forms

import (
	"io"
	"slices"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A filled reading gives the ranges that it is told, with zeros where the image stores nothing.
type filled struct {
	src records
	rep *Report
	ram []lime.Range // from the range under way on

	begun bool
	addr  uint64     // next of ram[0]
	rec   lime.Range // what of the source's record was not read
	open  bool
	ended bool
	buf   []byte
}

func (f *filled) locate(off, n int64) []lime.Range { return f.src.locate(off, n) }

// advance makes rec the next record of the source.
func (f *filled) advance() error {
	if f.open || f.ended {
		return nil
	}
	r, err := f.src.next()
	if err == io.EOF {
		f.ended = true
		return nil
	}
	f.rec, f.open = r, err == nil
	return err
}

// drop passes what of the record lies below addr, in no range.
func (f *filled) drop(addr uint64) error {
	if f.buf == nil {
		f.buf = make([]byte, 64<<10)
	}
	for f.open && f.rec.Start < addr {
		n, err := f.src.read(f.buf[:min(uint64(len(f.buf)), addr-f.rec.Start, f.rec.Size())])
		if n > 0 {
			r := lime.Range{Start: f.rec.Start, End: f.rec.Start + uint64(n) - 1}
			f.rep.damage(Damage{Kind: Outside, Ranges: []lime.Range{r}, Detail: "memory in no range was not carried over"})
		}
		if err := f.took(n, err); err != nil {
			return err
		}
	}
	return nil
}

// took notes that n bytes of the record were read.
func (f *filled) took(n int, err error) error {
	if err == io.ErrUnexpectedEOF { // the image ends
		f.open, f.ended = false, true
		return nil
	}
	if uint64(n) >= f.rec.Size() {
		f.open = false
	} else {
		f.rec.Start += uint64(n)
	}
	return err
}

func (f *filled) next() (lime.Range, error) {
	if f.begun {
		f.ram = f.ram[1:]
	}
	f.begun = true
	below := ^uint64(0) // all that is left lies in no range
	if len(f.ram) > 0 {
		below = f.ram[0].Start
	}
	for {
		if err := f.advance(); err != nil {
			return lime.Range{}, err
		}
		if !f.open || f.rec.Start >= below {
			break
		}
		if err := f.drop(below); err != nil {
			return lime.Range{}, err
		}
	}
	// Of an image that was cut short nothing is made up.
	if len(f.ram) == 0 || f.ended && f.short() {
		return lime.Range{}, io.EOF
	}
	f.addr = f.ram[0].Start
	return f.ram[0], nil
}

// short reports whether the image was cut short.
func (f *filled) short() bool {
	return slices.ContainsFunc(f.rep.Damage, func(d Damage) bool { return d.Kind == Truncated })
}

func (f *filled) read(p []byte) (done int, err error) {
	for done < len(p) {
		if err := f.advance(); err != nil {
			return done, err
		}
		q := p[done:]
		if !f.open || f.rec.Start > f.addr {
			if !f.open && f.ended && f.short() {
				return done, io.ErrUnexpectedEOF
			}
			if f.open {
				q = q[:min(uint64(len(q)), f.rec.Start-f.addr)]
			}
			clear(q)
			f.rep.leftOut(lime.Range{Start: f.addr, End: f.addr + uint64(len(q)) - 1})
		} else {
			q = q[:min(uint64(len(q)), f.rec.Size())]
			n, err := f.src.read(q)
			q = q[:n]
			if err := f.took(n, err); err != nil {
				return done + n, err
			}
		}
		done += len(q)
		f.addr += uint64(len(q))
	}
	return done, nil
}
