package frame

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
)

// maxS2Index is how many places an s2 index may list.
const maxS2Index = 1 << 16

// appendS2Table appends the index of an s2 stream, as its last chunk. Of more
// than maxS2Index frames it lists every second, third, ...
func appendS2Table(b []byte, entries []Entry) []byte {
	if len(entries) == 0 {
		return b
	}
	start := len(b)
	step := (len(entries) + maxS2Index - 1) / maxS2Index
	// All frames but the last are equally long: their raw offsets need no word.
	each := entries[0].RawSize * int64(step)
	last := entries[len(entries)-1]
	b = append(b, s2Index, 0, 0, 0)
	b = append(b, s2.S2IndexHeader...)
	b = binary.AppendVarint(b, last.RawOffset+last.RawSize)
	b = binary.AppendVarint(b, last.StoredOffset+last.StoredSize)
	b = binary.AppendVarint(b, each)
	b = binary.AppendVarint(b, int64((len(entries)+step-1)/step))
	b = append(b, 0)
	guess, before := each/2, int64(0)
	for i := 0; i < len(entries); i += step {
		off := entries[i].StoredOffset
		delta := off - before
		if i > 0 {
			delta -= guess
			guess += delta / 2
		}
		b = binary.AppendVarint(b, delta)
		before = off
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)-start+4+len(s2.S2IndexTrailer)))
	b = append(b, s2.S2IndexTrailer...)
	putUint24(b[start+1:], len(b)-start-s2ChunkHeader)
	return b
}

// readS2Table reads the index at the end of an s2 stream. The pieces between its
// places count as frames. An error wraps errNoTable when there is none, or none that fits
// the file.
func readS2Table(r io.ReaderAt, size int64) (*Index, error) {
	var foot [4 + len(s2.S2IndexTrailer)]byte
	if size < int64(len(foot)) {
		return nil, errNoTable
	}
	if err := readFullAt(r, foot[:], size-int64(len(foot))); err != nil {
		return nil, fmt.Errorf("read s2 index: %w", err)
	}
	length := int64(binary.LittleEndian.Uint32(foot[:]))
	if string(foot[4:]) != s2.S2IndexTrailer || length > size || length > 1<<24 {
		return nil, errNoTable
	}
	b := make([]byte, length)
	if err := readFullAt(r, b, size-length); err != nil {
		return nil, fmt.Errorf("read s2 index: %w", err)
	}
	var found s2.Index
	if rest, err := found.Load(b); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: s2 index: %w", errNoTable, err)
	}
	// The places are to be had as JSON only.
	var table struct {
		Offsets []struct{ Compressed, Uncompressed int64 }
	}
	if err := json.Unmarshal(found.JSON(), &table); err != nil {
		return nil, fmt.Errorf("%w: s2 index: %w", errNoTable, err)
	}
	places := table.Offsets
	x := &Index{Compression: S2, Entries: make([]Entry, 0, len(places))}
	for i, p := range places {
		stored, raw := size-length, found.TotalUncompressed
		if i+1 < len(places) {
			stored, raw = places[i+1].Compressed, places[i+1].Uncompressed
		}
		if p.Compressed != x.Stored() || p.Uncompressed != x.Raw() {
			return nil, fmt.Errorf("%w: s2 index does not begin with the file", errNoTable)
		}
		x.add(stored-p.Compressed, raw-p.Uncompressed, Sum{})
	}
	if found.TotalCompressed != size-length || x.Stored() != size-length || x.Raw() != found.TotalUncompressed {
		return nil, fmt.Errorf("%w: s2 index covers %d of %d bytes", errNoTable, found.TotalCompressed, size-length)
	}
	if err := x.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoTable, err)
	}
	return x, nil
}

// scanS2 finds the frames of an s2 stream by walking its chunks. A frame ends
// where another stream starts, and in streams of others also when it has DefaultSize
// raw bytes. Chunks without raw bytes are counted to the frame after them.
func scanS2(r io.ReaderAt, size int64) (*Index, *TailError, error) {
	w := window{r: r, size: size}
	x := &Index{Compression: S2}
	var start, end, raw int64 // of the frame
	flush := func() {
		if raw > 0 {
			x.add(end-start, raw, Sum{})
			start, raw = end, 0
		}
	}
	begun := false // a stream, and nothing of it yet
	for at := int64(0); at < size; {
		kind, length, n, err := w.s2Chunk(at)
		if bad, ok := errors.AsType[*TailError](err); ok {
			flush()
			bad.Offset, bad.Bytes = end, size-end
			return x, bad, nil
		} else if err != nil {
			return nil, nil, err
		}
		if begun = kind == s2Identifier; begun {
			flush()
		}
		at += s2ChunkHeader + length
		if n > 0 {
			end = at
			if raw += n; raw >= DefaultSize {
				flush()
			}
		}
		if len(x.Entries) > maxFrames {
			return nil, nil, fmt.Errorf("%w: more than %d frames", errNoTable, maxFrames)
		}
	}
	if flush(); begun {
		return x, &TailError{Offset: end, Bytes: size - end, Err: io.ErrUnexpectedEOF}, nil
	}
	return x, nil, nil
}

// s2Chunk returns the type of the chunk at off, its length after the header,
// and how many raw bytes it gives, -1 for one that gives none. What is wrong with it is a
// *TailError.
func (w *window) s2Chunk(off int64) (kind byte, length, raw int64, err error) {
	const varint = 5 // tells the raw bytes of a compressed chunk
	head, err := w.at(off, s2ChunkHeader+s2Checksum+varint)
	if err != nil {
		return 0, 0, 0, err
	}
	if len(head) < s2ChunkHeader {
		return 0, 0, 0, &TailError{Err: io.ErrUnexpectedEOF}
	}
	kind, length = head[0], int64(uint24(head[1:]))
	if off+s2ChunkHeader+length > w.size {
		return 0, 0, 0, &TailError{Err: io.ErrUnexpectedEOF}
	}
	body := head[s2ChunkHeader:]
	if raw, err = s2Raw(kind, int(length), body[:min(int64(len(body)), length)]); err != nil {
		return 0, 0, 0, &TailError{Err: err}
	}
	return kind, length, raw, nil
}
