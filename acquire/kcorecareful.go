package acquire

import "github.com/shotglass-ir/shotglass/acquire/lime"

// careful reads page by page what could not be read at once, and again what then could not.
// Pages that could not be read twice are zeros and are returned.
func (l *kcoreLane) careful(phys, offset uint64, buf []byte) ([]lime.Range, error) {
	bad, err := l.bisect(offset, buf, 0, len(buf)/page)
	if err != nil || len(bad) == 0 {
		return nil, err
	}
	// The second try is for what lies between the first and the last.
	first, end := bad[0], bad[len(bad)-1]+1
	again := make([]byte, (end-first)*page)
	still, err := l.bisect(offset+uint64(first*page), again, 0, end-first)
	if err != nil {
		return nil, err
	}
	failed := map[int]bool{}
	for _, k := range still {
		failed[first+k] = true
	}
	var ranges []lime.Range
	for _, k := range bad {
		at := buf[k*page:][:page]
		if !failed[k] {
			copy(at, again[(k-first)*page:])
			continue
		}
		clear(at)
		start := phys + uint64(k*page)
		ranges = append(ranges, lime.Range{Start: start, End: start + page - 1})
	}
	return lime.Coalesce(ranges), nil
}

// bisect reads the pages from first to end of buf one by one, in as few orders as can be: where
// dd does not tell which pages it could not read, it reads halves, until all or none of one could
// be read. It returns those that could not, in order.
func (l *kcoreLane) bisect(offset uint64, buf []byte, first, end int) (bad []int, err error) {
	a, err := l.order(offset+uint64(first*page), buf[first*page:end*page], readPages)
	if err != nil {
		return nil, err
	}
	ok, err := a.wait()
	switch {
	case err != nil:
		return nil, err
	case ok:
		return nil, nil
	case len(a.bad) > 0:
		for _, k := range a.bad {
			bad = append(bad, first+k)
		}
		return bad, nil
	case a.lost == end-first:
		for k := first; k < end; k++ {
			bad = append(bad, k)
		}
		return bad, nil
	}
	middle := (first + end) / 2
	left, err := l.bisect(offset, buf, first, middle)
	if err != nil {
		return nil, err
	}
	right, err := l.bisect(offset, buf, middle, end)
	return append(left, right...), err
}
