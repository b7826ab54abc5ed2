package frame

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestVerify(t *testing.T) {
	pool := testPool(t)
	raw := data(12*testSize + 55)
	for _, c := range Compressions {
		stored, x := store(t, pool, raw, c)
		table := TableIntact
		if c == None {
			table = TableNone
		}
		verify := func(t *testing.T, b []byte) (*VerifyReport, []byte) {
			t.Helper()
			var out bytes.Buffer
			rep, err := Verify(t.Context(), bytes.NewReader(b), int64(len(b)), x, VerifyOptions{Workers: 2, Raw: &out})
			if err != nil {
				t.Fatal(err)
			}
			if rep.Stored.Bytes != int64(len(b)) || rep.Stored.SHA256 != sha256.Sum256(b) {
				t.Error("stored digest is wrong")
			}
			if rep.Raw.Bytes != int64(out.Len()) || rep.Raw.SHA256 != sha256.Sum256(out.Bytes()) {
				t.Error("raw digest is wrong")
			}
			return rep, out.Bytes()
		}
		t.Run(c+"/intact", func(t *testing.T) {
			rep, got := verify(t, stored)
			if rep.Err() != nil || !rep.Raw.Complete || !rep.Stored.Complete || rep.SeekTable != table || !bytes.Equal(got, raw) {
				t.Errorf("%+v: %v", rep, rep.Err())
			}
		})
		t.Run(c+"/damaged", func(t *testing.T) {
			bad := bytes.Clone(stored)
			want := []int{0, 4, 5, 12}
			for _, i := range want {
				bad[x.Entries[i].StoredOffset+x.Entries[i].StoredSize/2] ^= 0x10
			}
			rep, got := verify(t, bad)
			var frames []int
			for _, d := range rep.Damaged {
				frames = append(frames, d.Frame)
				if e := x.Entries[d.Frame]; !errors.Is(d, ErrDigest) || d.StoredOffset != e.StoredOffset || d.RawOffset != e.RawOffset {
					t.Errorf("%+v", d)
				}
			}
			if fmt.Sprint(frames) != fmt.Sprint(want) || rep.Err() == nil {
				t.Errorf("damaged frames %v, want %v", frames, want)
			}
			if len(got) != len(raw) || rep.SeekTable != table || c != None && rep.Raw.Complete {
				t.Errorf("%d raw bytes, table %s", len(got), rep.SeekTable)
			}
			if e := x.Entries[6]; !bytes.Equal(got[e.RawOffset:][:e.RawSize], raw[e.RawOffset:][:e.RawSize]) {
				t.Error("an intact frame is not at its place")
			}
		})
		t.Run(c+"/cut", func(t *testing.T) {
			e := x.Entries[9]
			rep, got := verify(t, stored[:e.StoredOffset+10])
			if len(rep.Damaged) != 4 || rep.Missing != x.Stored()-e.StoredOffset-10 || rep.Raw.Complete || rep.Stored.Complete {
				t.Errorf("%+v", rep)
			}
			if !errors.Is(rep.Err(), ErrMissing) || !bytes.HasPrefix(raw, got) || int64(len(got)) < e.RawOffset {
				t.Errorf("%d raw bytes: %v", len(got), rep.Err())
			}
		})
		t.Run(c+"/appended", func(t *testing.T) {
			rep, got := verify(t, append(bytes.Clone(stored), "padding"...))
			if rep.Appended != 7 || rep.SeekTable != table || len(rep.Damaged) != 0 || rep.Stored.Complete || !bytes.Equal(got, raw) {
				t.Errorf("%+v", rep)
			}
		})
		t.Run(c+"/unreadable", func(t *testing.T) {
			e := x.Entries[3]
			r := &badSector{bytes.NewReader(stored), e.StoredOffset + 5}
			var out bytes.Buffer
			rep, err := Verify(t.Context(), r, int64(len(stored)), x, VerifyOptions{Raw: &out})
			if err != nil {
				t.Fatal(err)
			}
			if len(rep.Damaged) != 1 || rep.Damaged[0].Frame != 3 || !errors.Is(rep.Err(), errSector) || rep.Stored.Complete || rep.Raw.Complete {
				t.Errorf("%+v: %v", rep, rep.Err())
			}
			if out.Len() != len(raw) || rep.Raw.SHA256 != sha256.Sum256(out.Bytes()) {
				t.Error("raw digest is wrong")
			}
		})
	}
	stored, x := store(t, pool, raw, Zstd)
	for _, c := range []string{Zstd, S2} {
		testVerifyTable(t, pool, raw, c)
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Verify(ctx, bytes.NewReader(stored), int64(len(stored)), x, VerifyOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("index", func(t *testing.T) {
		if _, err := Verify(t.Context(), bytes.NewReader(stored), int64(len(stored)), &Index{}, VerifyOptions{}); !errors.Is(err, ErrIndex) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("raw", func(t *testing.T) {
		_, err := Verify(t.Context(), bytes.NewReader(stored), int64(len(stored)), x, VerifyOptions{Raw: iotestErrWriter{}})
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("error %v", err)
		}
	})
}

func testVerifyTable(t *testing.T, pool *Pool, raw []byte, compression string) {
	stored, x := store(t, pool, raw, compression)
	t.Run(compression+"/table", func(t *testing.T) {
		for name, c := range map[string]struct {
			b        []byte
			table    string
			appended bool
		}{
			"missing": {stored[:x.Stored()], TableMissing, false},
			"cut":     {stored[:len(stored)-5], TableMissing, false},
			"damaged": {flip(stored, int(x.Stored())+20), TableDamaged, false},
			"other":   {append(bytes.Clone(stored[:x.Stored()]), "something"...), TableMissing, true},
		} {
			rep, err := Verify(t.Context(), bytes.NewReader(c.b), int64(len(c.b)), x, VerifyOptions{})
			if err != nil || rep.SeekTable != c.table || (rep.Appended > 0) != c.appended || rep.Err() == nil {
				t.Errorf("%s: %+v, %v", name, rep, err)
			}
		}
	})
}

type iotestErrWriter struct{}

func (iotestErrWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

var errSector = errors.New("input/output error")

// A badSector fails reads that reach over a byte.
type badSector struct {
	io.ReaderAt
	at int64
}

func (b *badSector) ReadAt(p []byte, off int64) (int, error) {
	if off <= b.at && b.at < off+int64(len(p)) {
		n, _ := b.ReaderAt.ReadAt(p[:b.at-off], off)
		return n, errSector
	}
	return b.ReaderAt.ReadAt(p, off)
}

func FuzzParseIndex(f *testing.F) {
	_, x := store(f, testPool(f), data(3*testSize+1), Zstd)
	var b bytes.Buffer
	x.WriteTo(&b)
	f.Add(b.Bytes())
	f.Add([]byte("shotglass-frames\t1\tnone\n"))
	f.Add([]byte("shotglass-frames\t1\tnone\tchained\n"))
	f.Add([]byte("shotglass-frames\t1\tzstd\n0\t1\t0\t1\t" + Sum{1}.String() + "\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		x, err := ParseIndex(bytes.NewReader(in))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if _, err := x.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), in) {
			t.Errorf("%q is written back as %q", in, b.Bytes())
		}
	})
}

// FuzzOpen reads foreign bytes in sequence and at random, which must agree.
func FuzzOpen(f *testing.F) {
	for _, c := range []string{Zstd, S2} {
		stored, x := store(f, testPool(f), data(3*testSize+1), c)
		f.Add(stored)
		f.Add(stored[:x.Stored()])
		f.Add(stored[:x.Stored()-5])
		f.Add(stored[x.Entries[2].StoredOffset:])
	}
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Open(bytes.NewReader(in), int64(len(in)))
		if err != nil {
			return
		}
		defer r.Close()
		if x := r.Index(); x != nil && x.Raw() > 1<<26 {
			return
		}
		got, err := io.ReadAll(io.LimitReader(r, 1<<26))
		if err != nil || r.Format() == FormatGzip || r.Index() == nil && r.Format() == FormatZstd {
			return
		}
		p := make([]byte, len(got))
		if n, err := r.ReadAt(p, 0); n != len(p) || err != nil && err != io.EOF || !bytes.Equal(p, got) {
			t.Errorf("ReadAt gives %d of %d bytes: %v", n, len(p), err)
		}
	})
}
