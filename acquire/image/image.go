// Package image reads parts of a stored memory image, wherever they lie in it: a LiME image as it is, or
// compressed, encrypted, in S3, partial.
//
// An [Image] decodes the frames that a read touches and keeps the last ones, up to a number of bytes.
// Who reads in sequence finds the next frames decoded ahead, on all cores. Where a manifest lies beside the
// image, every frame is held against its digest in the frame index before a byte of it is
// given out, and the index against the manifest, or against the record of a conversion in its place: what differs is an error at that place,
// and never wrong bytes.
//
// A [View] is one way to see the image: the LiME stream, memory by physical address, or an ELF core.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// DefaultCache is how many bytes of decoded frames are kept. Analysis comes back to the kernel's own
// tables, which lie in some dozen frames of 1 MiB; more helps less than the page cache does.
const DefaultCache = 256 << 20

// Options say how to open an image. The zero value is the default.
type Options struct {
	Identities []age.Identity // decrypt images that are encrypted
	// Signers are the keys that are trusted: an image whose manifest none of them signed does not open.
	// Nil: any valid signature will do, or none; see Image.Trust.
	Signers *signature.AllowedSigners
	At      time.Time // when the keys must be valid; zero: now
	// Unchecked opens the image by itself: manifest and digests are not looked at.
	Unchecked bool
	Cache     int64 // bytes of decoded frames that are kept; 0: DefaultCache
	Workers   int   // frames decoded at once; 0: GOMAXPROCS
	// Damaged, if set, is told of each frame that does not have its digest or does not decode, once,
	// when it is first met. It is called from any goroutine.
	Damaged func(error)
}

func (o Options) withDefaults() Options {
	if o.Cache <= 0 {
		o.Cache = DefaultCache
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Damaged == nil {
		o.Damaged = func(error) {}
	}
	return o
}

var (
	// ErrSequential is wrapped by the error about an image that can only be read from its start.
	ErrSequential = errors.New("it has no frames that could be read alone")
	// ErrUntrusted is wrapped by the error about an image that no trusted key vouches for.
	ErrUntrusted = errors.New("no trusted signature")
	// ErrSwap is the error about a swap area, which is no memory image.
	ErrSwap = errors.New("a swap area, which has no physical addresses")
)

// A MismatchError says that image, manifest, signature and frame index do not belong together.
type MismatchError struct{ Problems []acquire.Mismatch }

func (e *MismatchError) Error() string {
	p := e.Problems[0]
	text := "does not agree with its manifest: " + p.What + ": " + p.Detail
	if n := len(e.Problems) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// A Trust is what vouches for the bytes that an Image gives.
type Trust struct {
	Manifest  *acquire.Manifest   // nil: none, or not looked at
	Converted *acquire.Conversion // the record of the conversion that it comes from; then there is no manifest
	Signature acquire.SignatureState
	Digests   bool // each frame is held against a digest that the manifest, or that record, vouches for
}

// compression is how the image is compressed by what vouches for it.
func (t Trust) compression() string {
	if t.Converted != nil {
		return t.Converted.Image.Compression
	}
	return t.Manifest.Image.Compression
}

// An Image is an open image. Its methods may be called concurrently. Close ends them all.
type Image struct {
	location string
	stored   int64
	trust    Trust
	format   frame.Format
	crypt    bool
	raw      reader
	size     int64 // of the raw stream
	memory   int64
	tail     error

	records []Record
	defect  error

	life    context.Context
	stop    context.CancelFunc
	closers []func() error // in the order of closing
}

// A reader reads by range, until ctx ends.
type reader interface {
	ReadContext(ctx context.Context, p []byte, off int64) (int, error)
}

// Open opens the image called name in where; name may be another file of its set. It reads the manifest, the
// frame index and the headers of the records. ctx bounds the whole life of the Image.
//
// Errors wrap fs.ErrNotExist, frame.ErrFormat, ErrSequential, ErrUntrusted, ErrSwap, agefile.ErrNoMatch
// or agefile.ErrHeader, are a *MismatchError, or are those of reading.
func Open(ctx context.Context, where sink.Opener, name string, o Options) (*Image, error) {
	if _, swap := acquire.IsSwap(name); swap {
		return nil, ErrSwap
	}
	life, stop := context.WithCancel(ctx)
	if o.Unchecked {
		where = withoutManifest{where}
	}
	s, err := acquire.OpenStored(life, where, name, acquire.VerifyOptions{Signers: o.Signers, At: o.At})
	if err != nil {
		stop()
		return nil, err
	}
	i := &Image{location: s.Location, stored: s.Size(), life: life, stop: stop, closers: []func() error{s.Close}}
	if err := i.judge(s, o); err != nil {
		i.Close()
		return nil, err
	}
	if err := i.open(s.Reader, s.Size(), s.Frames, o.withDefaults()); err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// OpenFile opens an image that nothing vouches for, of size bytes in r, which stays the caller's.
func OpenFile(ctx context.Context, r io.ReaderAt, size int64, location string, o Options) (*Image, error) {
	life, stop := context.WithCancel(ctx)
	i := &Image{location: location, stored: size, life: life, stop: stop}
	if o.Signers != nil && !o.Unchecked {
		i.Close()
		return nil, fmt.Errorf("%w: it has no manifest", ErrUntrusted)
	}
	if err := i.open(r, size, nil, o.withDefaults()); err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// judge decides whether what vouches for the image is enough.
func (i *Image) judge(s *acquire.Stored, o Options) error {
	if len(s.Problems) > 0 {
		return &MismatchError{s.Problems}
	}
	if o.Signers != nil && !s.Signature.Trusted && !o.Unchecked {
		why := s.Signature.Detail
		if s.Manifest == nil && s.Converted == nil {
			why = "it has no manifest"
		}
		return fmt.Errorf("%w: %s", ErrUntrusted, why)
	}
	i.trust = Trust{Manifest: s.Manifest, Converted: s.Converted, Signature: s.Signature, Digests: s.Frames != nil}
	return nil
}

// Location names the image for people.
func (i *Image) Location() string { return i.location }

// Stored returns the stored size in bytes.
func (i *Image) Stored() int64 { return i.stored }

// Format returns how the image is compressed, and whether it is encrypted.
func (i *Image) Format() (f frame.Format, encrypted bool) { return i.format, i.crypt }

// Trust returns what vouches for the image.
func (i *Image) Trust() Trust { return i.trust }

// readers is how many are thought to copy from frames at once, each from another.
const readers = 16

// Memory returns how many bytes reading takes at most, beside what an open image takes and what it is read from: the
// cache, what is on its way there, and a frame for each of 16 readers. Garbage is not counted.
func (i *Image) Memory() int64 { return i.memory }

// Tail says why the image was cut short, or is nil. What is whole can be read.
func (i *Image) Tail() error { return i.tail }

// Close ends all reading, and waits for it.
func (i *Image) Close() error {
	i.stop()
	var errs []error
	for _, c := range i.closers {
		errs = append(errs, c())
	}
	i.closers = nil
	return errors.Join(errs...)
}

// open finds out how the size bytes in r are stored, and where the records lie. x is of the frames or
// pieces in r, nil where nobody vouches for them.
func (i *Image) open(r io.ReaderAt, size int64, x *frame.Index, o Options) error {
	head := make([]byte, min(64, size))
	if n, err := r.ReadAt(head, 0); err != nil && (err != io.EOF || n < len(head)) {
		return fmt.Errorf("read image: %w", err)
	}
	switch {
	case agefile.IsArmored(head):
		return fmt.Errorf("%w: encrypted with age, as text", ErrSequential)
	case agefile.Is(head):
		return i.decrypt(r, size, x, o)
	case x != nil && x.Compression == frame.Age:
		return &MismatchError{[]acquire.Mismatch{{What: "encryption", Frame: -1, Detail: "the manifest says that it is encrypted with age, and it is not"}}}
	}
	return i.decode(r, size, x, o)
}

// decrypt opens what is encrypted.
func (i *Image) decrypt(r io.ReaderAt, size int64, x *frame.Index, o Options) error {
	i.crypt = true
	if x != nil {
		if x.Compression != frame.Age {
			return &MismatchError{[]acquire.Mismatch{{What: "encryption", Frame: -1, Detail: "it is encrypted with age, and the manifest says that it is not"}}}
		}
		// A frame touches two or three pieces, and its neighbour some of the same. What is not compressed
		// is kept as it is stored.
		limit := min(int64(o.Workers+4)*largest(x), o.Cache)
		if i.trust.compression() == frame.None {
			limit = o.Cache
		}
		pieces, err := newFrames(i.life, r, x, o.Workers, limit, o.Damaged)
		if err != nil {
			return err
		}
		i.closers = append([]func() error{pieces.Close}, i.closers...)
		i.memory += pieces.memory(0) // who reads them are those who decode frames
		// What a sink left that failed in the middle of a piece is in no piece.
		r, size = bound{i.life, pieces}, min(size, x.Stored())
	}
	plain, err := agefile.Open(r, size, o.Identities...)
	if err != nil {
		return err
	}
	if t := plain.Tail(); t != nil {
		i.tail = t
	}
	return i.decode(plain, plain.Size(), nil, o)
}

// decode opens what may be compressed.
func (i *Image) decode(r io.ReaderAt, size int64, x *frame.Index, o Options) error {
	if x == nil {
		f, err := frame.Open(r, size)
		if err != nil {
			if i.tail != nil {
				err = fmt.Errorf("%w; and %w", err, i.tail)
			}
			return err
		}
		defer f.Close()
		i.format, x = f.Format(), f.Index()
		if t := f.Tail(); t != nil {
			i.tail = t
		}
		if x == nil && i.format != frame.FormatRaw {
			return fmt.Errorf("%w: stored as %s", ErrSequential, i.format)
		}
	} else {
		i.format = map[string]frame.Format{frame.Zstd: frame.FormatZstd, frame.S2: frame.FormatS2, frame.None: frame.FormatRaw}[x.Compression]
	}
	if x == nil {
		d := &direct{r: r}
		i.closers = append([]func() error{d.Close}, i.closers...)
		i.raw, i.size = d, size
		return i.walk()
	}
	frames, err := newFrames(i.life, r, x, o.Workers, o.Cache, o.Damaged)
	if err != nil {
		return err
	}
	i.closers = append([]func() error{frames.Close}, i.closers...)
	i.memory += frames.memory(readers)
	i.raw, i.size = frames, x.Raw()
	return i.walk()
}
