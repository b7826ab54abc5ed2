package flowlogs

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/gzip"
)

var (
	errNoHead    = errors.New("its first line does not name the fields that tell who talked to whom")
	errNoColumns = errors.New("it has no columns that tell who talked to whom")
)

// readFile reads a file of a log in S3. It is called by several goroutines at once.
func (w *work) readFile(ctx context.Context, api s3API, s *scan, bucket string, f file) error {
	if strings.HasSuffix(f.key, ".parquet") {
		return w.readParquet(ctx, s, &object{ctx: ctx, api: api, bucket: bucket, file: f})
	}
	return w.readText(ctx, api, s, bucket, f.key)
}

// readText reads text, compressed, whose first line names the fields.
func (w *work) readText(ctx context.Context, api s3API, s *scan, bucket, key string) error {
	out, err := api.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	z, err := gzip.NewReader(out.Body)
	if err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	defer z.Close()
	var t *tally
	err = lines(z, func(text []byte, n int) error {
		if t != nil {
			return t.line(text, n)
		}
		head := parseHead(text)
		if head == nil {
			return errNoHead
		}
		t = w.tally(s, head)
		t.own = true
		return t.spend(n)
	})
	if t == nil {
		return cmp.Or(err, errNoHead)
	}
	return cmp.Or(err, t.flush())
}

// lines calls f with each line of a text and its length; of one that is longer than any of a log, with its beginning.
func lines(r io.Reader, f func(text []byte, n int) error) error {
	b := bufio.NewReaderSize(r, 2*maxLine)
	for {
		line, more, err := b.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		text, n := line, len(line)+1
		if more {
			text = bytes.Clone(line) // what follows takes its place
		}
		for more && err == nil {
			if line, more, err = b.ReadLine(); err == nil {
				n += len(line)
			}
			if n > 1<<20 {
				return fmt.Errorf("a line is longer than %d bytes", 1<<20)
			}
		}
		if err := f(text, n); err != nil {
			return err
		}
	}
}

// parseHead reads the first line of a file; nil if it names no fields that tell who talked to whom.
func parseHead(line []byte) *format {
	if len(line) > maxLine {
		return nil
	}
	return formatOf(strings.Fields(string(line)))
}
