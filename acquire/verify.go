package acquire

import (
	"context"
	"errors"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// VerifyOptions say how to verify.
type VerifyOptions struct {
	// Signers are the keys that are trusted. Nil: the signature is checked
	// against the key that it carries, and reported as untrusted.
	Signers *signature.AllowedSigners
	// Workers is how many frames are checked at once (default: GOMAXPROCS).
	Workers int
	// Progress, if set, is called now and then with stored bytes done and in all.
	Progress func(done, total int64)
}

// Verdicts of Verify, worst last.
const (
	VerdictOK        = "verified"  // complete, intact, signed by a trusted key
	VerdictPartial   = "partial"   // intact, trusted, and the manifest says partial
	VerdictUntrusted = "untrusted" // intact, but not signed by a trusted key
	VerdictMismatch  = "mismatch"  // image, frames, manifest and signature do not agree
)

// A VerifyReport is everything that Verify found; all mismatches, not the first.
type VerifyReport struct {
	Image     string         `json:"image"` // location read
	Verdict   string         `json:"verdict"`
	Manifest  *Manifest      `json:"manifest,omitempty"`
	Signature SignatureState `json:"signature"`
	Problems  []Mismatch     `json:"problems,omitempty"`
	Stored    int64          `json:"stored_bytes"` // read
	Raw       int64          `json:"raw_bytes"`    // decoded
	Duration  time.Duration  `json:"duration_ns"`
}

// SignatureState is what the manifest's signature is worth.
type SignatureState struct {
	Present     bool   `json:"present"`
	Valid       bool   `json:"valid"`   // by the key that it carries
	Trusted     bool   `json:"trusted"` // that key stands in the allowed signers
	Principal   string `json:"principal,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Detail      string `json:"detail,omitempty"`
}

// A Mismatch is one thing that does not agree with the manifest.
type Mismatch struct {
	What         string `json:"what"`              // stored digest, raw digest, frame, structure, ranges, manifest, signature...
	Frame        int    `json:"frame"`             // -1 when it is not about one frame
	StoredOffset int64  `json:"stored_offset"`     // of the frame, -1 when unknown
	RawOffset    int64  `json:"raw_offset"`        // of the frame, -1 when unknown
	Address      string `json:"address,omitempty"` // physical address where known, 0x...
	Detail       string `json:"detail"`
}

// Verify re-reads the image called name against its manifest and signature, which
// lie beside it in where. name may be the image, its partial form, or its
// manifest. An error means that verification could not be done (no such file,
// cancelled); what was found wrong is in the report.
func Verify(ctx context.Context, where sink.Opener, name string, opts VerifyOptions) (*VerifyReport, error) {
	return nil, errors.ErrUnsupported
}
