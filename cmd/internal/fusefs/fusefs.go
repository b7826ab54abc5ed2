// Package fusefs shows files that never change as a read-only file system, through FUSE.
//
// A read that fails is EIO, in full: a short answer would be taken for the end of the file, and the kernel would
// fill the rest of its page with zeros.
package fusefs

import (
	"context"
	"errors"
	"time"
)

// Memory is how many bytes the answers take that are under way: the kernel asks for 1 MiB at once at most, and hardly ever 16 times.
const Memory = 16 << 20

// A Source is the content of a file. It is safe for concurrent use.
type Source interface {
	Size() int64
	// ReadContext reads as io.ReaderAt does, until ctx ends. Before an error, what lies before it has been read.
	ReadContext(ctx context.Context, p []byte, off int64) (int, error)
	// Data returns the next stretch at or after off that is not a hole; ok is false where there is none.
	Data(off int64) (from, to int64, ok bool)
}

// A File is one of the files shown.
type File struct {
	Name string
	Source
	Time time.Time // of the last change
}

// Options say how to mount. The zero value is the default.
type Options struct {
	Name       string        // of what is mounted, for lists of mounts
	AllowOther bool          // let others than this user read
	Patience   time.Duration // how long a read may take; 0: 30 s
	// Failed is told of reads that fail, from any goroutine.
	Failed func(file string, off int64, err error)
	// Damage tells errors that lie in what is read: what follows may be good, and trying costs no waiting. nil: none do.
	Damage func(error) bool
}

func (o Options) withDefaults() Options {
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	if o.Failed == nil {
		o.Failed = func(string, int64, error) {}
	}
	if o.Damage == nil {
		o.Damage = func(error) bool { return false }
	}
	return o
}

// DefaultPatience is how long a read may take: an S3 server that is up answers in a second, and who
// waits for a file cannot be killed.
const DefaultPatience = 30 * time.Second

var (
	// ErrStale says that a program that mounted here was killed.
	ErrStale = errors.New("something is still mounted here whose program is gone")
	// ErrNotEmpty says that mounting would hide files.
	ErrNotEmpty = errors.New("the folder is not empty")
	// ErrUnsupported says that this system has no FUSE that is known.
	ErrUnsupported = errors.New("this system has no FUSE")
	// ErrSlow is the error of a read that took too long.
	ErrSlow = errors.New("no answer in time")
)

// Bytes is a Source in memory.
type Bytes []byte

// Size returns the length.
func (b Bytes) Size() int64 { return int64(len(b)) }

// ReadContext reads at off.
func (b Bytes) ReadContext(_ context.Context, p []byte, off int64) (int, error) {
	return copy(p, b[min(off, int64(len(b))):]), nil
}

// Data says that there are no holes.
func (b Bytes) Data(off int64) (from, to int64, ok bool) {
	return off, int64(len(b)), off < int64(len(b))
}

// read fills p from off of f as far as the file goes. An error means that nothing of it is to be shown, though n bytes
// of it are good.
func read(ctx context.Context, f File, p []byte, off int64, patience time.Duration) (int, error) {
	if off >= f.Size() {
		return 0, nil
	}
	p = p[:min(int64(len(p)), f.Size()-off)]
	ctx, cancel := context.WithTimeoutCause(ctx, patience, ErrSlow)
	defer cancel()
	if n, err := f.ReadContext(ctx, p, off); n < len(p) {
		if err == nil {
			err = errors.New("short read")
		}
		return n, err
	}
	return len(p), nil
}
