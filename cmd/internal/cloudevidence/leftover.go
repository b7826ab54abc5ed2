package cloudevidence

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/sink"
)

// A Leftover is what a run left of an instance that nobody signed: it was killed, or it still runs.
type Leftover struct {
	Name  string    `json:"name"` // of what it set out to gather, or of its record, which has no signature
	Begun time.Time `json:"begun,omitzero"`
	Asked []string  `json:"asked,omitempty"`
	// Set is the tag of the snapshots that it was to make.
	Set   string          `json:"snapshots_set,omitempty"`
	Files []records.Named `json:"files,omitempty"` // with their digests, if they could be read
	// Error says why it is not known what was left, or not all of it.
	Error string `json:"error,omitempty"`
}

// Bounds on what is read of leavings, which anybody may have put there who may write to the place: of how many runs in all and of an instance, how
// many files of one, and of what it set out to gather.
const (
	maxLeavings  = 200
	maxLeft      = 50
	maxLeftFiles = 100
	maxBegun     = 1 << 20
)

// Leavings are what runs left in a place without a signed record. They are safe for concurrent use.
type Leavings struct {
	where sink.Sink
	runs  []leaving
	err   error // why they are not known
	more  bool  // there are more than maxLeavings
}

// A leaving is that of one run.
type leaving struct {
	name  string   // as Leftover.Name
	begun Record   // as far as it is known
	files []string // names
}

// Find looks for what runs left in a place. signed says that a record without a signature is left, too, since there is a key to sign for it. Nothing
// is changed there.
func Find(ctx context.Context, where sink.Sink, signed bool) *Leavings {
	l := &Leavings{where: where}
	place, ok := where.(sink.Lister)
	if !ok {
		return l
	}
	listing, err := place.List(ctx)
	if l.err = err; err != nil {
		return l
	}
	there, files := map[string]bool{}, map[string][]string{} // files by their record
	for _, o := range listing.Objects {
		there[o.Name] = true
		if record := RecordOf(strings.TrimSuffix(o.Name, sink.PartialSuffix)); record != "" {
			files[record] = append(files[record], o.Name)
		}
	}
	unsigned := func(record string) bool { return signed && there[record] && !there[record+acquire.SignatureSuffix] }
	for _, o := range listing.Objects {
		name, record := o.Name, RecordOf(o.Name)
		is := func(suffix string) bool { return name == strings.TrimSuffix(record, Suffix)+suffix }
		own := files[record]
		switch {
		case record == "":
			continue
		case is(BegunSuffix) && !there[record], is(Suffix) && unsigned(record):
		case is(SnapshotsSuffix) && unsigned(name) && !unsigned(record): // or it lies among the files of that
			own = []string{name}
		default:
			continue
		}
		if len(l.runs) == maxLeavings {
			l.more = true
			break
		}
		run := leaving{name: name, files: own}
		if place, ok := where.(sink.Opener); ok {
			if data, err := sink.ReadAll(ctx, place, name, maxOf(name)); err == nil && json.Unmarshal(data, &run.begun) != nil {
				run.begun = Record{}
			}
		}
		l.runs = append(l.runs, run)
	}
	return l
}

// maxOf bounds what is read of a file, by its name.
func maxOf(name string) int64 {
	if strings.HasSuffix(name, BegunSuffix) {
		return maxBegun
	}
	return maxArchive
}

// Of are those of an instance, which its operator calls host. base is that of this run, as in NewKeeping. Another run may have called the instance
// otherwise, and another instance so: what the run said of itself counts, and its name only if it cannot be read.
func (l *Leavings) Of(ctx context.Context, host string, i Instance, base string) (left []Leftover) {
	if l.err != nil {
		return []Leftover{{Error: "whether an earlier run left something is not known: " + l.err.Error()}}
	}
	for _, run := range l.runs {
		if !run.of(host, i) || strings.HasPrefix(run.name, base) {
			continue
		}
		if len(left) == maxLeft {
			left[0].Error = join(left[0].Error, fmt.Sprintf("there are more than %d such runs", maxLeft))
			break
		}
		left = append(left, l.look(ctx, run))
	}
	if l.more {
		left = append(left, Leftover{Error: fmt.Sprintf("more than %d runs left something without a signed record: only so many were looked at", maxLeavings)})
	}
	return left
}

// of reports whether it is of an instance.
func (l leaving) of(host string, i Instance) bool {
	in := l.begun.Instance
	if in.ID == "" {
		rest, ok := strings.CutPrefix(l.name, host)
		return ok && isBase(rest)
	}
	return in.ID == i.ID && cmp.Or(in.Account, i.Account) == cmp.Or(i.Account, in.Account)
}

// isBase reports whether what stands behind the name of a host is what BaseName puts there.
func isBase(rest string) bool {
	stamp, _, ok := strings.Cut(rest, nameMark)
	_, err := time.Parse(nameTime, stamp)
	return ok && err == nil
}

// look reads the files of a run. Of what they say no more is taken over than has bounds.
func (l *Leavings) look(ctx context.Context, run leaving) Leftover {
	one := Leftover{Name: run.name, Begun: run.begun.Begun}
	for _, k := range kinds {
		if slices.Contains(run.begun.Asked, k.Name) {
			one.Asked = append(one.Asked, k.Name)
		}
	}
	if s := run.begun.Snapshots; s != nil && isSet(s.Set) {
		one.Set = s.Set
	}
	for n, name := range run.files {
		if n == maxLeftFiles {
			one.Error = join(one.Error, fmt.Sprintf("it has %d files: only %d were looked at", len(run.files), n))
			break
		}
		file := records.Named{Name: name}
		if place, ok := l.where.(sink.Opener); ok {
			if data, err := sink.ReadAll(ctx, place, name, maxOf(name)); err != nil {
				one.Error = join(one.Error, fmt.Sprintf("%s could not be read: %v", name, err))
			} else {
				file.Digest = records.DigestOf(data)
			}
		}
		one.Files = append(one.Files, file)
	}
	return one
}

// Archives are how many items lie whole among the files.
func (l Leftover) Archives() (n int) {
	for _, f := range l.Files {
		if archiveName.MatchString(f.Name) {
			n++
		}
	}
	return n
}

// left holds what a record says of other runs' leavings against what lies there.
func (v *Verification) left(ctx context.Context, where sink.Opener) error {
	for _, l := range v.Record.Left {
		for _, f := range l.Files {
			if f.SHA256 == "" || sink.ValidName(f.Name) != nil {
				continue
			}
			data, err := sink.ReadAll(ctx, where, f.Name, maxArchive)
			switch {
			case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(f.Name, sink.PartialSuffix): // its run went on
			case errors.Is(err, fs.ErrNotExist):
				v.problem("%s, which another run left, is missing", f.Name)
			case errors.Is(err, sink.ErrTooLarge):
				v.problem("%s, which another run left: %v", f.Name, err)
			case err != nil:
				return err
			case records.DigestOf(data) != f.Digest:
				v.problem("%s, which another run left, has SHA-256 %s, and should have %.64s", f.Name, records.DigestOf(data).SHA256, f.SHA256)
			}
		}
	}
	return nil
}
