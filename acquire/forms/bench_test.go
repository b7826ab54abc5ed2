package forms

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"testing"
)

// benchImage is what is converted: SHOTGLASS_BENCH_IMAGE, a LiME image, or some memory that compresses 3:1.
func benchImage(b *testing.B) []byte {
	if name := os.Getenv("SHOTGLASS_BENCH_IMAGE"); name != "" {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	const mib = 1 << 20
	return memory{at(0, join(words(1, 64*mib), random(2, 32*mib), make([]byte, 64*mib)))}.stream()
}

// counter counts what a form takes.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// BenchmarkForms converts one image to every form, from LiME and back, beside what people do by hand. The peers are left
// out where they are not installed.
func BenchmarkForms(b *testing.B) {
	image := benchImage(b)
	m, err := memoryOf(b, image)
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range All {
		b.Run("write/"+string(f), func(b *testing.B) {
			b.SetBytes(int64(len(image)))
			for b.Loop() {
				var out counter
				if err := writeTo(&out, f, m, WriteOptions{MaxPadding: 1 << 40}); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(image))/float64(out.n), "ratio")
			}
		})
		b.Run("read/"+string(f), func(b *testing.B) {
			file := write(b, f, m, WriteOptions{MaxPadding: 1 << 40})
			b.SetBytes(int64(len(image)))
			for b.Loop() {
				img, err := Open(bytes.NewReader(file), int64(len(file)), OpenOptions{Raw: f == Raw, RAM: m.ranges()})
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := Copy(b.Context(), Source{Image: img, RAM: m.ranges()}, NewLime(io.Discard)); err != nil {
					b.Fatal(err)
				}
				img.Close()
			}
		})
	}
	for _, peer := range [][]string{{"gzip", "-1"}, {"pigz", "-1"}, {"zstd", "-1", "-q"}, {"zstd", "-1", "-q", "-T0"}} {
		if _, err := exec.LookPath(peer[0]); err != nil {
			continue
		}
		name := peer[0]
		for _, a := range peer[1:] {
			name += a
		}
		b.Run("peer/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(image)))
			for b.Loop() {
				var out counter
				cmd := exec.Command(peer[0], append(peer[1:], "-c")...)
				cmd.Stdin, cmd.Stdout = bytes.NewReader(image), &out
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(image))/float64(out.n), "ratio")
			}
		})
	}
}

// memoryOf takes a LiME image apart.
func memoryOf(b *testing.B, image []byte) (m memory, err error) {
	img, err := Open(bytes.NewReader(image), int64(len(image)), OpenOptions{})
	if err != nil {
		return nil, err
	}
	defer img.Close()
	ranges, err := img.Ranges(b.Context())
	if err != nil {
		return nil, err
	}
	for _, r := range ranges {
		p := make([]byte, r.Size())
		if err := img.ReadPhysical(b.Context(), p, r.Start); err != nil {
			return nil, err
		}
		m = append(m, at(r.Start, p))
	}
	return m, nil
}
