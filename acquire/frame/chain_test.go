package frame

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"testing"
)

// chain makes the index of raw a chained one, with every state from the first byte on.
func chain(x *Index, raw []byte) *Index {
	c := &Index{Compression: None, Chained: true, Entries: slices.Clone(x.Entries)}
	for i, e := range c.Entries {
		h := sha256.New()
		h.Write(raw[:e.RawOffset+e.RawSize])
		c.Entries[i].SHA256 = sumOf(h)
	}
	return c
}

func sumOf(h hash.Hash) Sum {
	state, err := h.(encoding.BinaryAppender).AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return ChainSum(state)
}

// The state is what the standard says: with the padding of a message of that length
// one more block makes the digest.
func TestChainSum(t *testing.T) {
	h := sha256.New()
	if got, want := sumOf(h).String(), "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"; got != want {
		t.Errorf("the first state is %s, FIPS 180-4 says %s", got, want)
	}
	p := bytes.Repeat([]byte("evidence"), 16)
	h.Write(p)
	state := sumOf(h)
	padding := binary.BigEndian.AppendUint64(append([]byte{0x80}, make([]byte, 55)...), 128*8)
	// As if the padding were a frame: its state is then the digest of p.
	x := &Index{Compression: None, Chained: true, Entries: []Entry{{0, 128, 0, 128, state}, {128, 64, 128, 64, Sum{}}}}
	if got := x.chainedSum(1, padding); got != sha256.Sum256(p) {
		t.Errorf("the state goes on to %s", got)
	}
	h.Write([]byte("rest"))
	if got, want := sumOf(h), Sum(sha256.Sum256(append(p, "rest"...))); got != want {
		t.Errorf("the last sum is %s, want the digest %s", got, want)
	}
}

// Damage stays where it is, though the digests are of all that lies before.
func TestVerifyChained(t *testing.T) {
	for _, size := range []int{12 * testSize, 12*testSize + 55, 12*testSize + 64} {
		raw := data(size)
		stored, x := store(t, testPool(t), raw, None)
		x = chain(x, raw)
		var text bytes.Buffer
		if _, err := x.WriteTo(&text); err != nil {
			t.Fatal(err)
		}
		read, err := ParseIndex(strings.NewReader(text.String()))
		if err != nil || fmt.Sprint(read) != fmt.Sprint(x) {
			t.Fatalf("%v, %v", read, err)
		}
		verify := func(b []byte) *VerifyReport {
			rep, err := Verify(t.Context(), bytes.NewReader(b), int64(len(b)), read, VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return rep
		}
		if rep := verify(stored); rep.Err() != nil || !rep.Stored.Complete || rep.Raw.SHA256 != sha256.Sum256(raw) {
			t.Errorf("%+v: %v", rep, rep.Err())
		}
		bad := bytes.Clone(stored)
		want := []int{0, 4, 5, len(x.Entries) - 1}
		for _, i := range want {
			bad[x.Entries[i].StoredOffset+1] ^= 0x10
		}
		var got []int
		for _, d := range verify(bad).Damaged {
			if !errors.Is(d, ErrDigest) {
				t.Error(d)
			}
			got = append(got, d.Frame)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d bytes: damaged frames %v, want %v", size, got, want)
		}
	}
}

func TestChainedIndex(t *testing.T) {
	sum := "\t" + Sum{1}.String() + "\n"
	for name, bad := range map[string]string{
		"compressed":     "shotglass-frames\t1\tzstd\tchained\n",
		"not a multiple": "shotglass-frames\t1\tnone\tchained\n0\t65\t0\t65" + sum + "65\t64\t65\t64" + sum,
		"other word":     "shotglass-frames\t1\tnone\tlinked\n",
	} {
		if _, err := ParseIndex(strings.NewReader(bad)); !errors.Is(err, ErrIndex) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	good := "shotglass-frames\t1\tnone\tchained\n0\t64\t0\t64" + sum + "64\t65\t64\t65" + sum
	if x, err := ParseIndex(strings.NewReader(good)); err != nil || !x.Chained {
		t.Errorf("%+v: %v", x, err)
	}
}
