package agefile

import (
	"sort"

	"github.com/shotglass-ir/shotglass/acquire/frame"
)

// A Layout says where a Writer put what. Its first piece is the header with the nonce; each
// other is the same number of chunks, but for the last.
type Layout struct {
	head   int64 // bytes before the payload
	piece  int64 // bytes of a whole piece
	size   int64 // bytes that the destination took
	plain  int64 // bytes encrypted
	whole  bool  // the destination took everything, the last chunk too
	pieces []frame.Entry
}

// Plain returns how many bytes of the stream can be decrypted from the first stored
// bytes of the file.
func (l *Layout) Plain(stored int64) int64 {
	switch {
	case l.whole && stored >= l.size:
		return l.plain
	case stored <= l.head:
		return 0
	}
	return min((min(stored, l.size)-l.head)/encChunk*chunkSize, l.plain)
}

// Whole returns how many of the first stored bytes are whole pieces; the last one counts as
// whole where all that there is is stored.
func (l *Layout) Whole(stored int64) int64 {
	if stored >= l.size {
		return l.size
	}
	var end int64
	for _, e := range l.pieces {
		if e.StoredOffset+e.StoredSize > stored {
			break
		}
		end = e.StoredOffset + e.StoredSize
	}
	return end
}

// Index lists the pieces in the first stored bytes. frames are those of the
// stream, with their places in it: each piece gets the raw bytes of all frames
// that have a byte in it, so neighbours overlap.
func (l *Layout) Index(frames []frame.Entry, stored int64) *frame.Index {
	x := &frame.Index{Compression: frame.Age}
	var raw int64
	if n := len(frames); n > 0 {
		raw = frames[n-1].RawOffset + frames[n-1].RawSize
	}
	for _, e := range l.pieces {
		if e.StoredOffset+e.StoredSize > stored {
			break
		}
		from, to := l.plainAt(e.StoredOffset), l.plainAt(e.StoredOffset+e.StoredSize)
		first := sort.Search(len(frames), func(i int) bool { return frames[i].StoredOffset+frames[i].StoredSize > from })
		after := sort.Search(len(frames), func(i int) bool { return frames[i].StoredOffset >= to })
		e.RawOffset = raw
		if first < len(frames) {
			e.RawOffset = frames[first].RawOffset
		}
		if first < after {
			last := frames[after-1]
			e.RawSize = last.RawOffset + last.RawSize - e.RawOffset
		}
		x.Entries = append(x.Entries, e)
	}
	return x
}

// plainAt is the place in the stream of a place in the file.
func (l *Layout) plainAt(stored int64) int64 {
	if stored <= l.head {
		return 0
	}
	n := stored - l.head
	return n/encChunk*chunkSize + min(n%encChunk, chunkSize)
}
