package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
)

// A case in a bucket, in folders, with a key that XML has no room for.
func TestWorkstationImagesBucket(t *testing.T) {
	s := newShelf(t)
	m := acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Complete: true, Image: acquire.Image{Format: "lime"}}
	paper, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"case/a.lime", "case/web1/b.lime", "case/web1/sub/c.lime"} {
		s.objects[name], s.objects[name+".json"] = []byte("memory"), paper
	}
	s.objects["case/\x1b[2J/d.lime"], s.objects["case/\x1b[2J/d.lime.json"] = []byte("memory"), paper
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"shotglass", "workstation", "images", "--s3-endpoint", s.url, "--s3-path-style", "s3://evidence/case/"}, strings.NewReader(""), &out, &errs)
	stdout, stderr := out.String(), errs.String()
	want := "complete\tplain\ta.lime\ts3://evidence/case/a.lime\ncomplete\tplain\tweb1/b.lime\ts3://evidence/case/web1/b.lime\ncomplete\tplain\tweb1/sub/c.lime\ts3://evidence/case/web1/sub/c.lime\n"
	if code != exitPartial || stdout != want || !strings.Contains(stderr, `\x1b[2J/d.lime": its name`) {
		t.Errorf("%d\n%s\n%s", code, stdout, stderr)
	}
}
