package frame

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
)

// What is stored as it is has one SHA-256, that of the whole image, and a second
// one of every frame would cost as much again. But SHA-256 passes a frame on
// to the next as a state of 32 bytes: the eight words H(i) of FIPS 180-4, section 6.2.2,
// big-endian. An Index that is Chained has, for each frame, the state after it. With the state
// before it, each frame is checked alone, and damage stays where it is.

// ChainBlock is what the size of chained frames is a multiple of: there, and
// there alone, SHA-256 has no other state.
const ChainBlock = sha256.BlockSize

// How crypto/sha256 encodes its state: four bytes, H, a block that is not yet full, the length.
const (
	chainMagic = "sha\x03"
	chainState = len(chainMagic) + len(Sum{}) + ChainBlock + 8
)

// ChainSum returns the sum of a chained frame. It is told the state of a crypto/sha256 of the image
// up to the frame's end, as AppendBinary gives it. Where that is no multiple of ChainBlock, as
// only the last frame's may be, the sum is the digest of the image.
func ChainSum(state []byte) Sum {
	if len(state) != chainState || string(state[:len(chainMagic)]) != chainMagic {
		panic(fmt.Sprintf("frame: no state of SHA-256: % x", state))
	}
	if binary.BigEndian.Uint64(state[chainState-8:])%ChainBlock != 0 {
		return Sum(resume(state).Sum(nil))
	}
	return Sum(state[len(chainMagic):][:len(Sum{})])
}

func resume(state []byte) hash.Hash {
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		panic("frame: state of SHA-256: " + err.Error())
	}
	return h
}

// chainedSum is the sum of frame i of a chained index, if it is stored as p.
func (x *Index) chainedSum(i int, p []byte) Sum {
	h := sha256.New()
	if i > 0 {
		state := make([]byte, chainState)
		copy(state, chainMagic)
		copy(state[len(chainMagic):], x.Entries[i-1].SHA256[:])
		binary.BigEndian.PutUint64(state[chainState-8:], uint64(x.Entries[i].RawOffset))
		h = resume(state)
	}
	h.Write(p)
	state, err := h.(encoding.BinaryAppender).AppendBinary(nil)
	if err != nil {
		panic("frame: state of SHA-256: " + err.Error())
	}
	return ChainSum(state)
}

// intact reports whether frame i, stored as p, has its digest. Where the index knows none,
// it has.
func (x *Index) intact(i int, p []byte) bool {
	switch sum := x.Entries[i].SHA256; {
	case sum == Sum{}:
		return true
	case x.Chained:
		return x.chainedSum(i, p) == sum
	default:
		return sha256.Sum256(p) == sum
	}
}
