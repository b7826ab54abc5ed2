package containment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Dir keeps journals as files of a folder, which it makes with mode 0700. The files have mode 0600. Each
// line is synced before Append returns; the folder too, when a file is made. A line that a crash
// cut off had not been acted on: it is put aside, as NAME.torn, when the journal is opened
// again.
type Dir string

func (d Dir) String() string { return string(d) }

func (d Dir) path(name string) (string, error) {
	if name != filepath.Base(name) || name == "." || name == ".." {
		return "", fmt.Errorf("%q is no plain file name", name)
	}
	return filepath.Join(string(d), name), nil
}

// Load implements Journals.
func (d Dir) Load(_ context.Context, name string) ([]byte, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoJournal)
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return b[:bytes.LastIndexByte(b, '\n')+1], nil
}

// Open implements Journals. A lock on the file tells others, until Close or the end of the process.
func (d Dir) Open(_ context.Context, name string) (Journal, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("make folder for journals: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &fileJournal{f: f}
	if err := j.begin(string(d)); err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, errors.Join(err, f.Close()))
	}
	return j, nil
}

type fileJournal struct {
	mu     sync.Mutex
	f      *os.File
	failed error
}

func (j *fileJournal) begin(dir string) error {
	if err := lock(j.f); err != nil {
		return err
	}
	b, err := io.ReadAll(j.f)
	if err != nil {
		return err
	}
	if whole := int64(bytes.LastIndexByte(b, '\n') + 1); whole < int64(len(b)) {
		torn, err := os.OpenFile(j.f.Name()+".torn", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		_, err = torn.Write(append(b[whole:], '\n'))
		if err = errors.Join(err, torn.Sync(), torn.Close()); err != nil {
			return err
		}
		if err := j.f.Truncate(whole); err != nil {
			return err
		}
	}
	return errors.Join(j.f.Sync(), syncDir(dir))
}

func (j *fileJournal) Load(context.Context) ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	info, err := j.f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	b := make([]byte, info.Size())
	if _, err := j.f.ReadAt(b, 0); err != nil && len(b) > 0 {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return b, nil
}

func (j *fileJournal) Append(_ context.Context, _ int, line []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return j.failed
	}
	_, err := j.f.Write(line)
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		j.failed = fmt.Errorf("write journal %s: %w", j.f.Name(), err)
	}
	return j.failed
}

func (j *fileJournal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.f.Close()
}

// List implements Journals.
func (d Dir) List(context.Context) ([]string, error) {
	files, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list journals: %w", err)
	}
	var names []string
	for _, f := range files {
		if strings.HasSuffix(f.Name(), JournalSuffix) {
			names = append(names, f.Name())
		}
	}
	return names, nil
}
