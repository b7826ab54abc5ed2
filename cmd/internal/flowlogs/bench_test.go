package flowlogs

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

// BenchmarkText reads the text of a VPC of 200 interfaces, as S3 has it; the bytes are those of the text.
func BenchmarkText(b *testing.B) {
	var packed bytes.Buffer
	z, size := gzip.NewWriter(&packed), 0
	for i := range 100000 {
		text := fmt.Sprintf("2 111122223333 eni-%08x 10.0.%d.%d 198.51.%d.%d %d 443 6 %d %d 1795309200 1795309260 ACCEPT OK\n", i%200, i%3, i%250, i%20, i*7%250, 1024+i*31%60000, i%90, i*1317%90000)
		if i == 0 {
			text = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n"
		}
		n, _ := z.Write([]byte(text)) //nolint:errcheck // a buffer takes all
		size += n
	}
	z.Close() //nolint:errcheck // likewise
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		w := &work{Reader: &Reader{Since: time.Unix(1795300000, 0)}, Talk: &Talk{}, i: &inventory.Instance{Interfaces: []string{"eni-00000001"}}, left: 1 << 40}
		s := &scan{Log: &Log{}, sums: &peers{own: []netip.Addr{netip.MustParseAddr("10.0.1.1")}, by: map[netip.Addr]*Peer{}}}
		if err := w.readText(b.Context(), stored(packed.Bytes()), s, "b", "k"); err != nil || s.Lines != 500 {
			b.Fatal(s.Lines, err)
		}
	}
}
