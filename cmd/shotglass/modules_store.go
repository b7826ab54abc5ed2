package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// storeModule writes a module and its record to a folder: both, or neither. The same module may be there already, and
// keeps its record; another is not overwritten.
func storeModule(ctx context.Context, dir string, m *kernelmodules.Module, record *kernelmodules.Record) (string, error) {
	name := "lime-" + record.Release + "-" + record.Machine + ".ko"
	path := filepath.Join(dir, name)
	recordPath := kernelmodules.RecordName(path)
	data, err := record.Bytes()
	if err != nil {
		return "", err
	}
	have, moduleErr := os.ReadFile(path)
	_, recordErr := os.Lstat(recordPath)
	switch {
	case moduleErr == nil && !bytes.Equal(have, m.Data):
		return "", fmt.Errorf("%s is there, and another module; nothing is overwritten: %w", path, fs.ErrExist)
	case moduleErr == nil && recordErr == nil:
		return path, nil
	case errors.Is(moduleErr, fs.ErrNotExist) && recordErr == nil:
		return "", fmt.Errorf("%s is there without its module; nothing is overwritten: move it away: %w", recordPath, fs.ErrExist)
	}
	if _, err := writeModule(ctx, dir, name, m.Data); err != nil {
		return "", err
	}
	if _, err := writeModule(ctx, dir, filepath.Base(recordPath), data); err != nil {
		if moduleErr != nil { // it was not there before
			err = errors.Join(err, os.Remove(path))
		}
		return "", err
	}
	return path, nil
}
