//go:build unix

package pipeline

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// guest returns an image of 64 MiB like that of a guest: zero of 100 pages
// are zero; of the others two in five hold pointers, two text and one noise.
func guest(zero int) []byte {
	r := rand.New(rand.NewPCG(3, uint64(zero)))
	body := make([]byte, 64<<20)
	words := []string{"kernel ", "page ", "struct ", "return ", "0x", "lock", "\n\t", "self.", "import ", "error: "}
	for at := 0; at < len(body); at += lime.PageSize {
		if r.IntN(100) < zero {
			continue
		}
		page := body[at:][:lime.PageSize]
		switch r.IntN(5) {
		case 0, 1:
			base := r.Uint64()
			for i := 0; i < len(page); i += 8 {
				v := base&^0xffffff | uint64(r.Uint32N(1<<16))<<4
				if r.IntN(3) == 0 {
					v = uint64(r.Uint32N(256))
				}
				for k := range 8 {
					page[i+k] = byte(v >> (8 * k))
				}
			}
		case 2, 3:
			for i := 0; i < len(page); {
				i += copy(page[i:], words[r.IntN(len(words))])
				if r.IntN(4) == 0 && i < len(page) {
					page[i] = byte('a' + r.IntN(26))
					i++
				}
			}
		default:
			for i := 0; i < len(page); i += 4 {
				v := r.Uint32()
				page[i], page[i+1], page[i+2], page[i+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
			}
		}
	}
	return append(lime.AppendHeader(nil, lime.Range{Start: 1 << 20, End: 1<<20 + uint64(len(body)) - 1}), body...)
}

// A source gives an image in the pieces that SSH gives, without an end of its own.
type chunks struct{ rest []byte }

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 32<<10)], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// cpu reports the CPU time per 10^9 bytes of n: steadier than wall time on a
// machine that is shared.
func cpu(b *testing.B, n int) func() {
	used := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	before := used()
	return func() { b.ReportMetric((used()-before)/float64(b.N)/float64(n)*1e9, "cpu-s/GB") }
}

// BenchmarkRun compares the pipeline to its peer: one goroutine that digests,
// streams through one zstd encoder and digests the output.
func BenchmarkRun(b *testing.B) {
	for _, image := range []struct {
		name string
		zero int
	}{{"busy", 3}, {"idle", 87}} {
		data := guest(image.zero)
		for _, kind := range []string{frame.Zstd, frame.None, frame.Zstd + "+age", frame.None + "+age"} {
			b.Run(image.name+"/"+kind, func(b *testing.B) {
				c, encrypted := strings.CutSuffix(kind, "+age")
				var to []agefile.Recipient
				if encrypted {
					one, _ := testRecipient(b)
					to = append(to, one)
				}
				pool := testPool(b, 0)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				defer cpu(b, len(data))()
				var res Result
				var err error
				for b.Loop() {
					res, err = Run(b.Context(), &chunks{data}, io.Discard, Options{Pool: pool, Compression: c, Walker: newWalker(), Recipients: to})
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(res.Raw.Bytes)/float64(res.Stored.Bytes), "ratio")
			})
		}
		b.Run(image.name+"/peer", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			defer cpu(b, len(data))()
			buf := make([]byte, 1<<20)
			var stored int64
			for b.Loop() {
				raw, out := sha256.New(), sha256.New()
				n := &sinkWriter{w: io.Discard, sum: out}
				z, err := zstd.NewWriter(n, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(raw, z)}, &chunks{data}, buf); err != nil {
					b.Fatal(err)
				}
				if err := z.Close(); err != nil {
					b.Fatal(err)
				}
				stored = n.n
			}
			b.ReportMetric(float64(len(data))/float64(stored), "ratio")
		})
		b.Run(image.name+"/walker", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			defer cpu(b, len(data))()
			for b.Loop() {
				w := newWalker()
				for at := 0; at < len(data); at += frame.DefaultSize {
					w.Write(data[at:min(at+frame.DefaultSize, len(data))])
				}
				if _, err := w.Finish(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
