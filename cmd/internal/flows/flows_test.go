package flows

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/transport"
)

// What ss of iproute2 6.1 and 4.15 print (details in a line of their own), and 6.1 with -O.
const before = `own 192.0.2.9 51000 10.0.0.5 22
0      0      10.0.0.5:22 192.0.2.9:51000
	 cubic wscale:7,7 rto:204 bytes_sent:900 bytes_acked:900 bytes_received:300 segs_out:14
0      0      10.0.0.5:41000 203.0.113.9:443
	 cubic wscale:7,7 bytes_acked:100 bytes_received:50 send 184320bps
0      36     [::ffff:10.0.0.5]:8080 [::ffff:198.51.100.7]:40000 cubic bytes_acked:10 bytes_received:5
0      0      [fe80::1%eth0]:5000 [fe80::2]:6000
	 cubic bytes_acked:7 bytes_received:7
0      0      127.0.0.1:5432 127.0.0.1:40100
	 cubic bytes_acked:1 bytes_received:50
0      0      10.0.0.5:5001 10.0.0.6:6001
	 cubic bytes_acked:500
end
`

var after = strings.NewReplacer(
	"bytes_acked:900", "bytes_acked:2000", // ours
	"bytes_received:50", "bytes_received:1074",
	"bytes_acked:7", "bytes_acked:8",
	"bytes_acked:500", "bytes_acked:3", // another one on the same ports
).Replace(before)

// texts is a connection that prints one text after another.
type texts struct {
	transport.Conn
	left []string
}

func (s *texts) Run(_ context.Context, c *transport.Cmd) error {
	if len(s.left) == 0 {
		return errors.New("connection lost")
	}
	_, err := io.WriteString(c.Stdout, s.left[0])
	s.left = s.left[1:]
	return err
}

func look(t *testing.T, all ...string) ([]Flow, error) {
	return Look(t.Context(), &texts{left: all}, time.Millisecond)
}

func TestLook(t *testing.T) {
	got, err := look(t, before, after)
	if err != nil {
		t.Fatal(err)
	}
	want := []Flow{{"10.0.0.5:41000", "203.0.113.9:443", 1024}, {"10.0.0.5:5001", "10.0.0.6:6001", 3}, {"fe80::1:5000", "fe80::2:6000", 1}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got, err := look(t, before, before); err != nil || len(got) > 0 {
		t.Errorf("nothing moved: %v, %v", got, err)
	}
	// A connection that is new has moved all its bytes.
	if got, err := look(t, "own\nend\n", before); err != nil || len(got) != 4 {
		t.Errorf("all new: %v, %v", got, err)
	}
}

// Whatever is not understood is an error: no flow is taken for dead because it was not read.
func TestLookRefuses(t *testing.T) {
	for name, printed := range map[string][]string{
		"cut off": {before, strings.TrimSuffix(after, "end\n")},
		"lost":    {before},
		"no ss":   {"own 1 2 3 4\n"},
		"garbage": {"own\nss: command not found\nend\n"},
		"nothing": {""},
		"details": {"own\n\t cubic bytes_acked:1\nend\n"},
	} {
		if got, err := look(t, printed...); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Look(ctx, &texts{left: []string{before, after}}, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
