//go:build linux || darwin

package fusefs

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A Mount is a mounted file system.
type Mount struct {
	dir    string
	server *fuse.Server
	done   chan struct{}
	freed  bool
}

const (
	// forever: nothing changes while it is mounted.
	forever = 24 * time.Hour
	// maxRead is what the kernel asks for at once at most, and may then do in one go of ours.
	maxRead = 1 << 20
	// subtype makes the type of the file system, fuse.shotglass.
	subtype = "shotglass"
	// stacked is how many mounts of killed programs are freed, one below the other.
	stacked = 8
)

// New mounts files at dir, an empty folder. They can be read when it returns. The file system ends with
// Unmount, or when somebody else unmounts it; Done tells. A mount of a program that was killed is freed first, see Free.
//
// Errors wrap ErrStale, ErrNotEmpty or ErrUnsupported, or are those of the folder or of mounting.
func New(dir string, files []File, o Options) (*Mount, error) {
	o = o.withDefaults()
	freed := false
	for range stacked {
		again, err := Free(dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", dir, ErrStale, err)
		}
		if !again {
			break
		}
		freed = true
	}
	switch entries, err := os.ReadDir(dir); {
	case errors.Is(err, syscall.ENOTCONN), errors.Is(err, syscall.ENXIO):
		return nil, fmt.Errorf("%s: %w", dir, ErrStale)
	case err != nil:
		return nil, err
	case len(entries) > 0:
		return nil, fmt.Errorf("%s: %w", dir, ErrNotEmpty)
	}
	if _, err := os.Stat("/dev/fuse"); err != nil && onLinux {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	timeout, root, options := forever, onLinux && os.Geteuid() == 0, []string{"ro"}
	if root { // no helper is needed, and flags say that it is read-only
		options = nil
	}
	server, err := fs.Mount(dir, &folder{files: files, o: o}, &fs.Options{
		MountOptions: fuse.MountOptions{
			FsName: o.Name, Name: subtype, AllowOther: o.AllowOther, DirectMountStrict: root, DirectMountFlags: mountFlags,
			Options: options, MaxWrite: maxRead, MaxReadAhead: maxRead, DisableXAttrs: true, ExplicitDataCacheControl: true,
			Logger: log.New(io.Discard, "", 0),
		},
		EntryTimeout: &timeout, AttrTimeout: &timeout, NegativeTimeout: &timeout,
		UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()),
	})
	if err != nil {
		return nil, err
	}
	keepFromChildren()
	readAhead(dir, maxRead)
	m := &Mount{dir: dir, server: server, done: make(chan struct{}), freed: freed}
	go func() { // ends with the mount
		defer close(m.done)
		server.Wait()
	}()
	return m, nil
}

// Freed reports whether the mount of a program that was killed was in the way.
func (m *Mount) Freed() bool { return m.freed }

// Done is closed when the file system has ended.
func (m *Mount) Done() <-chan struct{} { return m.done }

// Unmount ends the file system. While somebody has a file open it waits, until ctx ends; then the folder is freed
// at once, and who reads on gets errors. lazy says so.
func (m *Mount) Unmount(ctx context.Context) (lazy bool, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = m.server.Unmount(); err == nil {
			<-m.done
			return false, nil
		}
		select {
		case <-m.done: // somebody else was faster
			return false, nil
		case <-tick.C:
		case <-ctx.Done():
			if err := detach(m.dir); err != nil {
				return true, err
			}
			return true, nil
		}
	}
}

// folder is all that there is.
type folder struct {
	fs.Inode
	files []File
	o     Options
}

var _ fs.NodeOnAdder = (*folder)(nil)

// OnAdd makes the files.
func (r *folder) OnAdd(ctx context.Context) {
	for _, f := range r.files {
		h := fnv.New64a()
		h.Write([]byte(f.Name))
		r.AddChild(f.Name, r.NewPersistentInode(ctx, &node{f: f, o: r.o}, fs.StableAttr{Mode: fuse.S_IFREG, Ino: h.Sum64() | 1<<62}), false)
	}
}

// node is a file.
type node struct {
	fs.Inode
	f File
	o Options

	mu   sync.Mutex
	last failure
}

// A failure is a read that was told to fail.
type failure struct {
	from, to int64
	until    time.Time
}

// again is how long a read that fails fails again at once. What it reads ahead, the kernel asks for once more, a page at a time,
// if that fails: whoever waits would wait twice. Of damage, those pages are what tells the bad from the good.
const again = 50 * time.Millisecond

// pageSize is what the kernel reads at least; those of every system that we know are multiples of it.
const pageSize = 4096

var (
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeLseeker   = (*node)(nil)
)

// Getattr tells the size; blocks are those that are not holes.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Nlink, out.Size = 0o400, 1, uint64(n.f.Size())
	if n.o.AllowOther {
		out.Mode = 0o444
	}
	for off := int64(0); ; {
		from, to, ok := n.f.Data(off)
		if !ok {
			break
		}
		out.Blocks += uint64(to-from+511) / 512
		off = to
	}
	out.SetTimes(nil, &n.f.Time, &n.f.Time)
	return fs.OK
}

// Open opens for reading; what the kernel knows of the file stays true.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC) != 0 {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_KEEP_CACHE, fs.OK
}

// Read reads, or fails. Signals of who reads do not end it, as they do not where files lie on a disk: programs
// are not made for that.
func (n *node) Read(ctx context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.mu.Lock()
	l := n.last
	n.mu.Unlock()
	if l.from <= off && off+int64(len(dest)) <= l.to && time.Now().Before(l.until) {
		return nil, syscall.EIO
	}
	got, err := read(context.WithoutCancel(ctx), n.f, dest, off, n.o.Patience)
	if err != nil {
		if !n.o.Damage(err) {
			n.mu.Lock()
			n.last = failure{off + int64(got/pageSize*pageSize), off + int64(len(dest)), time.Now().Add(again)}
			n.mu.Unlock()
		}
		n.o.Failed(n.f.Name, off, err)
		return nil, syscall.EIO
	}
	return fuse.ReadResultData(dest[:got]), fs.OK
}

// What lseek(2) is asked for.
const (
	seekData = 3
	seekHole = 4
)

// Lseek finds holes, and what is none.
func (n *node) Lseek(_ context.Context, _ fs.FileHandle, off uint64, whence uint32) (uint64, syscall.Errno) {
	size := n.f.Size()
	if off >= uint64(size) {
		return 0, syscall.ENXIO
	}
	from, to, ok := n.f.Data(int64(off))
	switch whence {
	case seekData:
		if !ok {
			return 0, syscall.ENXIO
		}
		return uint64(from), fs.OK
	case seekHole:
		for ok && from <= int64(off) { // stretches may touch
			off = uint64(to)
			from, to, ok = n.f.Data(to)
		}
		return off, fs.OK
	}
	return 0, syscall.EINVAL
}
