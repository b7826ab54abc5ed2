package convert

import (
	"bytes"
	"errors"
	"io"

	"github.com/shotglass-ir/shotglass/sink"
)

// sparse returns a writer to obj that leaves holes for zeros, if obj can have some and zeros are written as they are.
func sparse(obj sink.Object, o Options) io.Writer {
	h, ok := obj.(sink.Holer)
	if !ok || len(o.Recipients) > 0 || o.Form.Compression() != "none" {
		return obj
	}
	return &holed{obj, h}
}

type holed struct {
	w io.Writer
	h sink.Holer // nil: it has none after all
}

// holeStep is what is looked at at once: a block of most file systems.
const holeStep = 64 << 10

var blank [holeStep]byte

// Write writes p, with holes for its zeros.
func (s *holed) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, hole := stretch(p[n:])
		if hole && s.h != nil {
			if err = s.h.Hole(int64(m)); errors.Is(err, sink.ErrNoHole) {
				s.h = nil
				continue
			}
		} else {
			m, err = s.w.Write(p[n : n+m])
		}
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// stretch returns how many bytes of p go together, and whether they are zeros.
func stretch(p []byte) (n int, hole bool) {
	for n < len(p) {
		m := min(holeStep, len(p)-n)
		if is := bytes.Equal(p[n:n+m], blank[:m]); n == 0 {
			hole = is
		} else if is != hole {
			break
		}
		n += m
	}
	return n, hole
}
