package frame

import (
	"bytes"
	"crypto/sha256"
	"io"
	"testing"
)

// BenchmarkVerify checks 64 MiB in default frames, beside the least that it
// could take: one SHA-256 of the raw bytes.
func BenchmarkVerify(b *testing.B) {
	raw := data(64 << 20)
	pool := testPool(b)
	for _, c := range []string{Zstd, None} {
		var out bytes.Buffer
		w, err := NewWriter(&out, Options{Pool: pool, Compression: c})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(raw); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		size := int64(out.Len())
		b.Run(c, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				rep, err := Verify(b.Context(), bytes.NewReader(out.Bytes()), size, w.Index(), VerifyOptions{})
				if err != nil || rep.Err() != nil {
					b.Fatal(err, rep.Err())
				}
			}
		})
		b.Run(c+"/read", func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := Open(bytes.NewReader(out.Bytes()), size)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
	b.Run("sha256", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			sha256.Sum256(raw)
		}
	})
}
