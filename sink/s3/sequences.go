package s3

// sequences tells who reads in sequence, of several readers that are not told apart. The zero value has seen nobody.
type sequences struct {
	slots [8]sequence
	clock int64
}

type sequence struct {
	next  int64 // the block after the furthest that was read
	steps int   // that it has gone on
	used  int64
}

// next notes that blocks first to last are read, and returns how many to fetch after them: none for who jumps about.
func (s *sequences) next(first, last int64) int64 {
	s.clock++
	oldest := &s.slots[0]
	for k := range s.slots {
		q := &s.slots[k]
		if q.used < oldest.used {
			oldest = q
		}
		if q.used == 0 || first < q.next-runBlocks || first > q.next+1 { // requests that are made at once come in any order
			continue
		}
		q.used = s.clock
		if last >= q.next {
			q.next, q.steps = last+1, q.steps+1
		}
		return min(readAhead, int64(q.steps)*runBlocks)
	}
	*oldest = sequence{next: last + 1, used: s.clock}
	return 0
}
