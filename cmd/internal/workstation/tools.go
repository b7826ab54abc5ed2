package workstation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/shotglass-ir/shotglass/sink"
)

// A Tool is a file that the instance installs, if it has this digest there.
type Tool struct{ Path, Name, SHA256 string }

// Object is its name in the bucket: another file is another object, so nothing is ever replaced.
func (t Tool) Object() string { return t.SHA256 + "-" + t.Name }

var toolName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

// maxSums is what a parameter of CloudFormation takes.
const maxSums = 4096

// Tools are the files of a folder, with their digests, and the lines that sha256sum would write. Folders in it are an error: nothing
// that was meant to be there shall be missing in silence.
func Tools(dir string) (list []Tool, sums string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, "", err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.Type().IsRegular() {
			return nil, "", fmt.Errorf("%s: want files only", path)
		}
		if !toolName.MatchString(e.Name()) {
			return nil, "", fmt.Errorf("%q: want letters, digits and ._+- in the name of a tool", path)
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, "", err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, "", fmt.Errorf("read %s: %w", path, err)
		}
		t := Tool{path, e.Name(), hex.EncodeToString(h.Sum(nil))}
		list = append(list, t)
		sums += t.SHA256 + "  " + t.Name + "\n"
	}
	if len(sums) > maxSums {
		return nil, "", fmt.Errorf("%s: the digests of %d files have %d bytes, and %d can be handed over: put wheels into fewer files", dir, len(list), len(sums), maxSums)
	}
	return list, sums, nil
}

// Upload stores a tool. One that is there under its digest is left; the instance checks what it is.
func (t Tool) Upload(ctx context.Context, to sink.Sink) (err error) {
	f, err := os.Open(t.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	o, err := to.Create(ctx, t.Object())
	if errors.Is(err, sink.ErrExists) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", t.Name, err)
	}
	h := sha256.New()
	if _, err = io.Copy(io.MultiWriter(o, h), f); err == nil && hex.EncodeToString(h.Sum(nil)) != t.SHA256 {
		err = errors.New("it changed meanwhile")
	}
	if err == nil {
		_, err = o.Commit(ctx)
	}
	switch {
	case errors.Is(err, sink.ErrExists):
		return errors.Join(o.Abort(context.WithoutCancel(ctx)))
	case err != nil:
		return fmt.Errorf("store %s: %w", t.Name, errors.Join(err, o.Abort(context.WithoutCancel(ctx))))
	}
	return nil
}
