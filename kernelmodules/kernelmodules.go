// Package kernelmodules finds a LiME kernel module that fits a target's
// kernel, and checks it.
//
// A [Store] looks a module up for a [Kernel]. What it returns has been read as
// an ELF file: architecture, vermagic and LiME's parameters are known, and a module
// that does not fit is refused here, before the target is touched.
package kernelmodules

import (
	"context"
	"errors"
	"strings"
	"time"
)

// A Kernel is the kernel that a module must fit.
type Kernel struct {
	Release string // uname -r
	Machine string // uname -m: x86_64, aarch64...
}

// A Store finds modules. It is safe for concurrent use.
type Store interface {
	// Find returns a module for k. It returns an error wrapping ErrNoModule
	// when the store has none, and a *MismatchError when it has one that
	// does not fit; it never returns a module that fails Module.Check(k).
	Find(ctx context.Context, k Kernel) (*Module, error)
	// String names the store for people and manifests, without secrets.
	String() string
}

// A Module is a kernel module and what its ELF file says of it.
type Module struct {
	Data   []byte `json:"-"`      // unpacked
	Origin string `json:"origin"` // where it came from: a path, a URL
	SHA256 string `json:"sha256"` // of Data, lower-case hex
	Size   int64  `json:"size"`   // of Data, bytes

	Name      string   `json:"name"` // from .modinfo or .gnu.linkonce.this_module, e.g. "lime"
	Version   string   `json:"version,omitempty"`
	Vermagic  string   `json:"vermagic"`            // from .modinfo
	Machine   string   `json:"machine"`             // in uname -m's words
	Params    []string `json:"params"`              // parameter names, sorted
	Signed    bool     `json:"signed"`              // carries an appended PKCS#7 signature (not verified here)
	Signature string   `json:"signature,omitempty"` // how the file itself was verified: one of the values below

	Repository *Provenance `json:"repository,omitempty"` // nil unless it came from a repository
	Installed  *Installed  `json:"installed,omitempty"`  // nil unless it was found on the target
}

// Installed says where on a target a module was found.
type Installed struct {
	Path     string `json:"path"`
	Checksum string `json:"checksum"` // SHA-256 of the file as it is stored there, lower-case hex
	Size     int64  `json:"size"`     // of that file, bytes
}

// Provenance says which repository a module came from, and who vouched for it there.
type Provenance struct {
	URL        string    `json:"url"`                   // of the repository: a URL, or a folder
	Manifest   string    `json:"manifest"`              // the list in it, such as primary
	Revision   uint64    `json:"revision"`              // of the repository
	Path       string    `json:"path"`                  // of the module, below URL
	Checksum   string    `json:"checksum"`              // SHA-256 of the file as it is stored there, lower-case hex
	Key        string    `json:"key,omitempty"`         // fingerprint of the pinned OpenPGP key; empty: no signature was checked
	SigningKey string    `json:"signing_key,omitempty"` // of the key or subkey that signed the list
	SignedAt   time.Time `json:"signed_at,omitzero"`    // as the signature says
	Offline    bool      `json:"offline,omitempty"`     // read from the cache only
}

// Values of Module.Signature.
const (
	Pinned              = "pinned sha256"                       // the user gave its digest
	SignedRepository    = "signed repository"                   // the user gave the key that signed for it
	Unverified          = "user file, unverified"               // nobody vouches for it
	UnsignedRepo        = "repository, signature unchecked"     // nobody vouches for it either
	UnverifiedInstalled = "installed on the target, unverified" // only the target vouches for it
)

// Verified reports whether somebody whom the user named vouches for the
// module's bytes. The zero value is not verified.
func (m *Module) Verified() bool {
	return m.Signature == Pinned || m.Signature == SignedRepository
}

// ErrNoModule is wrapped by errors of a store that has no module for a kernel.
var ErrNoModule = errors.New("no module for this kernel")

// ErrNotPinned is wrapped by errors about a file whose digest is not one of
// those that the user pinned.
var ErrNotPinned = errors.New("sha256 is not pinned")

// A MismatchError says why a module does not fit a kernel.
type MismatchError struct {
	Origin  string
	Kernel  Kernel
	Reasons []string // all of them
}

func (e *MismatchError) Error() string {
	return "module " + e.Origin + " does not fit kernel " + printable(e.Kernel.Release) + " (" + printable(e.Kernel.Machine) + "): " + strings.Join(e.Reasons, "; ")
}
