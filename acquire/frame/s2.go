package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/klauspost/compress/s2"
)

// The chunks of the s2 stream format. A chunk starts with its type and the
// length of what follows, in three bytes. The format:
// https://github.com/google/snappy/blob/main/framing_format.txt, with blocks of
// up to 4 MiB and the index of https://pkg.go.dev/github.com/klauspost/compress/s2#Index.
const (
	s2Compressed   = 0x00
	s2Uncompressed = 0x01
	s2Skippable    = 0x80 // and the types above it, but for the identifier
	s2Index        = 0x99
	s2Identifier   = 0xff

	s2ChunkHeader = 4
	s2Checksum    = 4
	s2Block       = 1 << 20 // raw bytes of the chunks that we write
	s2MaxBlock    = 4 << 20 // and of those that there may be
)

// s2Magic starts a stream. Each of our frames is a stream of its own, which the
// format allows to follow each other.
const s2Magic = "\xff\x06\x00\x00S2sTwO"

// snappyMagic starts a stream of the older format, which s2 includes.
const snappyMagic = "\xff\x06\x00\x00sNaPpY"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// s2CRC is the checksum of a chunk's raw bytes.
func s2CRC(p []byte) uint32 {
	c := crc32.Checksum(p, castagnoli)
	return c>>15 | c<<17 + 0xa282ead8
}

// s2Bound is the most that a frame of n raw bytes is stored as.
func s2Bound(n int) int {
	blocks := (n + s2Block - 1) / s2Block
	return len(s2Magic) + blocks*(s2ChunkHeader+s2Checksum+s2.MaxEncodedLen(min(n, s2Block)))
}

// appendS2 appends a frame.
func appendS2(b, raw []byte) []byte {
	b = append(b, s2Magic...)
	for len(raw) > 0 {
		p := raw[:min(len(raw), s2Block)]
		raw = raw[len(p):]
		at := len(b)
		b = append(b, s2Compressed, 0, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, s2CRC(p))
		body := len(b)
		b = slices.Grow(b, s2.MaxEncodedLen(len(p)))
		if enc := s2.Encode(b[body:cap(b)], p); len(enc) < len(p) {
			b = b[:body+len(enc)]
		} else { // it would only grow
			b[at] = s2Uncompressed
			b = append(b[:body], p...)
		}
		putUint24(b[at+1:], len(b)-at-s2ChunkHeader)
	}
	return b
}

func putUint24(b []byte, n int) { b[0], b[1], b[2] = byte(n), byte(n>>8), byte(n>>16) }
func uint24(b []byte) int       { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

var errS2 = errors.New("not an s2 stream")

// decodeS2 appends the raw bytes of a frame to dst, and never more than dst
// has room for.
func decodeS2(dst, b []byte) ([]byte, error) {
	for len(b) > 0 {
		if len(b) < s2ChunkHeader || len(b)-s2ChunkHeader < uint24(b[1:]) {
			return dst, io.ErrUnexpectedEOF
		}
		kind, body := b[0], b[s2ChunkHeader:][:uint24(b[1:])]
		b = b[s2ChunkHeader+len(body):]
		raw, err := s2Raw(kind, len(body), body)
		switch {
		case err != nil:
			return dst, err
		case raw < 0:
			continue
		case raw > int64(cap(dst)-len(dst)):
			return dst, errors.New("more raw bytes than the frame holds")
		}
		at := len(dst)
		dst = dst[:at+int(raw)]
		sum, body := binary.LittleEndian.Uint32(body), body[s2Checksum:]
		if kind == s2Uncompressed {
			copy(dst[at:], body)
		} else if _, err := s2.Decode(dst[at:], body); err != nil {
			return dst[:at], err
		}
		if s2CRC(dst[at:]) != sum {
			return dst[:at], errors.New("checksum of the raw bytes differs")
		}
	}
	return dst, nil
}

// s2Raw returns how many raw bytes a chunk with a body of length bytes gives,
// which is -1 for one that gives none. Of the body it needs the first nine bytes.
func s2Raw(kind byte, length int, body []byte) (int64, error) {
	switch {
	case kind == s2Identifier:
		if id := string(body); id != s2Magic[s2ChunkHeader:] && id != snappyMagic[s2ChunkHeader:] {
			return 0, fmt.Errorf("%w: identifier %.10q", errS2, id)
		}
		return -1, nil
	case kind >= s2Skippable:
		return -1, nil
	case kind > s2Uncompressed:
		return 0, fmt.Errorf("%w: chunk of type 0x%02x", errS2, kind)
	case length < s2Checksum:
		return 0, fmt.Errorf("%w: chunk of %d bytes", errS2, length)
	}
	n := length - s2Checksum
	if kind == s2Compressed {
		var err error
		if n, err = s2.DecodedLen(body[s2Checksum:]); err != nil {
			return 0, fmt.Errorf("%w: %w", errS2, err)
		}
	}
	if n > s2MaxBlock {
		return 0, fmt.Errorf("%w: block of %d bytes", errS2, n)
	}
	return int64(n), nil
}

// isS2 reports whether a file that starts with head is an s2 stream.
func isS2(head []byte) bool {
	return bytes.HasPrefix(head, []byte(s2Magic)) || bytes.HasPrefix(head, []byte(snappyMagic))
}
