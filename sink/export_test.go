package sink

import "io/fs"

// A DiskFile is an open file of a Disk; tests wrap it.
type DiskFile = diskFile

// Hooks wrap the steps of a Disk. A nil hook leaves its step alone.
type Hooks struct {
	File   func(DiskFile) DiskFile
	Before func(step, path string) error // create, rename, remove, syncdir
}

// WithHooks returns a Disk like d whose steps go through h.
func (d *Disk) WithHooks(h Hooks) *Disk {
	before := func(step, path string) error {
		if h.Before == nil {
			return nil
		}
		if err := h.Before(step, path); err != nil {
			return &fs.PathError{Op: step, Path: path, Err: err}
		}
		return nil
	}
	ops := d.ops
	return &Disk{dir: d.dir, ops: diskOps{
		create: func(path string) (diskFile, error) {
			if err := before("create", path); err != nil {
				return nil, err
			}
			f, err := ops.create(path)
			if err == nil && h.File != nil {
				f = h.File(f)
			}
			return f, err
		},
		rename: func(from, to string) error {
			if err := before("rename", to); err != nil {
				return err
			}
			return ops.rename(from, to)
		},
		remove: func(path string) error {
			if err := before("remove", path); err != nil {
				return err
			}
			return ops.remove(path)
		},
		syncDir: func(path string) error {
			if err := before("syncdir", path); err != nil {
				return err
			}
			return ops.syncDir(path)
		},
	}}
}

// RenameNoReplace is what Commit renames with.
var RenameNoReplace = renameNoReplace
