package trail

import (
	"bytes"
	"compress/gzip"
	"context"
	"strings"
	"testing"
	"testing/fstest"
)

func zipped(t *testing.T, s string) *fstest.MapFile {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: b.Bytes()}
}

// Log files are read as far as they can be; what cannot be is named, and the rest goes on.
func TestFiles(t *testing.T) {
	log := `{"x":1,"Records":[` + madeKey + `,{"eventName":"Other","eventTime":"2026-11-22T02:59:00Z"}]}`
	torn := zipped(t, log)
	torn.Data = torn.Data[:len(torn.Data)-20]
	dir := fstest.MapFS{
		"AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/22/a.json.gz": zipped(t, log),
		"b.json":                          {Data: []byte(log)},
		"torn.json.gz":                    torn,
		"list.json":                       {Data: []byte(`[1,2]`)},
		"bad.json":                        {Data: []byte(`{"Records":[{"accessKeyId":"AKIAONE"},` + madeKey + `]}`)},
		"111_CloudTrail-Digest_x.json.gz": {Data: []byte("no")},
		"notes.txt":                       {Data: []byte("AKIAONE")},
	}
	n := 0
	r, err := Files(t.Context(), dir, []string{"AKIAONE"}, func(e Event) {
		if e.By.Key == "AKIAONE" {
			n++
		}
	})
	if err != nil || n < 3 || r.Files != 5 || len(r.Bad) != 3 {
		t.Errorf("%d events of %+v, %v", n, r, err)
	}
	for i, want := range []string{"bad.json: CloudTrail event", "list.json: it is no log file", "torn.json.gz: "} {
		if !strings.HasPrefix(r.Bad[i], want) {
			t.Errorf("%q, want %q", r.Bad[i], want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Files(ctx, dir, nil, nil); err == nil {
		t.Error("a cancelled reading ended well")
	}
}
