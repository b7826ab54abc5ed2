package parquet

import "errors"

// A delta reads numbers that are stored as differences: DELTA_BINARY_PACKED of the format. It holds nothing but where it is.
type delta struct {
	w       wire
	block   uint64 // numbers in one
	mini    uint64 // numbers in a part of one
	left    uint64 // numbers that follow
	value   int64
	started bool

	least  int64
	widths []byte // of the parts that follow in the block
	inPart uint64
	bits   []byte
	bit    int
	width  int
}

func newDelta(b []byte, most int64) (*delta, error) {
	d := &delta{w: wire{b: b}}
	d.block = d.w.uvarint()
	parts := d.w.uvarint()
	d.left = d.w.uvarint()
	d.value = d.w.int()
	switch {
	case d.w.err != nil:
		return nil, d.w.err
	case parts == 0 || parts > 512 || d.block == 0 || d.block > 1<<20 || d.block%parts != 0 || d.block/parts%8 != 0:
		return nil, errors.New("blocks of differences of a size that none has")
	case d.left > uint64(most):
		return nil, errors.New("more differences than the page has values")
	}
	d.mini = d.block / parts
	return d, nil
}

func (d *delta) next() (int64, error) {
	if d.left == 0 {
		return 0, errShort
	}
	d.left--
	if !d.started {
		d.started = true
		return d.value, nil
	}
	if d.inPart == 0 {
		if len(d.widths) == 0 {
			d.least = d.w.int()
			d.widths = d.w.take(d.block / d.mini)
		}
		if d.w.err != nil {
			return 0, d.w.err
		}
		d.width, d.widths = int(d.widths[0]), d.widths[1:]
		if d.width > 64 {
			return 0, errors.New("differences of more than 64 bits")
		}
		n := d.mini * uint64(d.width) / 8
		d.bits, d.bit, d.inPart = d.w.take(n), 0, d.mini
		if d.w.err != nil {
			return 0, d.w.err
		}
	}
	d.inPart--
	n, _ := packed(d.bits, d.bit, d.width)
	d.bit += d.width
	d.value += d.least + int64(n)
	return d.value, nil
}

// after is what follows the numbers.
func (d *delta) after() ([]byte, error) {
	end := *d
	for end.left > 0 {
		if _, err := end.next(); err != nil {
			return nil, err
		}
	}
	return end.w.b, nil
}

// A lengths reads texts whose lengths come first: DELTA_LENGTH_BYTE_ARRAY of the format.
type lengths struct {
	n    *delta
	rest []byte
}

func newLengths(b []byte, most int64) (*lengths, error) {
	n, err := newDelta(b, most)
	if err != nil {
		return nil, err
	}
	rest, err := n.after()
	return &lengths{n, rest}, err
}

func (l *lengths) next() ([]byte, error) {
	n, err := l.n.next()
	if err != nil {
		return nil, err
	}
	if n < 0 || n > int64(len(l.rest)) {
		return nil, errShort
	}
	b := l.rest[:n]
	l.rest = l.rest[n:]
	return b, nil
}

// A prefixed reads texts that begin as the one before: DELTA_BYTE_ARRAY of the format.
type prefixed struct {
	same *delta
	ends *lengths
	text []byte
}

func newPrefixed(b []byte, most int64) (*prefixed, error) {
	same, err := newDelta(b, most)
	if err != nil {
		return nil, err
	}
	rest, err := same.after()
	if err != nil {
		return nil, err
	}
	ends, err := newLengths(rest, most)
	return &prefixed{same: same, ends: ends}, err
}

func (p *prefixed) next() ([]byte, error) {
	n, err := p.same.next()
	if err != nil {
		return nil, err
	}
	end, err := p.ends.next()
	if err != nil {
		return nil, err
	}
	if n < 0 || n > int64(len(p.text)) {
		return nil, errShort
	}
	p.text = append(p.text[:n], end...)
	return p.text, nil
}
