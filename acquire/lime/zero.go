package lime

import (
	"bytes"
	"encoding/binary"
)

var zeros [PageSize]byte

// isZero reports whether all of p, at most a page, is zero. bytes.Equal is
// vectorised and stops at the first difference.
func isZero(p []byte) bool { return bytes.Equal(p, zeros[:len(p)]) }

// leadingZeros returns how many bytes at the start of p are zero.
func leadingZeros(p []byte) int {
	i := 0
	for i+8 <= len(p) && binary.LittleEndian.Uint64(p[i:]) == 0 {
		i += 8
	}
	for i < len(p) && p[i] == 0 {
		i++
	}
	return i
}

// trailingZeros returns how many bytes at the end of p are zero.
func trailingZeros(p []byte) int {
	n := len(p)
	for n >= 8 && binary.LittleEndian.Uint64(p[n-8:]) == 0 {
		n -= 8
	}
	for n > 0 && p[n-1] == 0 {
		n--
	}
	return len(p) - n
}
