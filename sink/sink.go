// Package sink stores evidence: images, manifests, signatures.
//
// A [Sink] creates an [Object] under a name that must not exist yet. The
// writer ends an object in one of three ways: Commit makes it visible under its
// name, Keep makes what was written visible as partial, and Abort, for objects that
// hold no evidence, removes it. Nothing is ever overwritten. Package sinktest
// holds the conformance suite that every implementation passes.
package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

// A Sink is a place for evidence. It is safe for concurrent use.
type Sink interface {
	// Create starts a new object. name is a plain file name (see ValidName)
	// that does not end in PartialSuffix. It returns an error wrapping
	// ErrExists when the name, or its partial form, is taken. Nothing is
	// visible under name until Commit. ctx bounds Create alone.
	Create(ctx context.Context, name string) (Object, error)

	// String names the place for people and manifests, without secrets.
	String() string
}

// An Object is one file of evidence being written. Write must not be called
// concurrently. Errors of Write are sticky. Exactly one of Commit, Keep and
// Abort ends an object; a second call returns ErrEnded.
type Object interface {
	io.Writer

	// Commit makes everything written durable and visible under the name, or
	// returns an error and leaves the bytes where they are (see Location):
	// they can still be kept with Keep. It returns an error wrapping ErrExists when
	// the name was taken meanwhile, and the error of Write after a failed Write.
	Commit(ctx context.Context) (Receipt, error)

	// Keep makes what was written durable and visible as partial. It works
	// after a failed Write and after a failed Commit. An error means that the
	// bytes, which stay at Location, are not proven durable; the object has then
	// not ended.
	Keep(ctx context.Context) (Receipt, error)

	// Abort discards the object. For captured bytes, use Keep.
	Abort(ctx context.Context) error

	// Location says where the bytes are now. It does not wait for a Write.
	Location() string
}

// A Receipt is what the sink vouches for after Commit or Keep.
type Receipt struct {
	Name     string `json:"name"`     // the name inside the sink
	Location string `json:"location"` // for people and for opening it again
	Size     int64  `json:"size"`     // bytes
	Partial  bool   `json:"partial,omitempty"`

	// What the service that stores the object says of it, as far as it was checked.
	Checksums  map[string]string `json:"checksums,omitempty"`  // by algorithm, verified by the service and by us
	ETag       string            `json:"etag,omitempty"`       // not a digest
	VersionID  string            `json:"version_id,omitempty"` // of this very object, where versions are kept
	Encryption string            `json:"encryption,omitempty"` // at rest, by the service

	// Segments are the objects, in order, that hold an object too large for one.
	Segments []Segment `json:"segments,omitempty"`
	// Pending says that every byte is durable, but not at its place yet: the object is in
	// pieces. Nil: it is where it should be.
	Pending *Pending `json:"pending,omitempty"`
	// Notes say what happened on the way, for the record.
	Notes []string `json:"notes,omitempty"`
}

// A Segment is one of several objects that hold the bytes of one, in order.
type Segment struct {
	Name      string            `json:"name"`
	Size      int64             `json:"size"`             // bytes
	SHA256    string            `json:"sha256,omitempty"` // ours; missing when not all that was written is stored
	Checksums map[string]string `json:"checksums,omitempty"`
	ETag      string            `json:"etag,omitempty"`
	VersionID string            `json:"version_id,omitempty"`
}

// SegmentsSuffix ends the name of the list that makes segments one object. Theirs end in
// .000, .001 and so on; see SegmentOf.
const SegmentsSuffix = ".segments"

// SegmentOf returns the object that a segment, or a list of segments, belongs to by its name.
func SegmentOf(name string) (object string, ok bool) {
	if object, ok := strings.CutSuffix(name, SegmentsSuffix); ok {
		return object, true
	}
	n := len(name) - len(".000")
	if n <= 0 || name[n] != '.' {
		return name, false
	}
	for _, c := range name[n+1:] {
		if c < '0' || c > '9' {
			return name, false
		}
	}
	return name[:n], true
}

// Pending says where the pieces of an object are.
type Pending struct {
	Root         string        `json:"root"`         // folder of all that waits
	Final        string        `json:"final"`        // the location that the object will have
	Descriptions []Description `json:"descriptions"` // files below Root that describe the pieces
	Here         int64         `json:"bytes_here"`   // below Root
	There        int64         `json:"bytes_there"`  // held by the service
	Why          string        `json:"why"`
}

// A Description is a file that describes pieces.
type Description struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// A Spiller is a sink that goes on in another place when its own fails.
type Spiller interface {
	// Spill returns that place, nil if there is none.
	Spill() SpaceChecker
}

// A Hastener is an Object that may wait for a network.
type Hastener interface {
	// Hasten is called, from any goroutine, when the user wants to leave: a Write that
	// waits fails after d at the latest. What was written can be kept as ever.
	Hasten(d time.Duration)
}

// A Noter is an Object of which another process may have to finish what this one began.
type Noter interface {
	// Note takes what is known of the object, for whoever finishes it should this process be killed: JSON of at most
	// MaxNote bytes, without secrets. It is called before the first Write, at most once, and stores nothing by itself:
	// where the bytes wait for another process, the note is durable before the first of them. After an error there is none.
	Note(note []byte) error
}

// MaxNote is how long a note may be, in bytes.
const MaxNote = 4 << 20

// A Weigher is a sink whose objects hold bytes in memory until they are stored.
type Weigher interface {
	// Memory returns the bytes that an object of about expected bytes takes, at most.
	Memory(expected int64) int64
}

// A Sizer can prepare for an object of about expected bytes: an object store
// fixes the size of its parts before the first of them.
type Sizer interface {
	// CreateSized is Create for evidence of at most about expected bytes. More
	// can be written.
	CreateSized(ctx context.Context, name string, expected int64) (Object, error)
}

// CreateSized creates an object of about expected bytes in s.
func CreateSized(ctx context.Context, s Sink, name string, expected int64) (Object, error) {
	if z, ok := s.(Sizer); ok {
		return z.CreateSized(ctx, name, expected)
	}
	return s.Create(ctx, name)
}

// A Neutral sink cannot rename, so that a partial object may lie under its plain
// name: whoever records its state says so in the name of the record.
type Neutral interface{ Neutral() bool }

// IsNeutral reports whether partial objects of s may lie under their plain names.
func IsNeutral(s any) bool {
	n, ok := s.(Neutral)
	return ok && n.Neutral()
}

// A Teller knows more of a place than that it can be written to.
type Teller interface {
	// Tell returns sentences, for people, on what the last Check found, and on
	// what no check can prove.
	Tell() []string
}

// An Opener reads objects back; for verify and cat.
type Opener interface {
	// Open opens a committed or kept object. The error wraps fs.ErrNotExist
	// when there is none. Where reading takes a network, it fails once ctx has ended.
	Open(ctx context.Context, name string) (Reader, error)
}

// A Reader reads a stored object, by streaming or by range.
type Reader interface {
	io.Reader
	io.ReaderAt
	io.Closer
	Size() int64
}

// A SpaceChecker knows how much room is left.
type SpaceChecker interface {
	// Free returns the bytes that can still be written. It writes nothing.
	Free(ctx context.Context) (int64, error)
	// Volume names what Free is about, such as a file system: sinks on one volume
	// share its room.
	Volume() string
}

// A Checker can prove, before the target is touched, that Create would work
// for name. It leaves nothing behind.
type Checker interface {
	Check(ctx context.Context, name string) error
}

// ErrExists is wrapped by errors about a name that is taken: fs.ErrExist.
var ErrExists = fs.ErrExist

// ErrNothing is wrapped by errors of Keep when not one byte of the object is stored.
var ErrNothing = errors.New("nothing of it is stored")

// ErrEnded is returned by the methods of an object that has ended.
var ErrEnded = errors.New("object has ended")

// PartialSuffix marks the name of an object that was kept as partial.
const PartialSuffix = ".partial"

// MaxName is the longest name that a sink takes, in bytes. It leaves room for
// suffixes below the 255 bytes of common file systems.
const MaxName = 200

// ValidNew returns an error unless name may be given to Create. A committed
// object called x.partial would be taken for a kept one.
func ValidNew(name string) error {
	if strings.HasSuffix(name, PartialSuffix) {
		return fmt.Errorf("name %q: must not end in %s", name, PartialSuffix)
	}
	return ValidName(name)
}

// ValidName returns an error unless name is safe in file systems, object
// stores, URLs and shells: letters, digits, '.', '_', '-', '+', '=' and '@',
// neither starting with '.' or '-' nor ending in '.' (Windows drops it), at most
// MaxName bytes.
func ValidName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("name %q: must have 1 to %d bytes", name, MaxName)
	}
	if name[len(name)-1] == '.' {
		return fmt.Errorf("name %q: must not end in a dot", name)
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '-'), c == '_', c == '+', c == '=', c == '@':
		default:
			return fmt.Errorf("name %q: character %q at byte %d is not allowed", name, c, i)
		}
	}
	return nil
}

// A Holer is an Object that can take zeros without storing them.
type Holer interface {
	// Hole is a Write of n zero bytes. ErrNoHole: nothing was done, and they must be written.
	Hole(n int64) error
}

// ErrNoHole is returned by an object that cannot have holes after all.
var ErrNoHole = errors.New("no holes here")
