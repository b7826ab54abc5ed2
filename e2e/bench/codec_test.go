//go:build e2e

package bench

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
)

// BenchmarkCodec runs the pipeline alone, from a file in the page cache to nowhere: both digests, the
// walker and the compression. It is what the defaults were chosen from.
func BenchmarkCodec(b *testing.B) {
	type setup struct {
		compression, level string
		size               int
	}
	var setups []setup
	for _, level := range frame.Levels {
		setups = append(setups, setup{frame.Zstd, level, 1 << 20})
	}
	setups = append(setups, setup{frame.S2, "", 1 << 20}, setup{frame.None, "", 1 << 20})
	for _, size := range []int{256 << 10, 4 << 20} {
		setups = append(setups, setup{frame.Zstd, frame.Levels[0], size}, setup{frame.S2, "", size})
	}
	for _, im := range images(b) {
		for _, s := range setups {
			for _, workers := range []int{1, 2} {
				if workers == 1 && s.size != 1<<20 {
					continue
				}
				b.Run(fmt.Sprintf("%s/%s%s/%dKiB/%d", im.name, s.compression, s.level, s.size>>10, workers), func(b *testing.B) {
					codec(b, im, s.compression, s.level, s.size, workers)
				})
			}
		}
	}
}

func codec(b *testing.B, im *image, compression, level string, size, workers int) {
	pool := frame.NewPool(frame.PoolOptions{Workers: workers, Level: level})
	defer pool.Close()
	b.SetBytes(im.size)
	var runs []usage
	for b.Loop() {
		f, err := os.Open(im.path)
		if err != nil {
			b.Fatal(err)
		}
		begin, before := time.Now(), cpuTime(b)
		walker := lime.NewWalker(lime.WalkerOptions{Needles: []lime.Needle{{Name: "banner", Text: []byte(im.banner + "\x00")}}})
		res, err := pipeline.Run(b.Context(), f, io.Discard, pipeline.Options{
			Pool: pool, Compression: compression, FrameSize: size, Expected: im.size, Walker: walker,
		})
		runs = append(runs, usage{wall: time.Since(begin), cpu: cpuTime(b) - before, stored: res.Stored.Bytes})
		f.Close()
		if err != nil || res.Raw.SHA256.String() != im.sha256 {
			b.Fatalf("digest %s, want %s: %v", res.Raw.SHA256, im.sha256, err)
		}
	}
	r := &rig{image: im, hosts: 1}
	b.ReportMetric(of(runs, r.rate), "MB/s")
	b.ReportMetric(of(runs, r.perGiB), "cpu-s/GiB")
	shrink := float64(im.size) / float64(runs[0].stored)
	b.ReportMetric(shrink, "shrink")
	if level != "" {
		compression += " " + level
	}
	addRow("The pipeline alone", []string{"image", "compression", "frame KiB", "workers", "MB/s", "CPU s/GiB", "shrinks", "load"}, []string{
		im.name, compression, fmt.Sprint(size >> 10), fmt.Sprint(workers),
		num("%.0f", of(runs, r.rate)), num("%.2f", of(runs, r.perGiB)), num("%.2f", shrink), num("%.1f", load()),
	})
}
