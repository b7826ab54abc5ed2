//go:build unix

package acquire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/shotglass-ir/shotglass/sink"
)

// twoWays is a target that can be read in both ways; LiME sends what edit makes of its memory.
func twoWays(t *testing.T, edit func(image []byte) []byte) (*fakeTarget, *fakeKcore) {
	k := newKcore(t)
	l := newFake(t)
	l.image = bytes.Clone(k.image)
	if edit != nil {
		l.image = edit(l.image)
	}
	k.server.Exec, k.server.Dial = both(l, k), l.dial
	return l, k
}

// manifestsIn are all manifests of a folder, by the name of the image.
func manifestsIn(t *testing.T, dir string) map[string]*Manifest {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*Manifest{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseManifest(data)
		if err != nil {
			t.Fatal(err)
		}
		all[m.Image.Name] = m
	}
	return all
}

func auto(o *Options) { o.Method = MethodAuto }

// TestSecond: what LiME sent is whole and is not the memory. It is kept, and a second image is
// taken through /proc/kcore; each names the other.
func TestSecond(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		edit  func(f *fakeKcore, image []byte) []byte
		check string
	}{
		{"no banner", func(f *fakeKcore, image []byte) []byte {
			clear(image[f.offset(0x300000):][:page])
			return image
		}, checkBanner},
		{"zero fill", func(f *fakeKcore, image []byte) []byte {
			clear(image[f.offset(0x900000):f.offset(0x17ff000)])
			return image
		}, checkZeroFill},
		{"cut short", func(f *fakeKcore, image []byte) []byte { return image[:len(image)/2] }, checkRecords},
		{"a range left out", func(f *fakeKcore, image []byte) []byte {
			return image[:f.offset(1<<32)-32]
		}, checkRanges},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			var k *fakeKcore
			l, k := twoWays(t, nil)
			l.image = tt.edit(k, l.image)
			dir := t.TempDir()
			var mu sync.Mutex
			var rejections []Rejected
			finished := 0
			res := k.capture(t.Context(), dir, func(o *Options) {
				auto(o)
				o.Signer = alice
				o.Observer = func(e Event) {
					mu.Lock()
					defer mu.Unlock()
					switch e := e.(type) {
					case Rejected:
						rejections = append(rejections, e)
					case Finished:
						finished++
					}
				}
			})
			l.clean()
			if res.State != StateComplete || res.Err != nil || res.Other == nil || res.Other.State != StatePartial || !res.Other.Image.Partial {
				t.Fatalf("%+v", res)
			}
			if len(rejections) != 1 || finished != 1 || rejections[0].Second != res.Image.Name {
				t.Errorf("rejections %+v, finished %d times", rejections, finished)
			}
			all := manifestsIn(t, dir)
			first, second := all[res.Other.Image.Name], all[res.Image.Name]
			if len(all) != 2 || first == nil || second == nil {
				t.Fatalf("manifests %v", all)
			}
			if first.Complete || first.Method.Source != MethodLime || !second.Complete || second.Method.Source != MethodKcore {
				t.Errorf("first: complete %t, %+v; second: complete %t, %+v", first.Complete, first.Method, second.Complete, second.Method)
			}
			o := first.Other
			if o == nil || o.Order != orderAfter || o.Name != second.Image.Name || o.Source != MethodKcore || !slices.Contains(o.Rejected, tt.check) || o.Manifest != nil {
				t.Errorf("the first says of the second: %+v", o)
			}
			data, err := os.ReadFile(res.Other.Manifest)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(data)
			o = second.Other
			if o == nil || o.Order != orderBefore || o.Name != first.Image.Name || o.Source != MethodLime || o.Manifest == nil ||
				o.Manifest.SHA256 != hex.EncodeToString(sum[:]) || o.Manifest.Name != filepath.Base(res.Other.Manifest) {
				t.Errorf("the second says of the first: %+v", o)
			}
			if c := second.Method.Candidates[0]; c.OK || !strings.Contains(c.Reason, "was rejected") {
				t.Errorf("LiME: %+v", c)
			}
			// What LiME did to the target is on record in both.
			if second.Module == nil || second.Footprint.BytesPushed == 0 || !second.Footprint.Clean {
				t.Errorf("module %+v, footprint %+v", second.Module, second.Footprint)
			}
			k.same(second, k.image)
			if got, err := os.ReadFile(first.Image.Location); err != nil || !bytes.Equal(got, l.image) {
				t.Errorf("the first image is not what came: %v", err)
			}
			for _, m := range []string{res.Manifest, res.Other.Manifest} {
				if _, err := os.Stat(m + SignatureSuffix); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// noBanner makes an image that is rejected.
func noBanner(f *fakeKcore, l *fakeTarget) {
	l.image = bytes.Clone(f.image)
	clear(l.image[f.offset(0x300000):][:page])
}

// TestNoSecond: where another method would mend nothing, is not allowed or could do harm, there
// is no second image.
func TestNoSecond(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		edit  func(l *fakeTarget, k *fakeKcore, o *Options)
		state State
		says  string // a problem
	}{
		{"a good image", func(l *fakeTarget, k *fakeKcore, o *Options) { l.image = bytes.Clone(k.image) }, StateComplete, ""},
		{"LiME was asked for", func(l *fakeTarget, k *fakeKcore, o *Options) { o.Method = MethodLime }, StatePartial, ""},
		{"the link is lost", func(l *fakeTarget, k *fakeKcore, o *Options) {
			l.serve = func(c net.Conn, image []byte) { c.Write(image[:8<<20]); k.server.Kill() }
		}, StatePartial, ""},
		{"the target is not clean", func(l *fakeTarget, k *fakeKcore, o *Options) { l.leave = true }, StatePartial, "not clean"},
		{"no /proc/kcore", func(l *fakeTarget, k *fakeKcore, o *Options) {
			k.facts = func(s string) string {
				return replaceSection(s, "tools", "cat insmod rmmod sha256sum dd grep mkdir sleep\n")
			}
		}, StatePartial, ""},
		{"no room", func(l *fakeTarget, k *fakeKcore, o *Options) {
			o.Sink = &tightDisk{o.Sink.(*sink.Disk), 110 << 20, 1}
		}, StatePartial, "a second image may need"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, k := twoWays(t, nil)
			noBanner(k, l)
			dir := t.TempDir()
			var mu sync.Mutex
			var problems []string
			res := k.capture(t.Context(), dir, func(o *Options) {
				auto(o)
				o.Observer = func(e Event) {
					mu.Lock()
					defer mu.Unlock()
					if p, ok := e.(Problem); ok {
						problems = append(problems, p.Err.Error())
					}
				}
				tt.edit(l, k, o)
			})
			if res.State != tt.state || res.Other != nil || k.scripts["read"] != 0 || len(manifestsIn(t, dir)) != 1 {
				t.Errorf("%+v, scripts %v", res, k.scripts)
			}
			if m := manifestIn(t, dir); m.Other != nil {
				t.Errorf("the manifest names another image: %+v", m.Other)
			}
			if all := strings.Join(problems, "\n"); tt.says == "" && all != "" || !strings.Contains(all, tt.says) {
				t.Errorf("problems %q, want %q", problems, tt.says)
			}
		})
	}
}

// tightDisk is a disk with so much room at first, which each look halves.
type tightDisk struct {
	*sink.Disk
	room  int64
	looks int64
}

func (d *tightDisk) Free(context.Context) (int64, error) {
	d.looks *= 2
	return d.room / (d.looks / 2), nil
}

// TestSecondFails: LiME's image is rejected and /proc/kcore gives nothing. The first image is the
// host's, and the attempt is on record.
func TestSecondFails(t *testing.T) {
	t.Parallel()
	noLeak(t)
	l, k := twoWays(t, nil)
	noBanner(k, l)
	k.dd = `dd() { case "$*" in *iflag=skip_bytes*kcore*|*kcore*iflag=skip_bytes*) echo "dd: failed to open: Operation not permitted" >&2; return 1 ;; esac; command dd "$@"; }`
	dir := t.TempDir()
	res := k.capture(t.Context(), dir, auto)
	if res.State != StatePartial || res.Other == nil || res.Other.State == StateComplete || !strings.Contains(fmt.Sprint(res.Err), "second image: ") {
		t.Fatalf("%+v", res)
	}
	all := manifestsIn(t, dir)
	first, second := all[res.Image.Name], all[res.Other.Image.Name]
	if len(all) != 2 || first == nil || first.Method.Source != MethodLime || second == nil || second.Complete || second.Other == nil || second.Other.Name != res.Image.Name {
		t.Errorf("manifests %v, second %+v", all, second)
	}
}

// TestSecondFailsWithSwap: swap follows the second image. If that brings no byte, or is not even begun,
// the swap areas are on record as not read, and the result tells it.
func TestSecondFailsWithSwap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(k *fakeKcore, o *Options)
	}{
		{"no byte", func(k *fakeKcore, _ *Options) {
			k.stdout = func(name string, w io.Writer) io.Writer {
				if name == "read" {
					return io.Discard // what reads ends before it has begun
				}
				return w
			}
			k.dd = `printf() { command printf "$@"; case $1 in *ready*) exit 3 ;; esac; }`
		}},
		{"changed before it begins", func(k *fakeKcore, o *Options) {
			o.Observer = func(e Event) {
				if _, ok := e.(Rejected); ok {
					k.write("iomem", "00001000-0009ffff : System RAM\n")
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			l, k := twoWays(t, nil)
			noBanner(k, l)
			k.addSwap("swap", 2<<20, swapHead(4096, 512, binary.LittleEndian, ""))
			dir := t.TempDir()
			res := k.capture(t.Context(), dir, func(o *Options) {
				auto(o)
				asksSwap(o)
				tt.edit(k, o)
			})
			serr, ok := errors.AsType[*SwapError](res.Err)
			if res.State != StatePartial || res.Other == nil || !ok || len(serr.Areas) != 1 || len(res.Other.Swap) != 1 {
				t.Fatalf("%+v", res)
			}
			all := manifestsIn(t, dir)
			if len(all) != 2 {
				t.Fatalf("manifests %v", all)
			}
			for name, m := range all {
				if name == res.Image.Name {
					continue
				}
				if m.Complete || m.Other == nil || len(m.SwapImages) != 1 || m.SwapImages[0].Complete || !strings.Contains(fmt.Sprint(m.SwapImages[0].Reasons), "not read: ") {
					t.Errorf("%s: %+v", name, m.SwapImages)
				}
			}
		})
	}
}

// TestSecondResumed: the second image is the one that is kept, and why the first is not is told.
func TestSecondResumed(t *testing.T) {
	t.Parallel()
	l, k := twoWays(t, nil)
	noBanner(k, l)
	dir := t.TempDir()
	edit := func(o *Options) {
		auto(o)
		o.Case, o.Signer = "c", alice
		o.Resume = &Resume{Signers: allowed(t, "")}
	}
	first := k.capture(t.Context(), dir, edit)
	again := k.capture(t.Context(), dir, edit)
	if first.State != StateComplete || again.State != StateComplete || again.KeptFrom.IsZero() || again.Image.Location != first.Image.Location {
		t.Fatalf("%+v\n%+v", first, again)
	}
	if notes := strings.Join(again.Notes, "\n"); !strings.Contains(notes, "content was rejected, and "+first.Image.Name) {
		t.Errorf("notes %q", notes)
	}
	if len(manifestsIn(t, dir)) != 2 {
		t.Error("a resumed run took another image")
	}
}

// TestSecondInterrupted: a signal during the second image leaves both, and says so.
func TestSecondInterrupted(t *testing.T) {
	t.Parallel()
	noLeak(t)
	l, k := twoWays(t, nil)
	noBanner(k, l)
	ctx, cancel := context.WithCancelCause(t.Context())
	var left atomic.Int64
	left.Store(12 << 20)
	k.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, func() { cancel(io.ErrClosedPipe) }}
	}
	dir := t.TempDir()
	res := k.capture(ctx, dir, auto)
	if res.State != StatePartial || !res.Interrupted || res.Other == nil {
		t.Fatalf("%+v", res)
	}
	if m := manifestsIn(t, dir)[res.Other.Image.Name]; m == nil || m.Complete || m.Other == nil || m.Method.Source != MethodKcore {
		t.Errorf("manifest %+v", m)
	}
}

// TestRejects: only what came whole can be rejected for its content.
func TestRejects(t *testing.T) {
	for _, tt := range []struct{ checks, want string }{
		{"stream=pass stored=pass banner=pass", ""},
		{"stream=pass stored=pass banner=fail", "banner"},
		{"stream=fail stored=pass banner=fail", ""},
		{"stream=pass stored=fail zero_fill=fail", ""},
		{"stream=pass stored=pass peer=fail banner=fail", ""},
		{"stream=pass stored=pass banner=unknown", ""},
		{"stream=pass stored=pass zero_fill=unknown parameter=pass", ""},
		{"stream=pass stored=pass zero_fill=unknown parameter=unknown", "zero fill"},
		{"stream=pass stored=pass records=fail ranges=fail insmod=fail", "records ranges insmod"},
	} {
		var checks []Check
		for _, w := range strings.Fields(tt.checks) {
			name, result, _ := strings.Cut(w, "=")
			checks = append(checks, Check{Name: strings.ReplaceAll(name, "_", " "), Result: result})
		}
		if got := strings.Join(rejects(checks), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.checks, got, tt.want)
		}
	}
}
