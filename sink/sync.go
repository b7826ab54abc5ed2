package sink

import (
	"fmt"
	"os"
)

// A Syncer is an object that can be made durable while it is still being written. What
// was written before Sync survives a crash, under the partial name.
type Syncer interface{ Sync() error }

var _ Syncer = (*diskObject)(nil)

// Sync waits until the disk has what was written. It is not called beside Write.
func (o *diskObject) Sync() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return ErrEnded
	case o.err != nil:
		return o.err
	case o.file == nil:
		return fmt.Errorf("sync %s: %w", o.partial(), os.ErrClosed)
	}
	if err := o.file.Sync(); err != nil {
		o.err = o.disk.spaceError(err, o.size)
	}
	return o.err
}
