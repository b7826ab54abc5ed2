package sink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Disk is a sink in a folder of a file system. An object is written to
// name + PartialSuffix, so that a crash, or kill -9, leaves the bytes there and
// called partial; Commit renames it, without ever replacing a file.
type Disk struct {
	dir string // absolute
	ops diskOps
}

var (
	_ Sink         = (*Disk)(nil)
	_ Opener       = (*Disk)(nil)
	_ SpaceChecker = (*Disk)(nil)
	_ Checker      = (*Disk)(nil)
)

// diskOps are the steps whose order makes a commit durable; tests record them
// and make them fail.
type diskOps struct {
	create  func(path string) (diskFile, error)
	rename  func(from, to string) error // never replaces
	remove  func(path string) error
	syncDir func(path string) error
}

type diskFile interface {
	io.Writer
	Sync() error
	Stat() (fs.FileInfo, error)
	Close() error
}

var osOps = diskOps{
	create:  createFile,
	rename:  renameNoReplace,
	remove:  os.Remove,
	syncDir: syncDir,
}

// createFile opens a new file. O_EXCL alone refuses a symbolic link in the last
// element of path; O_NOFOLLOW says so to file systems that emulate O_EXCL. Go
// sets O_CLOEXEC.
func createFile(path string) (diskFile, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|noFollow, 0o600)
	if err != nil {
		return nil, err // not f: a nil *os.File is not a nil diskFile
	}
	return f, nil
}

// NewDisk returns a sink in the folder dir, which may be a symbolic link to a
// folder. A missing folder is made, with its parents, by the first Create.
func NewDisk(dir string) (*Disk, error) {
	if dir == "" {
		return nil, errors.New("no folder given")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", abs)
	}
	return &Disk{dir: abs, ops: osOps}, nil
}

// String returns the absolute path of the folder.
func (d *Disk) String() string { return d.dir }

// Create starts an object in the folder.
func (d *Disk) Create(ctx context.Context, name string) (Object, error) {
	if err := d.checkNew(ctx, name); err != nil {
		return nil, err
	}
	if err := d.makeFolder(); err != nil {
		return nil, fmt.Errorf("create %s: %w", d.dir, err)
	}
	o := &diskObject{disk: d, name: name, path: filepath.Join(d.dir, name)}
	f, err := d.ops.create(o.partial())
	if err != nil {
		return nil, fmt.Errorf("create object: %w", d.spaceError(err, 0))
	}
	o.file = f
	// The name of a partial image survives a power cut as well as its bytes.
	if err := d.ops.syncDir(d.dir); err != nil {
		return nil, errors.Join(fmt.Errorf("create object: %w", err), f.Close(), d.ops.remove(o.partial()))
	}
	return o, nil
}

// checkNew returns an error unless name is valid and free.
func (d *Disk) checkNew(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := ValidNew(name); err != nil {
		return err
	}
	if !filepath.IsLocal(name) { // CON, NUL... on Windows
		return fmt.Errorf("name %q: is reserved on this system", name)
	}
	path := filepath.Join(d.dir, name)
	for _, p := range []string{path, path + PartialSuffix} {
		switch _, err := os.Lstat(p); {
		case err == nil:
			return &fs.PathError{Op: "create", Path: p, Err: ErrExists}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// makeFolder makes the folder and its missing parents, durably.
func (d *Disk) makeFolder() error {
	existing := d.existing()
	if existing == d.dir {
		return nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	for p := d.dir; p != existing; {
		p = filepath.Dir(p)
		if err := d.ops.syncDir(p); err != nil {
			return err
		}
	}
	return nil
}

// existing returns the folder, or its closest parent that exists.
func (d *Disk) existing() string {
	p := d.dir
	for {
		if _, err := os.Stat(p); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(p) == p {
			return p
		}
		p = filepath.Dir(p)
	}
}

// Open opens a committed or kept object. Symbolic links and special files are
// refused: they are not what Commit or Keep left there.
func (d *Disk) Open(ctx context.Context, name string) (Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := ValidName(strings.TrimSuffix(name, PartialSuffix)); err != nil {
		return nil, err
	}
	path := filepath.Join(d.dir, name)
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow|nonBlock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &diskReader{File: f, size: info.Size()}, nil
}

type diskReader struct {
	*os.File
	size int64
}

func (r *diskReader) Size() int64 { return r.size }

// Volume names the file system of the folder.
func (d *Disk) Volume() string { return volume(d.existing()) }

// Free returns the bytes that this user can still write to the folder's file
// system.
func (d *Disk) Free(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return freeBytes(d.existing())
}

// Check rehearses a capture with a file of one byte: create, write, sync,
// rename without replacing, remove. Some network and FUSE file systems can do
// everything but the rename, which is better known before 64 GiB were written.
func (d *Disk) Check(ctx context.Context, name string) (err error) {
	if err := d.checkNew(ctx, name); err != nil {
		return err
	}
	dir := d.existing()
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	remove := func(path string) { err = errors.Join(err, d.ops.remove(path)) }
	probe := ".shotglass-check-" + rand.Text() // no ValidName starts with a dot
	if dir != d.dir {
		dir = filepath.Join(dir, probe)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		defer remove(dir)
	}
	path := filepath.Join(dir, probe)
	f, err := d.ops.create(path)
	if err != nil {
		return d.spaceError(err, 0)
	}
	_, err = f.Write([]byte{'\n'})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		defer remove(path)
		return d.spaceError(err, 0)
	}
	if err := d.ops.rename(path, path+"-2"); err != nil {
		defer remove(path)
		return fmt.Errorf("file system of %s: %w", dir, err)
	}
	defer remove(path + "-2")
	return d.ops.syncDir(dir)
}
