//go:build e2e

package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

const (
	busyMiB   = 512
	idleMiB   = 896  // of which a fresh guest leaves 87 %
	imagesOf  = "v3" // of this recipe: another number makes new images
	heapFile  = "/dev/shm/heap-ready"
	buildTime = 10 * time.Minute
)

// An image is a file in LiME's format.
type image struct {
	name   string
	path   string
	size   int64
	sha256 string
	banner string
	bundle string // a folder with what symbols are made of: of a guest's image
}

// meta stands beside an image in the cache.
type meta struct {
	Banner string  `json:"banner"`
	SHA256 string  `json:"sha256"`
	Zero   float64 `json:"zero_pages"` // share
}

var loaded []*image

// images returns the memory of two guests of the lab, one that has just booted,
// "idle", and one that was filled, "busy". They are kept in the lab's cache. Without a
// lab they are synthetic, and the names say so.
func images(b *testing.B) []*image {
	b.Helper()
	if loaded == nil {
		var err error
		if loaded, err = guestImages(b.Context()); errors.Is(err, lab.ErrNotBuilt) {
			b.Logf("synthetic images: %v", err)
			loaded, err = syntheticImages()
		}
		if err != nil {
			loaded = nil
			b.Fatal(err)
		}
	}
	return loaded
}

// fill leaves a guest with hardly a zero page: a heap of hash tables, random bytes
// as those of compressed or encrypted files, and the page cache full of the
// system's own files.
const fill = `set -e
perl -e '
	for my $i (1 .. 130_000) {
		push @users, {id => $i, name => "user$i", mail => "user$i\@example.org", uid => 1000 + $i,
			groups => ["staff", "g" . $i % 97], seen => 1.7e9 + $i * 61.7, home => "/home/user$i"};
	}
	open my $f, ">", "` + heapFile + `"; close $f;
	sleep;
' </dev/null >/dev/null 2>&1 &
head -c 40M /dev/urandom >/dev/shm/random
until [ -e ` + heapFile + ` ]; do sleep 1; done
find / -xdev -type f -exec cat {} + >/dev/null 2>&1 || true
# What is still free is taken for a moment, and given back.
free=$(awk '/MemFree/ {print $2}' /proc/meminfo)
[ $free -lt 20000 ] || { tar -C / --one-file-system -cf - usr | head -c $((free - 16000))K >/dev/shm/more; }
`

// guestImages boots guests, unless the images are there.
func guestImages(ctx context.Context) ([]*image, error) {
	l, err := lab.Open()
	if err != nil {
		return nil, err
	}
	cache, err := lab.Cache()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(filepath.Dir(cache), "bench", imagesOf+"-"+l.KernelRelease)
	if ims, err := loadImages(dir, "busy", "idle"); err == nil {
		return ims, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	if err := fromGuest(ctx, l, dir, "idle", idleMiB, ":"); err != nil {
		return nil, err
	}
	if err := fromGuest(ctx, l, dir, "busy", busyMiB, fill); err != nil {
		return nil, err
	}
	return loadImages(dir, "busy", "idle")
}

func fromGuest(ctx context.Context, l *lab.Lab, dir, name string, mib int, script string) error {
	g, err := l.Boot(ctx, lab.Options{MemoryMiB: mib})
	if err != nil {
		return err
	}
	defer g.Close()
	if _, err := g.SSH(ctx, lab.Root, script); err != nil {
		return err
	}
	return dump(ctx, g, dir, name)
}

// dump writes the guest's memory as LiME would: one record for each range of
// System RAM.
func dump(ctx context.Context, g *lab.Guest, dir, name string) error {
	iomem, err := g.SSH(ctx, lab.Root, "cat /proc/iomem")
	if err != nil {
		return err
	}
	banner, err := g.SSH(ctx, lab.Root, "cat /proc/version")
	if err != nil {
		return err
	}
	if err := bundle(ctx, g, filepath.Join(dir, name+".bundle"), banner); err != nil {
		return err
	}
	ranges, err := lime.ParseIOMem(strings.NewReader(iomem))
	if err != nil {
		return err
	}
	raw := filepath.Join(dir, name+".raw")
	defer os.Remove(raw)
	if err := g.Pause(ctx); err != nil {
		return err
	}
	if err := errors.Join(g.Dump(ctx, raw), g.Resume(ctx)); err != nil {
		return err
	}
	f, err := os.Open(raw)
	if err != nil {
		return err
	}
	defer f.Close()
	return save(dir, name, banner, func(w *lime.Writer) error {
		for _, r := range ranges {
			if err := w.Begin(r); err != nil {
				return err
			}
			if _, err := io.Copy(w, io.NewSectionReader(f, int64(r.Start), int64(r.Size()))); err != nil {
				return err
			}
		}
		return nil
	})
}

// bundle writes what a symbol file is made of, as `shotglass symbols --from` wants it.
func bundle(ctx context.Context, g *lab.Guest, dir, banner string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := map[string]string{"version": banner}
	for name, script := range map[string]string{
		"vmlinux.btf": "cat /sys/kernel/btf/vmlinux",
		"kallsyms":    "cat /proc/kallsyms",
		"vmcoreinfo":  "head -c 65536 /proc/kcore",
	} {
		var err error
		if files[name], err = g.SSH(ctx, lab.Root, script); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// save writes an image and, when it is whole, what loadImages wants to know.
func save(dir, name, banner string, write func(*lime.Writer) error) error {
	f, err := os.Create(filepath.Join(dir, name+".lime"))
	if err != nil {
		return err
	}
	defer f.Close()
	sum, walker := sha256.New(), lime.NewWalker(lime.WalkerOptions{})
	w := lime.NewWriter(io.MultiWriter(f, sum, walker))
	if err := errors.Join(write(w), w.Close(), f.Close()); err != nil {
		return err
	}
	rep, err := walker.Finish()
	if err != nil {
		return err
	}
	var pages, zero float64
	for _, r := range rep.Ranges {
		pages += float64(r.Pages)
		zero += float64(r.ZeroPages)
	}
	m, err := json.Marshal(meta{Banner: banner, SHA256: hex.EncodeToString(sum.Sum(nil)), Zero: zero / pages})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), m, 0o644)
}

// loadImages opens images and reads them once, so that they are in the page cache.
func loadImages(dir string, names ...string) ([]*image, error) {
	var out []*image
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if err != nil {
			return nil, err
		}
		var m meta
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, err
		}
		im := &image{name: name, path: filepath.Join(dir, name+".lime"), banner: m.Banner, bundle: filepath.Join(dir, name+".bundle")}
		f, err := os.Open(im.path)
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		im.size, err = io.Copy(sum, f)
		f.Close()
		if err != nil {
			return nil, err
		}
		if im.sha256 = hex.EncodeToString(sum.Sum(nil)); im.sha256 != m.SHA256 {
			return nil, fmt.Errorf("%s is not what was made: remove it", im.path)
		}
		fmt.Fprintf(os.Stderr, "bench: %s: %d MiB, %.1f %% zero pages\n", name, im.size>>20, 100*m.Zero)
		out = append(out, im)
	}
	return out, nil
}

// part is an image of mib MiB from the middle of another, or of all if that is smaller: a
// whole image again, of one record.
func part(b *testing.B, of *image, mib int64) *image {
	b.Helper()
	dir := filepath.Dir(of.path)
	name := fmt.Sprintf("%s-%d", of.name, mib)
	if ims, err := loadImages(dir, name); err == nil {
		return ims[0]
	}
	f, err := os.Open(of.path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	size := min(mib<<20, of.size/2) &^ (lime.PageSize - 1)
	banner := of.banner
	err = save(dir, name, banner, func(w *lime.Writer) error {
		if err := w.Begin(lime.Range{Start: 1 << 20, End: 1<<20 + uint64(size) - 1}); err != nil {
			return err
		}
		// It has a banner too, since a capture looks for one.
		page := append([]byte(banner+"\x00"), make([]byte, lime.PageSize)...)[:lime.PageSize]
		if _, err := w.Write(page); err != nil {
			return err
		}
		_, err := io.Copy(w, io.NewSectionReader(f, of.size/4, size-lime.PageSize))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	ims, err := loadImages(dir, name)
	if err != nil {
		b.Fatal(err)
	}
	return ims[0]
}

// syntheticImages makes images of pages that are zero, hold pointers, text or
// noise.
func syntheticImages() ([]*image, error) {
	dir := filepath.Join(os.TempDir(), "shotglass-bench-"+imagesOf)
	names := []string{"synthetic-busy", "synthetic-idle"}
	if ims, err := loadImages(dir, names...); err == nil {
		return ims, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	const banner = "Linux version 6.1.0-synthetic (bench) #1 SMP\n"
	for i, zero := range []int{3, 87} {
		mib := []int{busyMiB, idleMiB}[i]
		err := save(dir, names[i], banner, func(w *lime.Writer) error {
			r := rand.New(rand.NewPCG(5, uint64(zero)))
			if err := w.Begin(lime.Range{Start: 1 << 20, End: uint64(1+mib)<<20 - 1}); err != nil {
				return err
			}
			page := append([]byte(banner+"\x00"), bytes.Repeat([]byte{1}, lime.PageSize)...)[:lime.PageSize]
			for range mib << 20 / lime.PageSize {
				if _, err := w.Write(page); err != nil {
					return err
				}
				synthesize(page, r, zero)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return loadImages(dir, names...)
}

var words = strings.Fields("kernel page struct return 0x00 lock self. import error: static const void user mail home")

func synthesize(page []byte, r *rand.Rand, zero int) {
	clear(page)
	if r.IntN(100) < zero {
		return
	}
	switch r.IntN(5) {
	case 0, 1: // pointers and small numbers
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
	case 2, 3: // text
		for i := 0; i < len(page); {
			i += copy(page[i:], words[r.IntN(len(words))])
			if i < len(page) {
				page[i] = byte(' ' + r.IntN(64))
				i++
			}
		}
	default: // noise
		for i := range page {
			page[i] = byte(r.Uint32())
		}
	}
}
