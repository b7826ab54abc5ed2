//go:build !linux && !darwin

package fusefs

import "context"

// A Mount is a mounted file system; here there is none.
type Mount struct{}

// New returns ErrUnsupported.
func New(string, []File, Options) (*Mount, error) { return nil, ErrUnsupported }

// Done returns nil.
func (*Mount) Done() <-chan struct{} { return nil }

// Unmount returns ErrUnsupported.
func (*Mount) Unmount(context.Context) (lazy bool, err error) { return false, ErrUnsupported }

// Freed returns false.
func (*Mount) Freed() bool { return false }

// Free frees nothing here.
func Free(string) (bool, error) { return false, nil }
