package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A View is a file that is made of an image as it is read. It is safe for concurrent use, and good until
// the image is closed.
type View struct {
	img   *Image
	size  int64
	parts []part // ascending, what lies between them is zero
}

// A part is a stretch of a view.
type part struct {
	at, size int64
	raw      int64  // of the raw stream, unless there is data
	data     []byte // all of it
}

var _ io.ReaderAt = (*View)(nil)

// Size returns the length in bytes.
func (v *View) Size() int64 { return v.size }

// ReadAt is ReadContext for the life of the image.
func (v *View) ReadAt(p []byte, off int64) (int, error) { return v.ReadContext(v.img.life, p, off) }

// ReadContext reads bytes at off until ctx ends: then, too, frames that are on their way go on to the cache.
// Before an error, such as a *frame.FrameError for a damaged frame, what lies before it has been read.
func (v *View) ReadContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	switch {
	case off < 0:
		return 0, errors.New("negative offset")
	case off >= v.size:
		return 0, io.EOF
	}
	whole := len(p)
	p = p[:min(int64(whole), v.size-off)]
	i := sort.Search(len(v.parts), func(i int) bool { return v.parts[i].at+v.parts[i].size > off })
	for n < len(p) {
		rest := p[n:]
		if i == len(v.parts) || off < v.parts[i].at {
			if i < len(v.parts) {
				rest = rest[:min(int64(len(rest)), v.parts[i].at-off)]
			}
			clear(rest)
			n, off = n+len(rest), off+int64(len(rest))
			continue
		}
		q := v.parts[i]
		rest = rest[:min(int64(len(rest)), q.at+q.size-off)]
		m := len(rest)
		if q.data != nil {
			copy(rest, q.data[off-q.at:])
		} else if m, err = v.img.raw.ReadContext(ctx, rest, q.raw+off-q.at); m == len(rest) {
			err = nil
		} else if err == nil || err == io.EOF { // the file has become shorter
			err = io.ErrUnexpectedEOF
		}
		n, off = n+m, off+int64(m)
		if err != nil {
			return n, err
		}
		i++
	}
	if n < whole {
		return n, io.EOF
	}
	return n, nil
}

// Data returns the next stretch at or after off that is not a hole, up to its end; ok is false where nothing but
// holes follows.
func (v *View) Data(off int64) (from, to int64, ok bool) {
	i := sort.Search(len(v.parts), func(i int) bool { return v.parts[i].at+v.parts[i].size > off })
	if i == len(v.parts) {
		return v.size, v.size, false
	}
	return max(off, v.parts[i].at), v.parts[i].at + v.parts[i].size, true
}

// Lime is the raw LiME stream, byte for byte as it was captured.
func (i *Image) Lime() *View {
	return &View{i, i.size, []part{{size: i.size}}}
}

// Raw is memory by physical address: what is in no record is zero. It ends with the last byte that is there. An
// error says that addresses are beyond what a file can have.
func (i *Image) Raw() (*View, error) {
	v := &View{img: i}
	for _, r := range i.records {
		if r.Range.Start > math.MaxInt64-uint64(r.Bytes) {
			return nil, fmt.Errorf("memory at %s lies beyond what a file can hold", lime.Addr(r.Range.Start))
		}
		at := int64(r.Range.Start)
		if r.Bytes > 0 {
			v.parts = append(v.parts, part{at: at, size: r.Bytes, raw: r.Raw})
			v.size = at + r.Bytes
		}
	}
	return v, nil
}
