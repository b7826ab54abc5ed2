package lime

import (
	"errors"
	"fmt"
	"io"
)

// Inspect walks the image that r holds to its end, whoever made it. The error
// joins what reading and what the structure say; the report covers what was
// read in any case.
func Inspect(r io.Reader, o WalkerOptions) (*Report, error) {
	w := NewWalker(o)
	buf := make([]byte, 1<<20)
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, buf)
	if err != nil {
		err = fmt.Errorf("read image: %w", err)
	}
	rep, bad := w.Finish()
	if err != nil {
		rep.Complete = false
	}
	return rep, errors.Join(err, bad)
}
