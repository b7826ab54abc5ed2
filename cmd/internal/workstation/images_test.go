package workstation_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/workstation"
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
		"e.json":         image("lime", "none", true), // in segments
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
	list := workstation.Images(names, func(n string) ([]byte, error) {
		if files[n] == "denied" {
			return nil, errors.New("permission missing")
		}
		return []byte(files[n]), nil
	})
	var got []string
	for _, i := range list {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%q %s %t %.20s", i.Name, i.State, i.Encrypted, i.Why)))
	}
	want := []string{
		`"../x.lime" unusable false its name, or that of`,
		`"a b.lime" unusable false its name, or that of`,
		`"a.lime.zst" complete false`,
		`"broken.bin" unusable false broken.bin.json is n`,
		`"c.lime.partial" partial false`,
		`"d.lime.zst" complete false`,
		`"denied.bin" unusable false its manifest could n`,
		`"e" complete false`,
		`"sub\x1b/y.lime" unusable false its name, or that of`,
		`"sub/b.lime.zst.age" partial true`,
		`"theirs.lime.age" unvouched true`,
		`"theirs.lime.s2" unvouched false`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
