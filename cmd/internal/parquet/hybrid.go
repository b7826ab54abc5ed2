package parquet

import "fmt"

// A hybrid reads numbers of a width, in runs of equal ones and of packed bits: RLE of the format. It holds nothing but where it is.
type hybrid struct {
	w     wire
	width int
	equal uint64 // how many more of the run are value
	value uint32
	bits  []byte // of packed ones
	bit   int
	count uint64 // how many more are packed
}

func newHybrid(b []byte, width int) (*hybrid, error) {
	if width > 32 {
		return nil, fmt.Errorf("numbers of %d bits", width)
	}
	return &hybrid{w: wire{b: b}, width: width}, nil
}

func (h *hybrid) next() (uint32, error) {
	for h.equal == 0 && h.count == 0 {
		head := h.w.uvarint()
		if head&1 == 0 {
			h.equal, h.value = head>>1, 0
			for i, b := range h.w.take(uint64(h.width+7) / 8) {
				h.value |= uint32(b) << (8 * i)
			}
		} else {
			groups := min(head>>1, 1<<32)
			n := groups * uint64(h.width)
			if left := uint64(len(h.w.b)); n > left && h.width > 0 {
				n = left // writers may cut the last group short
				groups = (n*8/uint64(h.width) + 7) / 8
			}
			h.bits, h.bit, h.count = h.w.take(n), 0, groups*8
		}
		if h.w.err != nil {
			return 0, h.w.err
		}
	}
	if h.equal > 0 {
		h.equal--
		return h.value, nil
	}
	h.count--
	n, ok := packed(h.bits, h.bit, h.width)
	if h.bit += h.width; !ok {
		return 0, errShort
	}
	return uint32(n), nil
}

// packed is the number of a width at a bit, the lowest bit first.
func packed(b []byte, bit, width int) (n uint64, ok bool) {
	if bit+width > 8*len(b) {
		return 0, false
	}
	for got := 0; got < width; {
		off := (bit + got) & 7
		step := min(8-off, width-got)
		n |= uint64(b[(bit+got)>>3]>>off) & (1<<step - 1) << got
		got += step
	}
	return n, true
}
