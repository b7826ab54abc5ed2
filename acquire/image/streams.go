package image

// streams tells who reads in sequence, of several readers that are not told apart. The zero value has seen
// nobody.
type streams struct {
	slots [8]stream
	clock int64
}

type stream struct {
	frame int // the furthest that was read
	depth int // how many are wanted ahead
	used  int64
}

// near is how far a sequence may be out of step: requests that are made at once come in any order.
const near = 2

// next notes that frame i is read, and returns which frames to load ahead: from up to, not including,
// end, none when nobody reads in sequence. With each step of a sequence they are twice as many, up to
// most.
func (s *streams) next(i, most int) (from, end int) {
	s.clock++
	oldest := &s.slots[0]
	for k := range s.slots {
		t := &s.slots[k]
		if t.used == 0 || t.used < oldest.used {
			oldest = t
		}
		if t.used == 0 || i < t.frame-near || i > t.frame+near {
			continue
		}
		t.used = s.clock
		if i <= t.frame {
			return i, i
		}
		t.frame, t.depth = i, min(max(1, 2*t.depth), most)
		return i + 1, i + 1 + t.depth
	}
	*oldest = stream{frame: i, used: s.clock}
	return i, i
}
