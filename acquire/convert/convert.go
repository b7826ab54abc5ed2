// Package convert turns a stored memory image into another form: see package forms for what there is. It reads the image
// and what lies beside it from one place, and writes the other image, its frame index and a signed [Record] to a sink,
// the record last. The source is never changed.
//
// What goes through is held against the source's manifest: its frames, the digest of its LiME stream. An image that
// is not all there, or not what the manifest says, is converted as far as can be, kept as partial, and the record says
// what is missing where.
package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// Options say what to make of an image. Form and Sink are required.
type Options struct {
	Form forms.Form
	Sink sink.Sink
	Name string // of the new image; empty: that of the source with the suffix of the form

	Identities []age.Identity            // decrypt the source
	Recipients []agefile.Recipient       // can decrypt the new image; none: it is not encrypted
	Signers    *signature.AllowedSigners // who must vouch for the source; nil: anybody, and nobody
	Unchecked  bool                      // do not look at the source's manifest
	FromRaw    bool                      // the source is a raw image
	// RAM are the ranges that the source is to have, as /proc/iomem says: what AVML left out is zeros.
	RAM []lime.Range

	VMCoreInfo   []byte // for an ELF core; nil: it is looked for in memory
	NoVMCoreInfo bool   // an ELF core without
	MaxPadding   uint64 // see forms.WriteOptions; 0: the default for where it goes

	Level   string // of zstd, one of frame.Levels
	Threads int    // that compress; default GOMAXPROCS

	Case     string
	Operator string
	Tool     acquire.Tool
	Settings []acquire.Setting
	Signer   ssh.Signer // nil: the record is not signed
	Created  time.Time  // default now
	Progress func(done, total int64)
}

// PaddingStored bounds the padding of a raw image where zeros take room: in a bucket, or encrypted.
const PaddingStored = 16 << 30

// A Result is what became of a conversion.
type Result struct {
	*Record   `json:"record"`
	Partial   bool   `json:"partial"`            // kept as such
	Mismatch  bool   `json:"mismatch"`           // the source is not what its manifest says
	Manifest  string `json:"manifest,omitempty"` // location of the record
	Signature string `json:"signature,omitempty"`
}

// Run converts the image called name in where. Its error says that nothing was converted, and then nothing is left
// of it; what is wrong with the image is in the result. After ctx has ended nothing is kept: the source is there.
func Run(ctx context.Context, where sink.Opener, name string, o Options) (*Result, error) {
	if o.Created.IsZero() {
		o.Created = time.Now()
	}
	src, err := openSource(ctx, where, name, o)
	if err != nil {
		return nil, err
	}
	defer src.close()
	img, err := forms.Open(src.r, src.size, src.o)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	c := &conversion{o: o, src: src, img: img, begin: time.Now()}
	if c.o.Name == "" {
		c.o.Name = Name(name, o.Form, len(o.Recipients) > 0)
	}
	if err := c.free(ctx); err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	return c.run(ctx)
}

// free refuses a name that is no image's, or beside which a file lies that the new image's own would have to replace. The sink
// looks after the image itself, and again after each of the others when it is written.
func (c *conversion) free(ctx context.Context) error {
	if err := acquire.ValidImageName(c.o.Name); err != nil {
		return err
	}
	shelf, ok := c.o.Sink.(sink.Opener)
	if !ok {
		return nil
	}
	for _, suffix := range []string{acquire.FramesSuffix, acquire.ManifestSuffix, acquire.PartialManifestSuffix, acquire.InterimSuffix} {
		for _, name := range []string{c.o.Name + suffix, c.o.Name + suffix + acquire.SignatureSuffix} {
			f, err := shelf.Open(ctx, name)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err == nil { // whoever may not read finds out at the end
				f.Close()
				return fmt.Errorf("%s: %w", name, sink.ErrExists)
			}
		}
	}
	return nil
}

// A conversion is one Run.
type conversion struct {
	o     Options
	src   *source
	img   *forms.Image
	begin time.Time

	write forms.WriteOptions
	core  *Core
	total int64 // bytes of memory expected

	rep    *forms.Report
	stored frame.Digest // of the source's file; the zero value where it was not had
	out    pipeline.Result
	memory acquire.Digest
	walked *lime.Report
}

// prepare finds out what must be known before the first byte.
func (c *conversion) prepare(ctx context.Context) (err error) {
	f := c.o.Form
	// AVML cuts ranges: how they were is known only when all of it has been seen.
	if c.src.ram == nil && c.img.Content() != forms.Lime {
		if c.src.ram, err = c.img.Ranges(ctx); err != nil {
			return fmt.Errorf("look through %s: %w", c.src.Name, err)
		}
	}
	if c.src.ram == nil && c.src.Manifest == nil {
		c.src.ram = c.img.Joined(ctx)
	}
	c.write.Ranges = c.src.ram
	for _, r := range c.src.o.Headers {
		c.total += int64(r.Size())
	}
	if c.src.ram != nil {
		c.total = lime.Total(c.src.ram)
	}
	if c.total == 0 {
		c.total = c.src.size
	}
	c.machine()
	c.write.MaxPadding = c.o.MaxPadding
	if c.write.MaxPadding == 0 && (len(c.o.Recipients) > 0 || !holes(c.o.Sink)) {
		c.write.MaxPadding = PaddingStored
	}
	if f == forms.ELF {
		return c.lookThrough(ctx)
	}
	_, err = forms.NewWriter(io.Discard, f, c.write) // such as too much padding
	return err
}

// holes reports whether a sink's objects can have some.
func holes(s sink.Sink) bool { _, ok := s.(*sink.Disk); return ok }

// run converts.
func (c *conversion) run(ctx context.Context) (*Result, error) {
	obj, err := sink.CreateSized(ctx, c.o.Sink, c.o.Name, c.expected())
	if err != nil {
		return nil, err
	}
	if err := c.stream(ctx, obj); err != nil {
		return nil, errors.Join(err, abort(ctx, obj))
	}
	rec, mismatch := c.record()
	return c.seal(ctx, obj, rec, mismatch)
}

// expected is how many bytes are stored, at most.
func (c *conversion) expected() int64 {
	n := c.total + c.total/64 + 1<<20
	if c.o.Form == forms.Raw {
		if pad, ok := forms.Padding(c.write.Ranges); ok {
			n += int64(pad)
		}
	}
	return n
}

func abort(ctx context.Context, obj sink.Object) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := obj.Abort(ctx); err != nil {
		return &LeftError{obj.Location(), err}
	}
	return nil
}

// A LeftError says that a conversion failed, and that what it wrote could not be removed.
type LeftError struct {
	Location string
	Err      error
}

func (e *LeftError) Error() string {
	return fmt.Sprintf("what was written could not be removed, and may still be at %s: %v", e.Location, e.Err)
}

// Unwrap returns the cause.
func (e *LeftError) Unwrap() error { return e.Err }

// patience is how long what ends an object may take once the user wants to leave.
const patience = time.Minute

// stream reads the source and writes the object, in one pass.
func (c *conversion) stream(ctx context.Context, obj sink.Object) error {
	pool := frame.NewPool(frame.PoolOptions{Workers: c.o.Threads, Level: c.o.Level})
	defer pool.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pr, pw := io.Pipe()
	defer context.AfterFunc(ctx, func() { pr.CloseWithError(context.Cause(ctx)) })()

	// The LiME stream is digested by the pipeline if it is what is written.
	walker := lime.NewWalker(lime.WalkerOptions{MaxRecords: maxRecords})
	sum := &digester{h: sha256.New(), w: walker}
	po := pipeline.Options{Pool: pool, Compression: c.o.Form.Compression(), Expected: c.expected(), Recipients: c.o.Recipients}
	if c.o.Form.IsStream() {
		po.Walker = walker
	}
	var copyErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		copyErr = c.copy(ctx, pw, sum)
		pw.CloseWithError(copyErr)
	})
	out, err := pipeline.Run(ctx, pr, sparse(obj, c.o), po)
	pr.CloseWithError(errEnded)
	wg.Wait()
	var sinkErr *pipeline.SinkError
	switch {
	case errors.As(err, &sinkErr):
		return err
	case copyErr != nil && !errors.Is(copyErr, errEnded):
		return copyErr
	case err != nil:
		return err
	}
	c.out = out
	if c.o.Form.IsStream() {
		c.memory = acquire.Digest{Bytes: out.Raw.Bytes, SHA256: out.Raw.SHA256.String()}
	} else {
		c.memory = sum.digest()
	}
	c.walked, _ = walker.Finish() // what is wrong is in the report
	return nil
}

// maxRecords is how many records of the LiME stream are looked at.
const maxRecords = 1 << 20

var errEnded = errors.New("the destination ended")

// copy writes the form to w, and its LiME stream to sum where that is another.
func (c *conversion) copy(ctx context.Context, w io.Writer, sum io.Writer) error {
	fw, err := forms.NewWriter(w, c.o.Form, c.write)
	if err != nil {
		return err
	}
	to := []forms.Writer{fw}
	if !c.o.Form.IsStream() {
		to = append(to, forms.NewLime(sum))
	}
	s := forms.Source{Image: c.img, RAM: c.src.ram, Limit: c.src.limit}
	if c.o.Progress != nil {
		s.Progress = func(n uint64) { c.o.Progress(int64(n), max(c.total, int64(n))) }
	}
	c.rep, c.stored, err = forms.Copy(ctx, s, to...)
	for _, w := range to {
		if err == nil {
			err = w.Close()
		}
	}
	return err
}

// A digester hashes what goes on to w.
type digester struct {
	h interface {
		io.Writer
		Sum([]byte) []byte
	}
	w io.Writer
	n int64
}

func (d *digester) Write(p []byte) (int, error) {
	d.h.Write(p)
	d.n += int64(len(p))
	return d.w.Write(p)
}

func (d *digester) digest() acquire.Digest {
	return acquire.Digest{Bytes: d.n, SHA256: hex.EncodeToString(d.h.Sum(nil))}
}

// Name returns the name of what becomes of an image.
func Name(source string, f forms.Form, encrypted bool) string {
	name := source
	for _, s := range []string{sink.PartialSuffix, agefile.Suffix} {
		if n := len(name) - len(s); n > 0 && name[n:] == s {
			name = name[:n]
		}
	}
	name = forms.Stem(name) + f.Suffix()
	if encrypted {
		name += agefile.Suffix
	}
	return name
}
