package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
)

type diskObject struct {
	disk *Disk
	name string
	path string // after Commit

	moved atomic.Bool // committed: the bytes are at path

	mu      sync.Mutex
	file    diskFile // nil once closed
	size    int64    // bytes written
	started int64    // bytes whose write-back was started
	err     error    // first error of Write
	closing error    // error of the one attempt to sync and close
	lost    bool     // the name leads to another file, or to none
	ended   bool
}

var (
	_ Object = (*diskObject)(nil)
	_ Holer  = (*diskObject)(nil)
)

func (o *diskObject) partial() string { return o.path + PartialSuffix }

func (o *diskObject) Location() string {
	if o.moved.Load() {
		return o.path
	}
	return o.partial()
}

func (o *diskObject) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return 0, ErrEnded
	case o.err != nil:
		return 0, o.err
	case o.file == nil:
		return 0, fmt.Errorf("write %s: %w", o.partial(), os.ErrClosed)
	}
	n := 0
	for n < len(p) {
		m, err := o.file.Write(p[n:min(len(p), n+writeStep)])
		n += m
		o.size += int64(m)
		if err != nil {
			o.err = o.disk.spaceError(err, o.size)
			return n, o.err
		}
	}
	o.startWriteback()
	return n, nil
}

// Hole implements Holer: the file gets no blocks for the zeros, where its file system has holes.
func (o *diskObject) Hole(n int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return ErrEnded
	case o.err != nil:
		return o.err
	case o.file == nil:
		return fmt.Errorf("write %s: %w", o.partial(), os.ErrClosed)
	case n < 0:
		return fmt.Errorf("a hole of %d bytes", n)
	}
	f, ok := o.file.(interface {
		io.Seeker
		Truncate(size int64) error
	})
	if !ok {
		return ErrNoHole
	}
	// The size first: a file that ends in a hole has it already.
	err := f.Truncate(o.size + n)
	if err == nil {
		_, err = f.Seek(n, io.SeekCurrent)
	}
	if err != nil {
		o.err = o.disk.spaceError(err, o.size)
		return o.err
	}
	o.size += n
	return nil
}

// writeStep is how much is written at once. Linux makes room for a write in pieces as large as the
// write; from 1 MiB on (measured with 6.18 on ext4) to find them costs 0.7 s of CPU time for each
// GiB, with this 0.2 s.
const writeStep = 256 << 10

// writebackStep is how much is written before the kernel is asked to start
// putting it on the disk.
const writebackStep = 16 << 20

// startWriteback asks the kernel to write what is dirty now, without waiting.
//
// Left alone, Linux starts when 10 % of the free memory is dirty or after 30 s,
// and stops writers at 20 %: on a host with 64 GiB and a disk of 100 MB/s the
// disk idles first, then the fsync of Commit takes two minutes in which the
// capture looks hung. Bounding the dirty pages as well (waiting for each
// step, or O_DSYNC) would be worse: the page cache absorbs a burst, so that the
// target's memory is read sooner, and the image is less smeared. The kernel's
// own limits are back pressure enough. Errors are left to fsync, which reports
// every failed write-back.
func (o *diskObject) startWriteback() {
	if o.size-o.started < writebackStep {
		return
	}
	if f, ok := o.file.(*os.File); ok {
		startWriteback(f, o.started, o.size-o.started)
	}
	o.started = o.size
}

func (o *diskObject) Commit(ctx context.Context) (Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return Receipt{}, ErrEnded
	case o.err != nil:
		return Receipt{}, fmt.Errorf("commit: %w", o.err)
	case ctx.Err() != nil:
		return Receipt{}, fmt.Errorf("commit %s: %w", o.partial(), ctx.Err())
	}
	if err := o.close(); err != nil {
		return Receipt{}, fmt.Errorf("commit: %w", err)
	}
	if !o.moved.Load() {
		if err := o.disk.ops.rename(o.partial(), o.path); err != nil {
			return Receipt{}, fmt.Errorf("commit: %w", err)
		}
		o.moved.Store(true)
	}
	// Commit may be tried again when this fails: the rename is then done, but
	// not yet proven durable.
	if err := o.settle(o.path); err != nil {
		return Receipt{}, fmt.Errorf("commit: %w", err)
	}
	o.ended = true
	return Receipt{Name: o.name, Location: o.path, Size: o.size}, nil
}

// Keep ignores the cancellation of ctx: nothing in it waits for anything but
// the disk, and what is at stake is evidence.
func (o *diskObject) Keep(context.Context) (Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return Receipt{}, ErrEnded
	}
	err := o.close()
	if o.moved.Load() {
		// Commit got as far as the rename, and no proof that it is durable.
		if rerr := o.disk.ops.rename(o.path, o.partial()); rerr != nil {
			return Receipt{}, fmt.Errorf("keep: %w", errors.Join(err, rerr))
		}
		o.moved.Store(false)
	}
	if err := errors.Join(err, o.settle(o.partial())); err != nil {
		return Receipt{}, fmt.Errorf("keep: %w", err)
	}
	o.ended = true
	return Receipt{Name: o.name + PartialSuffix, Location: o.partial(), Size: o.size, Partial: true}, nil
}

func (o *diskObject) Abort(context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return ErrEnded
	}
	if o.file != nil {
		o.same()       // for o.lost
		o.file.Close() // the bytes go away: their errors do not matter
		o.file, o.closing = nil, os.ErrClosed
	}
	if !o.lost { // what lies there now is somebody else's
		if err := o.disk.ops.remove(o.Location()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("abort: %w", err)
		}
	}
	if err := o.disk.ops.syncDir(o.disk.dir); err != nil {
		return fmt.Errorf("abort: %w", err)
	}
	o.ended = true
	return nil
}

// close syncs and closes the file, once. A failed fsync stays failed: Linux marks
// the pages clean, so that a second fsync would lie.
func (o *diskObject) close() error {
	if o.file == nil {
		return o.closing
	}
	err := o.file.Sync()
	if err != nil {
		err = o.disk.spaceError(err, o.size)
	}
	err = errors.Join(err, o.same(), o.file.Close())
	o.file, o.closing = nil, err
	return err
}

// same checks, while the file is open, that its name still leads to it and
// that it has the size that was written.
func (o *diskObject) same() error {
	open, err := o.file.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(o.partial())
	if err != nil {
		o.lost = errors.Is(err, fs.ErrNotExist)
		return err
	}
	if !os.SameFile(open, named) {
		o.lost = true
		return fmt.Errorf("%s was replaced while it was written", o.partial())
	}
	return o.sized(open)
}

func (o *diskObject) sized(info fs.FileInfo) error {
	if info.Size() != o.size {
		return fmt.Errorf("%s has %d bytes, %d were written", o.Location(), info.Size(), o.size)
	}
	return nil
}

// settle makes the name durable and checks what it leads to.
func (o *diskObject) settle(path string) error {
	if err := o.disk.ops.syncDir(o.disk.dir); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file any more", path)
	}
	return o.sized(info)
}
