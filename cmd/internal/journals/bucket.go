// Package journals keeps the journals of package containment in an evidence bucket, and
// in several places at once.
package journals

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink"
)

// A Place is where objects lie: a sink that can be read and listed.
type Place interface {
	sink.Sink
	sink.Opener
	sink.Lister
}

// Bucket keeps journals where objects cannot grow, such as S3: each line is an object of its
// own, NAME-00000012.json. An object is never overwritten, so of two who write the same line
// at once the second is told that the journal is busy. A lock on objects (Object Lock) then
// holds for each line from the moment that it is written.
type Bucket struct{ Place Place }

var _ containment.Journals = Bucket{}

// maxLine bounds what is read of one line: a plan of a thousand changes has some 2 MiB.
const maxLine = 16 << 20

func (b Bucket) String() string { return b.Place.String() }

func lineName(name string, seq int) string {
	return fmt.Sprintf("%s-%08d.json", strings.TrimSuffix(name, ".jsonl"), seq)
}

// ofLine is the journal that a line belongs to, "" if the object is none.
func ofLine(object string) string {
	s, ok := strings.CutSuffix(object, ".json")
	if n := len(s) - len("-00000000"); ok && n > 0 && s[n] == '-' && strings.Trim(s[n+1:], "0123456789") == "" {
		if name := s[:n] + ".jsonl"; strings.HasSuffix(name, containment.JournalSuffix) {
			return name
		}
	}
	return ""
}

// List implements containment.Journals.
func (b Bucket) List(ctx context.Context) ([]string, error) {
	l, err := b.Place.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list journals: %w", err)
	}
	var names []string
	for _, o := range l.Objects {
		if n := ofLine(o.Name); n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names, nil
}

// Load implements containment.Journals. A line that is missing between others shows as a break of
// the journal's chain.
func (b Bucket) Load(ctx context.Context, name string) ([]byte, error) {
	l, err := b.Place.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	var objects []string
	for _, o := range l.Objects {
		if ofLine(o.Name) == name {
			objects = append(objects, o.Name)
		}
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("%s in %s: %w", name, b, containment.ErrNoJournal)
	}
	slices.Sort(objects)
	lines := make([][]byte, len(objects))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, o := range objects {
		g.Go(func() (err error) {
			lines[i], err = b.line(ctx, o)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return bytes.Join(lines, nil), nil
}

func (b Bucket) line(ctx context.Context, object string) ([]byte, error) {
	r, err := b.Place.Open(ctx, object)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	line, err := io.ReadAll(io.LimitReader(io.NewSectionReader(r, 0, r.Size()), maxLine+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object, err)
	}
	if len(line) > maxLine || bytes.IndexByte(line, '\n') != len(line)-1 {
		return nil, fmt.Errorf("%s is no line of a journal", object)
	}
	return line, nil
}

// Open implements containment.Journals. It makes nothing yet: the first line does.
func (b Bucket) Open(_ context.Context, name string) (containment.Journal, error) {
	if err := sink.ValidName(lineName(name, 0)); err != nil {
		return nil, err
	}
	return &bucketJournal{bucket: b, name: name}, nil
}

type bucketJournal struct {
	bucket Bucket
	name   string
}

func (j *bucketJournal) Load(ctx context.Context) ([]byte, error) {
	b, err := j.bucket.Load(ctx, j.name)
	if errors.Is(err, containment.ErrNoJournal) {
		return nil, nil
	}
	return b, err
}

func (j *bucketJournal) Append(ctx context.Context, seq int, line []byte) error {
	name := lineName(j.name, seq)
	o, err := j.bucket.Place.Create(ctx, name)
	if err == nil {
		if _, err = o.Write(line); err == nil {
			_, err = o.Commit(ctx)
		}
		if err != nil {
			err = errors.Join(err, o.Abort(context.WithoutCancel(ctx)))
		}
	}
	if errors.Is(err, sink.ErrExists) {
		return fmt.Errorf("%s in %s is taken: %w", name, j.bucket, containment.ErrBusy)
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

func (j *bucketJournal) Close() error { return nil }
