package flowlogs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/gzip"
)

var errNoHead = errors.New("its first line does not name the fields that tell who talked to whom")

// readFile reads a file of a log in S3: text, compressed, whose first line names the fields. It is called by several goroutines at once.
func (w *work) readFile(ctx context.Context, api s3API, s *scan, bucket, key string) error {
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
	var head format
	err = lines(z, func(text string, n int) error {
		if head == nil {
			if head = parseHead(text); head == nil {
				return errNoHead
			}
			return w.spend(s, n)
		}
		return w.countOwn(s, head, text, n)
	})
	if err == nil && head == nil {
		return errNoHead
	}
	return err
}

// lines calls f with each line of a text and its length; of one that is longer than any of a log, with its beginning.
func lines(r io.Reader, f func(text string, n int) error) error {
	b := bufio.NewReaderSize(r, 2*maxLine)
	for {
		line, more, err := b.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		text, n := string(line), len(line)+1
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
func parseHead(line string) format {
	words := strings.Fields(line)
	if len(words) == 0 || len(line) > maxLine {
		return nil
	}
	return parseFormat("${" + strings.Join(words, "} ${") + "}")
}

// countOwn counts a line of a file that has those of all interfaces of a VPC or subnet, if it is one of the instance's.
func (w *work) countOwn(s *scan, f format, text string, n int) error {
	if err := w.spend(s, n); err != nil {
		return err
	}
	if own, tells := w.ownLine(f, text); tells && !own {
		return nil
	}
	w.count(s, f, text)
	return nil
}

// ownLine reports whether a line was recorded at an interface of the instance, and whether it tells where it was.
func (w *work) ownLine(f format, text string) (own, tells bool) {
	words := strings.Fields(text)
	if i, ok := f["interface-id"]; ok && i < len(words) {
		return slices.Contains(w.i.Interfaces, words[i]), true
	}
	if i, ok := f["instance-id"]; ok && i < len(words) {
		return words[i] == w.i.ID, true
	}
	return false, false
}
