package flowlogs_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shotglass-ir/shotglass/cmd/internal/flowlogs"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// golden is a file that another program made: the rows of rows.log.
func golden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "parquet", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenWorld is a world whose target is the one in the golden files, from 01:00 on, with a log.
func goldenWorld(t *testing.T, l awsfake.FlowLog) (w *world, b *awsfake.Bucket, since time.Time) {
	w = newWorld(t)
	w.target.Created, w.target.Interfaces, w.target.IPv6 = time.Time{}, []string{"eni-00000001"}, []string{"2001:db8:1::1"}
	w.log(l)
	return w, w.r.AddBucket("flows"), awsfake.Start.Add(-2 * time.Hour)
}

// Logs in Parquet say what the same ones say as text, in every layout of the bucket, compression and encoding.
func TestParquet(t *testing.T) {
	text := s3Log("fl-1")
	w, b, since := goldenWorld(t, text)
	for at := since; !at.After(awsfake.Start); at = at.Add(time.Hour) {
		body := []string{head}
		if at.Equal(since) {
			body = strings.Split(strings.TrimSpace(string(golden(t, "rows.log"))), "\n")
		}
		w.put(b, text, at, packed(body...))
	}
	want := w.read(flowlogs.Reader{Since: since, Until: awsfake.Start})
	if len(want.Peers) != 12 || want.Logs[0].Lines != 150 || want.Logs[0].Skipped != 2 || len(want.Missing) != 1 {
		t.Fatalf("%+v", want)
	}
	for n, name := range []string{"gzip", "snappy", "none", "zstd2", "delta"} {
		for _, l := range []awsfake.FlowLog{{}, {Hive: true}, {Hourly: true}, {Hive: true, Hourly: true}} {
			t.Run(fmt.Sprintf("%s %v %v", name, l.Hive, l.Hourly), func(t *testing.T) {
				of := s3Log("fl-1")
				of.Parquet, of.Hive, of.Hourly = true, l.Hive, l.Hourly
				w, b, since := goldenWorld(t, of)
				w.cloud.PageSize = 1 + n
				w.put(b, of, since, golden(t, name+".parquet"))
				for _, later := range []time.Duration{time.Hour, 2 * time.Hour} {
					of.Parquet = false // a bucket may have both
					w.put(b, of, since.Add(later), packed(head))
				}
				got := w.read(flowlogs.Reader{Since: since, Until: awsfake.Start})
				if diff := cmp.Diff(want, got, cmpopts.EquateComparable(want.Peers[0].Address)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// What a file in Parquet does not tell is said, and does not keep others from being read.
func TestParquetMissing(t *testing.T) {
	whole := golden(t, "gzip.parquet")
	for name, c := range map[string]struct {
		body  []byte
		bytes int64
		want  string
	}{
		"cut":        {whole[:len(whole)-4], 0, "fl-1: of 4 files 1 could not be read whole: \"net/AWSLogs/"},
		"text":       {packed(head), 0, "it does not end as a Parquet file does"},
		"empty":      {nil, 0, "it is too short for a Parquet file"},
		"no columns": {golden(t, "odd.parquet"), 0, "it has no columns that tell who talked to whom"},
		"bytes":      {whole, 5000, "fl-1: more than 5000 bytes: the rest was not read"},
	} {
		t.Run(name, func(t *testing.T) {
			l := s3Log("fl-1")
			l.Parquet = true
			w, b, since := goldenWorld(t, l)
			for i := range 3 {
				w.put(b, l, since.Add(time.Duration(i)*time.Hour), whole)
			}
			w.put(b, l, since.Add(30*time.Minute), c.body)
			got := w.read(flowlogs.Reader{Since: since, Until: awsfake.Start, Bytes: c.bytes})
			if all := strings.Join(got.Missing, "\n"); !strings.Contains(all, c.want) {
				t.Error(all)
			}
			if c.bytes == 0 && got.Logs[0].Lines != 450 {
				t.Errorf("%d lines", got.Logs[0].Lines)
			}
		})
	}
}

// Of a large file only its end and the columns that are needed are fetched; one that is replaced meanwhile is not read as if it were the one that was listed.
func TestParquetLarge(t *testing.T) {
	l := s3Log("fl-1")
	l.Parquet = true
	w, b, since := goldenWorld(t, l)
	body := golden(t, "gzip.parquet")
	at := len(body) - 8 - int(binary.LittleEndian.Uint32(body[len(body)-8:]))
	large := slices.Concat(body[:at], make([]byte, 5<<20), body[at:])
	key := w.put(b, l, since, large)
	read := func() (*flowlogs.Talk, int) {
		w.cloud.Reset()
		got := w.read(flowlogs.Reader{Since: since, Until: since.Add(50 * time.Minute)})
		n := 0
		for _, c := range w.cloud.Calls() {
			if c.Action == "s3:GetObject" {
				n++
			}
		}
		return got, n
	}
	got, calls := read()
	if got.Logs[0].Lines != 76 || len(got.Missing) != 0 || calls != 2+13 {
		t.Errorf("%d lines in %d calls: %q", got.Logs[0].Lines, calls, got.Missing)
	}
	n := 0
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Action == "s3:GetObject" {
				if n++; n == 5 {
					b.Objects[key] = append(large, ' ')
				}
			}
			return awsfake.Fault{}
		}
	})
	if got, _ := read(); len(got.Missing) != 1 || !strings.Contains(got.Missing[0], "fl-1: of 1 files 1 could not be read whole") || !strings.Contains(got.Missing[0], "PreconditionFailed") {
		t.Errorf("%q", got.Missing)
	}
}
