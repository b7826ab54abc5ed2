package flowlogs

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/gzip"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

// FuzzLine: no format and no line makes a flow that was not there, or a sum that is wrong.
func FuzzLine(f *testing.F) {
	f.Add(DefaultFormat, "2 1 eni-x 198.51.100.7 10.0.0.1 5 22 6 1 10 1 2 ACCEPT OK")
	f.Add("${pkt-srcaddr} ${pkt-dstaddr}", "fe80::1%eth0 10.0.0.1")
	f.Add("${srcaddr} ${dstaddr} ${pkt-srcaddr} ${pkt-dstaddr}", "192.0.2.1 10.0.0.1 192.0.2.1 192.0.2.2")
	f.Fuzz(func(t *testing.T, text, line string) {
		form := parseFormat(text)
		if form == nil {
			return
		}
		p := &peers{own: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, by: map[netip.Addr]*Peer{}}
		for range 3 {
			if x, k := form.parse(split([]byte(line), nil), addresses{}); k == aFlow {
				p.add(x)
			}
		}
		for _, n := range p.by {
			if n.Flows != 3 || n.In < 0 || n.Out < 0 || n.Address == p.own[0] || len(n.Ports) > maxPorts {
				t.Fatalf("%+v", n)
			}
		}
	})
}

// A stored is S3 with one object.
type stored []byte

func (o stored) ListObjectsV2(context.Context, *s3.ListObjectsV2Input, ...func(*s3.Options)) (*s3.ListObjectsV2Output, error) {
	return &s3.ListObjectsV2Output{}, nil
}

func (o stored) GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	return &s3.GetObjectOutput{Body: io.NopCloser(bytes.NewReader(o))}, nil
}

// FuzzFile: a file that anybody may have put into the bucket neither spends more than its bound nor counts lines of others.
func FuzzFile(f *testing.F) {
	head := "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n"
	f.Add([]byte(head+"2 1 eni-x 198.51.100.7 10.0.0.1 5 22 6 1 10 1 2 ACCEPT OK\n"), true)
	f.Add([]byte(head+strings.Repeat("x", 9000)+"\n2 1 eni-y 198.51.100.7 10.0.0.1 5 22 6 1 10 1 2 ACCEPT OK"), true)
	f.Add([]byte("rubbish"), false)
	f.Fuzz(func(t *testing.T, body []byte, compress bool) {
		o, text := stored(body), string(body)
		if compress {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(body) //nolint:errcheck // a buffer takes all
			z.Close()     //nolint:errcheck // likewise
			o = b.Bytes()
		}
		w := &work{Reader: &Reader{}, Talk: &Talk{}, i: &inventory.Instance{Interfaces: []string{"eni-x"}}, left: 10000}
		s := &scan{Log: &Log{}, sums: &peers{own: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, by: map[netip.Addr]*Peer{}}}
		err := w.readText(t.Context(), o, s, "b", "k")
		if w.left < 0 && err == nil || s.Lines > 10000+batch {
			t.Fatalf("%d left after %d lines: %v", w.left, s.Lines, err)
		}
		if compress && strings.HasPrefix(text, head) && s.Lines-s.Bad > strings.Count(text, "eni-x") {
			t.Fatalf("%d lines of %q", s.Lines, text)
		}
	})
}
