package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
	"time"
)

// maxRows is how many rows the fuzzed files are read for: who reads has such a bound, since a file of some bytes may have as many equal rows as it likes.
const maxRows = 100000

// readBounded reads all columns of a file, and fails if that took more memory or time than files may.
func readBounded(t *testing.T, b []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, rows := time.Now(), 0
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err == nil {
		names := f.Columns()
		err = f.Read(t.Context(), names[:min(len(names), 20)], func(values [][]byte) error {
			for _, v := range values {
				if len(v) > maxValue {
					t.Fatalf("a value of %d bytes", len(v))
				}
			}
			if rows++; rows == maxRows {
				return errors.New("enough")
			}
			return nil
		})
	}
	runtime.ReadMemStats(&after)
	// All that was taken, much of it let go meanwhile: no more than is held, and than the best compressed page has.
	if took := after.TotalAlloc - before.TotalAlloc; took > 2*(maxHeld+maxPage)+2000*uint64(len(b)) {
		t.Fatalf("%d bytes took %d MiB: %v", len(b), took>>20, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Fatalf("%d bytes took %s: %v", len(b), took, err)
	}
}

// FuzzRead: no file takes more memory or time than its bounds, or breaks the reader.
func FuzzRead(f *testing.F) {
	for _, name := range append(files, "odd") {
		f.Add(load(f, name+".parquet"))
	}
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(readBounded)
}

// FuzzFooter: likewise a description alone, behind which there are pages: most changes of a file are in its pages, and this finds the others.
func FuzzFooter(f *testing.F) {
	body := load(f, "gzip.parquet")
	end := len(body) - 8
	end -= int(binary.LittleEndian.Uint32(body[end:]))
	f.Add(body[end : len(body)-8])
	f.Fuzz(func(t *testing.T, footer []byte) {
		b := append(bytes.Clone(body[:end]), footer...)
		readBounded(t, append(binary.LittleEndian.AppendUint32(b, uint32(len(footer))), magic...))
	})
}
