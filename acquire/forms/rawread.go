package forms

import (
	"fmt"
	"io"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// rawRecords reads a file in which every byte lies at its physical address.
type rawRecords struct {
	c    *content
	rep  *Report
	size int64
	ram  []lime.Range // nil: all of the file is one
	n    int
	end  uint64 // of the range under way, with its last byte
}

func (r *rawRecords) next() (lime.Range, error) {
	if r.ram == nil && r.size > 0 {
		if r.size%lime.PageSize != 0 { // memory of no machine ends within a page
			r.rep.damage(Damage{Kind: Truncated, Offset: r.size, Detail: "the file ends in the middle of a page"})
		}
		r.ram = []lime.Range{{Start: 0, End: uint64(r.size) - 1}}
	}
	if r.n == len(r.ram) {
		return lime.Range{}, r.gap(r.size)
	}
	next := r.ram[r.n]
	if err := r.gap(min(r.size, int64(min(next.Start, 1<<62)))); err != io.EOF {
		return lime.Range{}, err
	}
	if uint64(r.c.off) < next.Start {
		r.rep.damage(Damage{Kind: Truncated, Offset: r.c.off, Detail: fmt.Sprintf("the file ends before %s", next)})
		r.n = len(r.ram)
		return lime.Range{}, io.EOF
	}
	r.n, r.end = r.n+1, next.End
	r.rep.Records++
	return next, nil
}

// gap passes padding up to an offset; io.EOF. What is no zero there is memory in no range.
func (r *rawRecords) gap(to int64) error {
	buf := make([]byte, 64<<10)
	for r.c.off < to {
		at := r.c.off
		n, err := r.c.read(buf[:min(int64(len(buf)), to-at)])
		if p := buf[:n]; !zero(p) {
			r.rep.damage(Damage{Kind: Outside, Offset: at, Bytes: int64(n), Ranges: []lime.Range{{Start: uint64(at), End: uint64(at) + uint64(n) - 1}}, Detail: "memory in no range was not carried over"})
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	return io.EOF
}

func (r *rawRecords) read(p []byte) (int, error) {
	n, err := r.c.read(p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		r.rep.damage(Damage{Kind: Truncated, Offset: r.c.off, Detail: fmt.Sprintf("the file ends before %s", lime.Addr(r.end))})
		r.n = len(r.ram)
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *rawRecords) locate(off, n int64) []lime.Range {
	return []lime.Range{{Start: uint64(off), End: uint64(off+n) - 1}}
}
