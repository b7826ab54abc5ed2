package repository

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// lockFile keeps publishers in one folder apart. It stays: who removed it could
// remove the one of the next.
const lockFile = ".publish.lock"

// newFile begins the names of files that are not finished.
const newFile = ".new-"

// A FolderDepot publishes into a folder. The version of a file is its SHA-256.
type FolderDepot struct {
	Folder
	step func(what string) error // for tests: called before each change of the disk
}

var _ Depot = (*FolderDepot)(nil)

// NewFolderDepot returns the place in the folder at path, which is made when something is written.
func NewFolderDepot(path string) (*FolderDepot, error) {
	f, err := NewFolder(path)
	if err != nil {
		return nil, err
	}
	return &FolderDepot{Folder: *f, step: func(string) error { return nil }}, nil
}

// Lock takes the lock that the system gives up when this process ends, however it ends. Then it
// removes what an earlier one left unfinished.
func (d *FolderDepot) Lock(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.path, 0o777); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockHandle(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrBusy, filepath.Join(d.path, lockFile), err)
	}
	return func() { f.Close() }, d.sweep(root)
}

// sweep removes unfinished files. Only publishers write them, and there is no other now.
func (d *FolderDepot) sweep(root *os.Root) error {
	for _, dir := range []string{".", "repodata", "modules"} {
		entries, err := fs.ReadDir(root.FS(), dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), newFile) && e.Type().IsRegular() {
				if err := root.Remove(filepath.FromSlash(path.Join(dir, e.Name()))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Look reads a file.
func (d *FolderDepot) Look(ctx context.Context, name string, limit int64) ([]byte, string, error) {
	data, err := d.Fetch(ctx, name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	return data, digestOf(data), nil
}

// Put writes a file under another name, makes it durable, and gives it its name. The lock must
// be held.
func (d *FolderDepot) Put(ctx context.Context, name string, data []byte, version string) (next string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return "", err
	}
	defer root.Close()
	dir := path.Dir(name)
	if err := d.step("make the folder of " + name); err != nil {
		return "", err
	}
	if err := root.MkdirAll(filepath.FromSlash(dir), 0o777); err != nil {
		return "", err
	}
	temp := filepath.FromSlash(path.Join(dir, newFile+strings.ToLower(rand.Text())))
	if err := d.step("create " + name); err != nil {
		return "", err
	}
	if err := d.write(root, temp, name, data); err != nil {
		return "", errors.Join(err, root.Remove(temp))
	}
	if err := d.rename(ctx, root, temp, name, version); err != nil {
		root.Remove(temp) // if it still has that name
		return "", err
	}
	if err := d.step("sync the folder of " + name); err != nil {
		return "", err
	}
	return digestOf(data), syncDir(root, filepath.FromSlash(dir))
}

func (d *FolderDepot) write(root *os.Root, temp, name string, data []byte) (err error) {
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, half := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		if err := d.step("write " + name); err != nil {
			return err
		}
		if _, err := f.Write(half); err != nil {
			return err
		}
	}
	if err := d.step("sync " + name); err != nil {
		return err
	}
	return f.Sync()
}

// rename gives the file its name, if what has that name is still of that version.
func (d *FolderDepot) rename(ctx context.Context, root *os.Root, temp, name, version string) error {
	_, have, err := d.Look(ctx, name, maxPut)
	switch {
	case err != nil:
		return err
	case have != version:
		return fmt.Errorf("%s: %w", name, ErrChanged)
	}
	if err := d.step("rename " + name); err != nil {
		return err
	}
	return root.Rename(temp, filepath.FromSlash(name))
}

// maxPut bounds what may lie under a name that is to be written.
const maxPut = 64 << 20

// syncDir makes names in a folder durable, where a system can do that.
func syncDir(root *os.Root, dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
