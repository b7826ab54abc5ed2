package parquet

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lines are a file's rows as a flow log's text has them.
func lines(b []byte, names ...string) (list []string, err error) {
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		names = f.Columns()
		list = append(list, strings.ReplaceAll(strings.Join(names, " "), "_", "-"))
	}
	err = f.Read(context.Background(), names, func(values [][]byte) error {
		var words []string
		for _, v := range values {
			if v == nil {
				v = []byte("-")
			}
			words = append(words, string(v))
		}
		list = append(list, strings.Join(words, " "))
		return nil
	})
	return list, err
}

var files = []string{"gzip", "snappy", "none", "zstd2", "delta"}

// What another program wrote, in whatever compression, encoding, version and size of pages and row groups, is read as it was.
func TestRead(t *testing.T) {
	want := strings.Split(strings.TrimSpace(string(load(t, "rows.log"))), "\n")
	for _, name := range files {
		t.Run(name, func(t *testing.T) {
			got, err := lines(load(t, name+".parquet"))
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// Columns are found beside lists and groups; what is not read is refused by name.
func TestOdd(t *testing.T) {
	b := load(t, "odd.parquet")
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if diff := cmp.Diff([]string{"srcaddr", "number", "real"}, f.Columns()); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if got, err := lines(b, "srcaddr", "srcaddr"); err != nil || !cmp.Equal(got, []string{"10.0.0.1 10.0.0.1", "10.0.0.2 10.0.0.2"}) {
		t.Error(got, err)
	}
	for name, want := range map[string]string{
		"number": `column "number": its compression, BROTLI, is not read`,
		"real":   `column "real": values of the type number 5 are not read`,
		"gone":   `it has no column "gone"`,
		"list":   `it has no column "list"`,
	} {
		if _, err := lines(b, name); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file that is cut, or of which a byte was changed, is refused or read; no row of it is there that its checksums do not vouch for.
func TestDamaged(t *testing.T) {
	whole := load(t, "none.parquet")
	want, err := lines(whole)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 200 {
		if _, err := lines(whole[:len(whole)-n-1]); err == nil {
			t.Fatalf("without the last %d bytes", n+1)
		}
	}
	known := map[string]bool{}
	for _, l := range want {
		known[l] = true
	}
	refused := 0
	footer := len(whole) - 8 - int(binary.LittleEndian.Uint32(whole[len(whole)-8:]))
	for at := 4; at < footer; at += 41 {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		got, err := lines(b)
		if err != nil {
			refused++
			continue
		}
		for _, l := range got {
			if !known[l] {
				t.Fatalf("byte %d: %q", at, l)
			}
		}
	}
	if refused < 500 {
		t.Errorf("%d refused", refused)
	}
}

// What a row's function returns ends the reading.
func TestStop(t *testing.T) {
	b, stop := load(t, "gzip.parquet"), errors.New("enough")
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := f.Read(t.Context(), []string{"bytes"}, func([][]byte) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Error(n, err)
	}
}

// Pages without values may go on for ever: the end of ctx ends them.
func TestCancelled(t *testing.T) {
	b := load(t, "none.parquet")
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	end := errors.New("the end")
	ctx, cancel := context.WithCancelCause(t.Context())
	rows := 0
	err = f.Read(ctx, []string{"bytes"}, func([][]byte) error {
		if rows++; rows == 5 {
			cancel(end)
		}
		return nil
	})
	if !errors.Is(err, end) || rows > 70 { // the first row group has as many, in one page
		t.Error(rows, err)
	}
}

// A ranges counts what is read.
type ranges struct {
	b    []byte
	read int
}

func (r *ranges) ReadAt(p []byte, at int64) (int, error) {
	r.read += len(p)
	return bytes.NewReader(r.b).ReadAt(p, at)
}

// Only the footer and the columns that are asked for are read.
func TestRanges(t *testing.T) {
	r := &ranges{b: load(t, "none.parquet")}
	f, err := Open(r, int64(len(r.b)))
	if err != nil {
		t.Fatal(err)
	}
	footer, rows := r.read, 0
	if err := f.Read(t.Context(), []string{"srcport", "bytes"}, func([][]byte) error { rows++; return nil }); err != nil || rows != 300 {
		t.Fatal(rows, err)
	}
	if got := r.read - footer; got > len(r.b)/4 || got == 0 {
		t.Errorf("%d of %d", got, len(r.b))
	}
}
