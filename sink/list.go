package sink

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"
)

// A Lister knows what lies in a place, also what others left there.
type Lister interface {
	// List looks once. A place that does not exist yet is empty.
	List(ctx context.Context) (Listing, error)
}

// A Listing is what lies in a place, in the order of names. Names that no object can
// have are left out.
type Listing struct {
	// Objects can be opened by their names: committed objects, kept ones, and, where
	// bytes are visible before an object ends, those of writers that live or died.
	Objects []Listed
	// Unfinished are objects that cannot be opened: somebody writes them now, or died over it.
	Unfinished []Listed
	// Unknown says why unfinished objects could not be looked for.
	Unknown error
}

// Listed is one object.
type Listed struct {
	Name     string
	Size     int64     // bytes; 0 for unfinished ones
	Time     time.Time // of the last change, or of the beginning of an unfinished one
	Location string    // for people
}

// A Waiter is a sink with another place, in which what it did not take waits to be brought to it.
type Waiter interface {
	// Waiting lists what waits there.
	Waiting() ([]Listed, error)
}

var _ Lister = (*Disk)(nil)

// List returns the regular files of the folder.
func (d *Disk) List(ctx context.Context) (Listing, error) {
	var l Listing
	if err := ctx.Err(); err != nil {
		return l, err
	}
	entries, err := os.ReadDir(d.dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	for _, e := range entries {
		if ValidName(strings.TrimSuffix(e.Name(), PartialSuffix)) != nil || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return l, err
		}
		l.Objects = append(l.Objects, Listed{e.Name(), info.Size(), info.ModTime(), d.dir + string(os.PathSeparator) + e.Name()})
	}
	return l, nil
}
