package sink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
)

// A Reserver can put room aside. A capture that fills the sink must still be able
// to store its manifest.
type Reserver interface {
	// Reserve holds n bytes, for the files beside the object called name,
	// until release is called. It leaves nothing visible behind, whatever
	// happens to this process. release may be called more than once.
	Reserve(ctx context.Context, name string, n int64) (release func(), err error)
}

var _ Reserver = (*Disk)(nil)

// Reserve implements Reserver with a file that has no name any more, so that its blocks are
// free again when it is closed, also by the end of the process. (Windows
// cannot unlink an open file: there it is removed on release.) It holds noise: some
// file systems store no zeros.
func (d *Disk) Reserve(ctx context.Context, name string, n int64) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := d.makeFolder(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(d.dir, name+".reserve-*")
	if err != nil {
		return nil, fmt.Errorf("reserve room for the manifest: %w", err)
	}
	unlinked := os.Remove(f.Name()) == nil
	release = func() {
		f.Close()
		if !unlinked {
			os.Remove(f.Name())
		}
	}
	noise := rand.NewChaCha8([32]byte{})
	buf := make([]byte, min(n, 1<<20))
	for left := n; left > 0; {
		noise.Read(buf)
		k, err := f.Write(buf[:min(left, int64(len(buf)))])
		if err != nil {
			release()
			return nil, fmt.Errorf("reserve %d bytes for the manifest in %s: %w", n, d.dir, err)
		}
		left -= int64(k)
	}
	return release, nil
}
