// Package parquet reads columns of flat Parquet files that nobody vouches for: those that a hostile account may have put into a bucket.
//
// A File holds some tens of MiB at most, whatever the file says of itself: pages are decoded one at a time, and their values one by one, so
// that no number in it decides how much memory is taken. What is not read is refused by name: columns in groups, encryption, BROTLI, LZO and
// LZ4, and types other than INT32, INT64 and BYTE_ARRAY.
//
// The format: https://parquet.apache.org/docs/file-format/.
package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Physical types.
const (
	kindInt32, kindInt64, kindBytes = 1, 2, 6
	required, optional              = 0, 1
)

// A column is one of the file.
type column struct {
	name             string
	kind, repetition int64
}

// A File is a Parquet file. It is for one goroutine.
type File struct {
	r       io.ReaderAt
	size    int64
	columns []column
	groups  []group
	held    int             // bytes of pages and dictionaries that are held
	ctx     context.Context // of the reading
	packed  []byte          // a page as it is stored, until it is unpacked
}

// Open reads the description of a file of size bytes. r is read in ranges, and only of the columns that are asked for.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size}
	if err := f.readFooter(); err != nil {
		return nil, err
	}
	return f, nil
}

// Columns are the names of the columns.
func (f *File) Columns() (names []string) {
	for _, c := range f.columns {
		names = append(names, c.name)
	}
	return names
}

// Read calls row for each row with the values of the named columns, numbers as decimal text, nil where there is none. They hold until row
// returns. An error of row ends the reading and is returned, as does the end of ctx: a small file may unpack to more than anybody waits for.
func (f *File) Read(ctx context.Context, names []string, row func(values [][]byte) error) error {
	f.ctx = ctx
	for _, g := range f.groups {
		if err := f.readGroup(g, names, row); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) readGroup(g group, names []string, row func([][]byte) error) error {
	f.held = 0
	readers := make([]*reader, len(names))
	for i, name := range names {
		c := slices.IndexFunc(f.columns, func(c column) bool { return c.name == name })
		at := slices.IndexFunc(g.chunks, func(c chunk) bool { return c.name == name })
		if c < 0 || at < 0 {
			return fmt.Errorf("it has no column %q", name)
		}
		var err error
		if readers[i], err = f.reader(f.columns[c], g.chunks[at]); err != nil {
			return fmt.Errorf("column %q: %w", name, err)
		}
	}
	values := make([][]byte, len(names))
	for n := range g.rows {
		if n%1024 == 0 && f.ctx.Err() != nil {
			return context.Cause(f.ctx)
		}
		for i, r := range readers {
			var err error
			if values[i], err = r.next(); err != nil {
				return fmt.Errorf("column %q: %w", names[i], err)
			}
		}
		if err := row(values); err != nil {
			return err
		}
	}
	for i, r := range readers {
		if _, err := r.next(); !errors.Is(err, errNoMore) {
			return fmt.Errorf("column %q has more values than its row group has rows", names[i])
		}
	}
	return nil
}
