package trail

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// maxFile bounds what a log file is when unpacked. CloudTrail's own are some ten megabytes.
const maxFile = 256 << 20

// Read is what was read of a folder.
type Read struct {
	Files, Events int
	Bytes         int64 // unpacked
	// Bad says which files could not be read to their end, and why.
	Bad []string
}

// Files reads CloudTrail's log files, NAME.json and NAME.json.gz, in a folder and those in it, and tells take of each event that has one of the
// words anywhere in it: an access key, a name. What else lies there, such as digests, is passed over. Symbolic links are not followed. The error is
// only that ctx ended or the folder cannot be listed.
func Files(ctx context.Context, dir fs.FS, words []string, take func(Event)) (r Read, err error) {
	err = fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if name == "." {
				return err
			}
			r.Bad = append(r.Bad, fmt.Sprintf("%s: %v", name, err))
			return nil
		}
		if !d.Type().IsRegular() || !isLog(name) {
			return nil
		}
		r.Files++
		if err := readFile(ctx, dir, name, words, &r, take); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			r.Bad = append(r.Bad, fmt.Sprintf("%s: %v", name, err))
		}
		return nil
	})
	return r, err
}

func isLog(name string) bool {
	if strings.Contains(path.Base(name), "CloudTrail-Digest") || strings.Contains(path.Base(name), "CloudTrail-Insight") {
		return false
	}
	return strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".json.gz")
}

func readFile(ctx context.Context, dir fs.FS, name string, words []string, r *Read, take func(Event)) error {
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var in io.Reader = bufio.NewReader(f)
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		defer z.Close()
		in = z
	}
	counted := &counter{r: io.LimitReader(in, maxFile+1)}
	defer func() { r.Bytes += counted.n }()
	var bad error // the first event that could not be read; the others are
	if err := records(json.NewDecoder(counted), func(raw json.RawMessage) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.Events++
		for _, w := range words {
			if !bytes.Contains(raw, []byte(w)) {
				continue
			}
			e, err := Parse(bytes.Clone(raw))
			if err == nil {
				take(e)
			} else if bad == nil {
				bad = err
			}
			break
		}
		return nil
	}); err != nil {
		if counted.n > maxFile {
			return fmt.Errorf("it has more than %d bytes unpacked", int64(maxFile))
		}
		return err
	}
	return bad
}

// records goes through {"Records":[...]}, an event at a time.
func records(d *json.Decoder, each func(json.RawMessage) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errors.New("it is no log file of CloudTrail"), err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		if name != "Records" {
			var skip json.RawMessage
			if err := d.Decode(&skip); err != nil {
				return err
			}
			continue
		}
		if t, err := d.Token(); err != nil || t != json.Delim('[') {
			return errors.Join(errors.New("its Records are no list"), err)
		}
		for d.More() {
			var raw json.RawMessage
			if err := d.Decode(&raw); err != nil {
				return err
			}
			if err := each(raw); err != nil {
				return err
			}
		}
		if _, err := d.Token(); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
