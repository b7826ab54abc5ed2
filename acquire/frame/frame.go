// Package frame stores a stream as independent frames, so that compression
// and decompression run on all cores, a reader can start anywhere, and damage
// is confined to a frame that can be named.
//
// A [Writer] cuts the stream into frames of equal raw size, has them compressed by a
// [Pool] that all writers of the process share, and writes them in order. Compressed
// images are plain zstd: frames one after the other, then the standard seek
// table in a skippable frame, so that stock zstd gives back exactly the raw bytes. Or they are
// plain s2: streams one after the other, then the standard index as a chunk, which
// stock s2d reads.
// With compression "none" the stored bytes are the raw bytes and the frames exist in the
// [Index] only. The index lists each frame's place and SHA-256; it is written
// beside the image. [Open] reads images back, with or without a seek table,
// and [Verify] checks one against its index and names every damaged frame.
//
// The seek table: https://github.com/facebook/zstd/blob/dev/contrib/seekable_format/zstd_seekable_compression_format.md
package frame

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

const (
	// DefaultSize is the raw size of a frame: on busy memory 1 MiB costs
	// 0.3-1.6 % of ratio against one long stream.
	DefaultSize = 1 << 20
	// MaxSize is the largest raw size of a frame that a Writer makes.
	MaxSize = 64 << 20
	// MaxPlanned is how many frames PlanFrameSize aims at, at most: an index
	// of some 25 MB.
	MaxPlanned = 1 << 18
	// maxFrames is how many frames an index or a seek table may have when it
	// is read. It bounds what a hostile file can make us allocate.
	maxFrames = 1 << 22
	// maxDecoded is the largest raw size of a frame, whoever made it, that is
	// decoded in memory. Streams with larger frames are read sequentially only.
	maxDecoded = 256 << 20
)

// The values of compression options.
const (
	Zstd = "zstd"
	S2   = "s2"
	None = "none"
	// Age is the compression of an Index only: its entries are pieces of an encrypted
	// file, see package agefile. They can be digested but not decoded, and the raw
	// bytes of neighbours overlap.
	Age = "age"
)

// Compressions lists the values of compression options, the default first.
var Compressions = []string{Zstd, S2, None}

// Levels lists the levels of zstd, the default first. s2 has one only.
var Levels = []string{"fastest", "default", "better"}

// Suffix returns what a compression adds to the name of a file, such as
// ".zst"; the tools that decompress it want it so.
func Suffix(compression string) string {
	switch compression {
	case Zstd:
		return ".zst"
	case S2:
		return ".s2"
	}
	return ""
}

// PlanFrameSize returns the frame size for a stream of about expected raw
// bytes: a power of two from DefaultSize to MaxSize that keeps the index at
// MaxPlanned frames or less, up to 16 TiB.
func PlanFrameSize(expected int64) int {
	size := int64(DefaultSize)
	for size < MaxSize && (expected+size-1)/size > MaxPlanned {
		size *= 2
	}
	return int(size)
}

// A Sum is a SHA-256 digest. Its text form is lower-case hexadecimal.
type Sum [32]byte

// String returns the text form.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText returns the text form.
func (s Sum) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText parses the text form.
func (s *Sum) UnmarshalText(b []byte) error {
	if len(b) != 2*len(s) || !bytes.Equal(b, bytes.ToLower(b)) {
		return fmt.Errorf("SHA-256 %q: want 64 lower-case hexadecimal digits", b)
	}
	if _, err := hex.Decode(s[:], b); err != nil {
		return fmt.Errorf("SHA-256 %q: %w", b, err)
	}
	return nil
}

// A Digest is a SHA-256 with what it covers: it is never passed on without.
type Digest struct {
	Bytes    int64 `json:"bytes"`
	SHA256   Sum   `json:"sha256"`
	Complete bool  `json:"complete"` // Bytes are all that there should be
}

// isZero reports whether p is all zero.
func isZero(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), len(zeros))
		if !bytes.Equal(p[:n], zeros[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}

var zeros [16 << 10]byte
