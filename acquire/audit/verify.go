package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// A Report is everything that Verify found.
type Report struct {
	Log       string                 `json:"log"`     // location read
	Verdict   string                 `json:"verdict"` // of package acquire; partial: it has no end
	Run       string                 `json:"run,omitempty"`
	Case      string                 `json:"case,omitempty"`
	Lines     int                    `json:"lines"`
	Ended     bool                   `json:"ended"` // the last line ends the run
	Code      *int                   `json:"exit_code,omitempty"`
	Head      string                 `json:"head"` // SHA-256 of the last line
	SHA256    string                 `json:"sha256"`
	Bytes     int64                  `json:"bytes"`
	Signature acquire.SignatureState `json:"signature"`
	// Anchored is the last line that the trusted signature of a manifest vouches for, through
	// the digest of the line that the manifest names. 0: none.
	Anchored  int           `json:"anchored"`
	Problems  []Problem     `json:"problems,omitempty"`
	Manifests []FoundRecord `json:"manifests,omitempty"`
	Entries   []Entry       `json:"-"` // as far as they could be read
}

// A Problem is one thing that is wrong with a log.
type Problem struct {
	Line   int    `json:"line"` // 0: not about one
	Detail string `json:"detail"`
}

// A FoundRecord is a manifest that the log names, and how it was found.
type FoundRecord struct {
	Record
	Line  int    `json:"line"`
	Found string `json:"found"` // good, altered, missing, or elsewhere: the log says that it was written to another place
}

// How a manifest was found.
const (
	FoundGood      = "good"
	FoundAltered   = "altered"
	FoundMissing   = "missing"
	FoundElsewhere = "elsewhere"
)

// Bounds on a log that Verify reads. One of 10,000 hosts has some 100 MB.
const (
	maxLog      = 256 << 20
	maxLines    = 1 << 20
	maxProblems = 100
)

// VerifyOptions say whom to trust, as in acquire.VerifyOptions.
type VerifyOptions struct {
	Signers *signature.AllowedSigners
	At      time.Time // zero: now
}

// IsLog reports whether a name is that of a log, whole or partial, or of its signature.
func IsLog(name string) bool {
	return strings.HasSuffix(logOf(name), Suffix)
}

func logOf(name string) string {
	return strings.TrimSuffix(strings.TrimSuffix(name, acquire.SignatureSuffix), sink.PartialSuffix)
}

// Verify checks a log in where: the chain, the end, the signature, and that the manifests that it
// names lie beside it unaltered. Images are not read. An error means that it could not be
// done; what was found wrong is in the report. The log is taken for hostile.
func Verify(ctx context.Context, where sink.Opener, name string, o VerifyOptions) (*Report, error) {
	if o.At.IsZero() {
		o.At = time.Now()
	}
	name = logOf(name)
	v := &verification{ctx: ctx, where: where, name: name, o: o, rep: &Report{}}
	data, err := sink.ReadAll(ctx, where, name, maxLog)
	if errors.Is(err, fs.ErrNotExist) {
		v.name += sink.PartialSuffix
		data, err = sink.ReadAll(ctx, where, v.name, maxLog)
	}
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	v.rep.Log, v.rep.Bytes, v.rep.SHA256 = location(where, v.name), int64(len(data)), sum(data)
	digests := v.chain(data)
	if err := v.signature(data, name); err != nil {
		return nil, err
	}
	if err := v.manifests(digests); err != nil {
		return nil, err
	}
	v.rep.Verdict = v.verdict()
	return v.rep, nil
}

type verification struct {
	ctx   context.Context
	where sink.Opener
	name  string
	o     VerifyOptions
	rep   *Report
}

func (v *verification) problem(line int, format string, args ...any) {
	if len(v.rep.Problems) < maxProblems {
		v.rep.Problems = append(v.rep.Problems, Problem{line, Printable(fmt.Sprintf(format, args...))})
	}
}

// chain checks line after line, and returns their digests.
func (v *verification) chain(data []byte) (digests []string) {
	previous, r := none, v.rep
	for n := 1; len(data) > 0; n++ {
		if n > maxLines {
			v.problem(n, "there are more than %d lines; the rest was not read", maxLines)
			break
		}
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		if !whole {
			v.problem(n, "the line is cut off after %d bytes", len(line))
			break
		}
		line, data = data[:len(line)+1], rest
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			v.problem(n, "the line is not an entry: %v", err)
			e = Entry{Seq: n, Run: r.Run, Case: r.Case}
		} else {
			switch at := time.UnixMicro(e.Timestamp); {
			case e.Version != Version:
				v.problem(n, "version %d is not supported, this program reads version %d", e.Version, Version)
			case e.Previous != previous && n == 1:
				v.problem(n, "the first line says that another one, with the digest %.64s, came before it: the start of the log is missing", e.Previous)
			case e.Previous != previous:
				v.problem(n, "the chain is broken: it names %.64s as the digest of line %d, which has %s: one of the two lines was altered, or lines are missing between them", e.Previous, n-1, previous)
			case e.Seq != n:
				v.problem(n, "it is numbered %d", e.Seq)
			case n > 1 && (e.Run != r.Run || e.Case != r.Case):
				v.problem(n, "it is of the run %q of case %q, not of %q of %q", e.Run, e.Case, r.Run, r.Case)
			case n == 1 && e.Event != EventStart:
				v.problem(n, "the log starts with %q", e.Event)
			case r.Ended:
				v.problem(n, "it follows the end of the run")
			case e.Datetime != at.UTC().Format(timeLayout):
				v.problem(n, "datetime %q and timestamp %d differ", e.Datetime, e.Timestamp)
			}
		}
		if n == 1 {
			r.Run, r.Case = e.Run, e.Case
		}
		if e.Event == EventEnd && !r.Ended { // what follows the end is no end
			r.Ended, r.Code = true, e.Code
			v.complete(n, e)
		}
		previous = sum(line)
		digests = append(digests, previous)
		r.Entries = append(r.Entries, e)
		r.Lines, r.Head = n, previous
	}
	if r.Lines == 0 {
		v.problem(0, "the log is empty")
	}
	return digests
}

// complete checks that the end names the manifests of the lines before it.
func (v *verification) complete(line int, end Entry) {
	var named []Record
	for _, e := range v.rep.Entries {
		if e.Manifest != nil {
			named = append(named, *e.Manifest)
		}
	}
	if len(named) != len(end.Manifests) {
		v.problem(line, "the end names %d manifests, the lines before it %d", len(end.Manifests), len(named))
		return
	}
	for i := range named {
		if named[i] != end.Manifests[i] {
			v.problem(line, "the end names another manifest than line before it: %q", end.Manifests[i].Name)
		}
	}
}

func (v *verification) signature(data []byte, name string) error {
	s := &v.rep.Signature
	armored, err := sink.ReadAll(v.ctx, v.where, name+acquire.SignatureSuffix, acquire.MaxSignature)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.Detail = "there is no " + name + acquire.SignatureSuffix
		return nil
	case errors.Is(err, sink.ErrTooLarge):
		s.Present, s.Detail = true, err.Error()
	case err != nil:
		return fmt.Errorf("read signature: %w", err)
	default:
		*s = acquire.CheckSignature(signature.LogNamespace, data, armored, v.o.Signers, v.o.At)
	}
	if !s.Valid {
		v.problem(0, "signature: %s", s.Detail)
	}
	return nil
}

// manifests looks for each manifest that the log names. Files are found by plain names
// beside the log, never by the places that it names.
func (v *verification) manifests(digests []string) error {
	for i, e := range v.rep.Entries {
		if e.Manifest == nil {
			continue
		}
		f := FoundRecord{Record: *e.Manifest, Line: i + 1}
		if sink.ValidName(f.Name) != nil {
			v.problem(i+1, "%q is no name of a manifest", f.Name)
			continue
		}
		data, err := sink.ReadAll(v.ctx, v.where, f.Name, acquire.MaxManifest)
		switch {
		case errors.Is(err, fs.ErrNotExist) && v.elsewhere(f.Location):
			f.Found = FoundElsewhere
		case errors.Is(err, fs.ErrNotExist):
			f.Found = FoundMissing
			v.problem(i+1, "the manifest %s is missing", f.Name)
		case err != nil && !errors.Is(err, sink.ErrTooLarge):
			return fmt.Errorf("read manifest: %w", err)
		case err != nil || int64(len(data)) != f.Bytes || sum(data) != f.SHA256:
			f.Found = FoundAltered
			v.problem(i+1, "the manifest %s is not the one that was written: sha256 %s, want %.64s", f.Name, sum(data), f.SHA256)
		default:
			f.Found = FoundGood
			v.anchor(i+1, f.Name, data, digests)
		}
		v.rep.Manifests = append(v.rep.Manifests, f)
	}
	return nil
}

// elsewhere reports whether the log says that a manifest went to another place than the log.
func (v *verification) elsewhere(loc string) bool {
	place := ""
	if len(v.rep.Entries) > 0 {
		place = v.rep.Entries[0].Location
	}
	return place != "" && loc != "" && folder(loc) != strings.TrimRight(strings.ReplaceAll(place, `\`, "/"), "/")
}

func folder(loc string) string {
	loc = strings.ReplaceAll(loc, `\`, "/")
	return loc[:max(0, strings.LastIndexByte(loc, '/'))]
}

// anchor checks what a manifest says of the log.
func (v *verification) anchor(line int, name string, data []byte, digests []string) {
	m, err := acquire.ParseManifest(data)
	if err != nil || m.Previous == nil || !strings.HasSuffix(logOf(v.name), m.Previous.Name) {
		return // the digest is right, so that is what was written
	}
	p := m.Previous
	if p.Line < 1 || p.Line >= line || digests[p.Line-1] != p.SHA256 {
		v.problem(p.Line, "the manifest %s says that this line has the digest %.64s", name, p.SHA256)
		return
	}
	armored, err := sink.ReadAll(v.ctx, v.where, name+acquire.SignatureSuffix, acquire.MaxSignature)
	if err == nil && acquire.CheckSignature(signature.Namespace, data, armored, v.o.Signers, v.o.At).Trusted {
		v.rep.Anchored = max(v.rep.Anchored, p.Line)
	}
}

func (v *verification) verdict() string {
	r := v.rep
	switch {
	case len(r.Problems) > 0:
		return acquire.VerdictMismatch
	case !r.Signature.Trusted:
		return acquire.VerdictUntrusted
	case !r.Ended:
		return acquire.VerdictPartial
	}
	return acquire.VerdictOK
}

func location(where sink.Opener, name string) string {
	if s, ok := where.(fmt.Stringer); ok {
		return strings.TrimSuffix(s.String(), "/") + "/" + name
	}
	return name
}
