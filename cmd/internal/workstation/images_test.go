package workstation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/workstation"
	"github.com/shotglass-ir/shotglass/sink"
)

func paper(t *testing.T, m acquire.Manifest) string {
	t.Helper()
	m.Type, m.Version = acquire.ManifestType, acquire.ManifestVersion
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestImages(t *testing.T) {
	image := func(format, encryption string, complete bool) string {
		return paper(t, acquire.Manifest{Complete: complete, Image: acquire.Image{Format: format, Encryption: encryption, Partial: !complete}})
	}
	files := map[string]string{
		"a.lime.zst": "", "a.lime.zst.json": image("lime", "none", true), "a.lime.zst.json.sig": "", "a.lime.zst.frames": "", // whole
		"sub/b.lime.zst.age": "", "sub/b.lime.zst.age.partial.json": image("lime", "age", false), // partial, in a bucket
		"c.lime.partial": "", "c.lime.partial.json": image("lime", "none", false), // partial, on a disk
		"d.lime.zst": "", "d.lime.zst.partial.json": image("lime", "none", false), "d.lime.zst.json": image("lime", "none", true), // both
		"a-swap-1.raw.zst": "", "a-swap-1.raw.zst.json": image("raw", "none", true), // no memory
		"e.000": "", "e.segments": "", "e.json": image("lime", "none", true), // in segments
		"i.lime.000": "", "i.lime.segments": "", // and nobody vouches
		"f.lime.age": "", "f.lime.age.interim": paper(t, acquire.Manifest{Complete: true, Interim: "written while", Image: acquire.Image{Format: "lime", Encryption: "age"}}),
		"g.lime": "", "g.lime.interim": image("lime", "none", true), "g.lime.json": image("lime", "none", true), // the last one counts
		"h.elf": "", "h.elf.json": `{"type":"shotglass-conversion"}`, "gone.elf.json": `{"type":"shotglass-conversion"}`,
		"only.json": image("lime", "none", true),
		"README":    "", "README.json": image("lime", "none", true), "README.new/a.lime": "", "sub/README.lime": "",
		"theirs.lime.s2": "", "theirs.lime.age": "", "notes.txt": "",
		"other.json": `{"type":"another record"}`,
		"broken.bin": "", "broken.bin.json": "{",
		"denied.bin.json": "denied",
		"a b.lime":        "", "../x.lime": "", "sub\x1b/y.lime": "", // what a writer of the bucket may call it
		"tools/abc-z.lime": "", "tools/abc-shotglass": "",
	}
	var names []string
	for n := range files {
		names = append(names, n)
	}
	var got []string
	err := workstation.Images(t.Context(), names, func(_ context.Context, n string) (sink.Reader, error) {
		if files[n] == "denied" {
			return nil, errors.New("permission missing")
		}
		return file{bytes.NewReader([]byte(files[n]))}, nil
	}, func(i workstation.Image) error {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%q %s %t %.20s", i.Name, i.State, i.Encrypted, i.Why)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`"../x.lime" unusable false its name, or that of`,
		`"README" unusable false where images are mou`,
		`"README.new/a.lime" unusable false where images are mou`,
		`"a b.lime" unusable false its name, or that of`,
		`"a.lime.zst" complete false`,
		`"broken.bin" unusable false broken.bin.json is n`,
		`"c.lime.partial" partial false`,
		`"d.lime.zst" complete false`,
		`"e" complete false`,
		`"f.lime.age" partial true`,
		`"g.lime" complete false`,
		`"h.elf" unvouched false`,
		`"i.lime" unvouched false`,
		`"sub\x1b/y.lime" unusable false its name, or that of`,
		`"sub/README.lime" unvouched false`,
		`"sub/b.lime.zst.age" partial true`,
		`"theirs.lime.age" unvouched true`,
		`"theirs.lime.s2" unvouched false`,
		`"denied.bin" unusable false its manifest could n`, // nothing lies there
		`"only" complete false`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A file of a case.
type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

// A large file says how much it has, gives zeros, and counts what is read of it.
type large struct {
	io.Reader
	size int64
	read *atomic.Int64
}

func (l large) ReadAt(p []byte, _ int64) (int, error) { l.read.Add(int64(len(p))); return len(p), nil }
func (l large) Size() int64                           { return l.size }
func (large) Close() error                            { return nil }

// Symbol files are called as manifests are, and large: they are no images, and not read but for their start.
func TestImagesLarge(t *testing.T) {
	for _, c := range []struct {
		size int64
		name string
		want string
	}{{40 << 20, "", ""}, {200 << 20, "", ""}, {200 << 20, "vmlinux", "vmlinux unusable"}} {
		var read atomic.Int64
		got := ""
		err := workstation.Images(t.Context(), []string{"vmlinux.json", c.name}, func(context.Context, string) (sink.Reader, error) {
			return large{size: c.size, read: &read}, nil
		}, func(i workstation.Image) error { got = i.Name + " " + i.State; return nil })
		if err != nil || got != c.want || read.Load() > 1<<20 {
			t.Errorf("%d bytes, beside %q: %q, %v, %d bytes read", c.size, c.name, got, err, read.Load())
		}
	}
}

// What is known is told before all is, and the end of it all ends it.
func TestImagesEnd(t *testing.T) {
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("%02d.lime", i), fmt.Sprintf("%02d.lime.json", i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := 0
	err := workstation.Images(ctx, names, func(ctx context.Context, n string) (sink.Reader, error) {
		return nil, errors.New("no")
	}, func(workstation.Image) error { got++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || got == 0 || got == 20 {
		t.Errorf("%d, %v", got, err)
	}
}
