package containment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// JournalVersion is the version of the entries of a journal. Fields are only added.
const JournalVersion = 1

// JournalSuffix ends the names of journals.
const JournalSuffix = "-containment.jsonl"

var (
	// ErrNoJournal is wrapped by errors about a journal that is not there.
	ErrNoJournal = errors.New("no such journal")
	// ErrBusy is wrapped by errors about a journal that someone else is writing.
	ErrBusy = errors.New("another containment or release of this target is under way")
	// ErrChain is wrapped by errors about a journal that was altered.
	ErrChain = errors.New("the journal's chain of digests is broken")
)

// Journals are where journals lie. Each belongs to one target in one case. They are safe for
// concurrent use.
type Journals interface {
	// Open opens a journal for writing, and makes it if it is not there. At any time one holds it:
	// another gets an error wrapping ErrBusy, at the latest from Append.
	Open(ctx context.Context, name string) (Journal, error)
	// Load reads a journal, whoever writes it meanwhile, without one line that is not whole at its
	// end. It returns an error wrapping ErrNoJournal if there is none.
	Load(ctx context.Context, name string) ([]byte, error)
	// List returns the names of all journals, sorted.
	List(ctx context.Context) ([]string, error)
	// String names the place for people.
	String() string
}

// A Journal is open for appending.
type Journal interface {
	// Load returns all lines as they are now.
	Load(ctx context.Context) ([]byte, error)
	// Append adds one line, which ends in a line feed, as number seq (from 0), and returns when it
	// is durable. After an error nothing more can be appended.
	Append(ctx context.Context, seq int, line []byte) error
	Close() error
}

// JournalName names the journal of a target in a case: "case-42-i-0abc-containment.jsonl". Characters that
// file systems or S3 have other uses for become underscores, so a digest of what was written tells
// names apart that would then be one.
func JournalName(caseID string, t Target) string {
	full := t.Account + "/" + t.Region + "/" + t.Short()
	clean := plain(strings.TrimLeft(caseID+"-"+t.Short(), "-."))
	if len(clean) > 120 {
		clean = clean[:120]
	}
	sum := sha256.Sum256([]byte(caseID + "\n" + full))
	return clean + "-" + hex.EncodeToString(sum[:4]) + JournalSuffix
}

// plain has underscores for what file systems or S3 have other uses for.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, s)
}

// An EntryKind says what an entry of a journal tells.
type EntryKind string

const (
	EntryBegin    EntryKind = "begin"    // a plan, and who applies it
	EntryIntent   EntryKind = "intent"   // a call is about to be made
	EntryResult   EntryKind = "result"   // what became of the call, or that none was needed
	EntrySkip     EntryKind = "skip"     // a change that was not tried, with the reason
	EntryTamper   EntryKind = "tamper"   // someone undid a change
	EntryEnd      EntryKind = "end"      // the state at the end of a run
	EntryRelease  EntryKind = "release"  // a release begins
	EntryConflict EntryKind = "conflict" // release left an item that is neither as before nor as we set it
)

// An Entry is one line of a journal.
type Entry struct {
	Version int       `json:"v"`
	Seq     int       `json:"seq"`
	Time    time.Time `json:"time"` // UTC
	Kind    EntryKind `json:"entry"`

	// Of begin and release entries.
	Plan   *Plan     `json:"plan,omitempty"`
	Caller *Identity `json:"caller,omitempty"`
	Tool   string    `json:"tool,omitempty"`
	Stages []Stage   `json:"stages,omitempty"` // that were asked for; none: all

	// Of entries about a change.
	Item    *Item  `json:"item,omitempty"`
	Stage   Stage  `json:"stage,omitempty"`
	Call    string `json:"call,omitempty"`
	Prior   State  `json:"prior,omitempty"` // read just before
	Want    State  `json:"want,omitempty"`
	Undo    bool   `json:"undo,omitempty"`    // an intent or a result of a release
	Changed bool   `json:"changed,omitempty"` // of a result: a call was made, and may have had effect
	Keep    string `json:"keep,omitempty"`
	Error   string `json:"error,omitempty"`
	Reply
	// Found is the state read after an error, or by a conflict or tampering.
	Found State `json:"found,omitempty"`

	Outcome Outcome `json:"outcome,omitempty"` // of end entries

	Prev string `json:"prev_sha256"` // of the line before, without its line feed; empty for the first
}

// ParseJournal reads a journal and checks that its lines follow one another. It returns an error wrapping
// ErrChain with the number of the first line that does not fit. The chain shows that no line was
// changed or dropped between others; lines cut off at the end leave no trace in it.
func ParseJournal(b []byte) ([]Entry, error) {
	var entries []Entry
	prev := ""
	for n := 0; len(b) > 0; n++ {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return entries, fmt.Errorf("line %d is cut off: %w", n+1, ErrChain)
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return entries, fmt.Errorf("line %d: %v: %w", n+1, err, ErrChain)
		}
		if e.Version != JournalVersion {
			return entries, fmt.Errorf("line %d: version %d of journals is not known to this program", n+1, e.Version)
		}
		if e.Seq != n || e.Prev != prev {
			return entries, fmt.Errorf("line %d does not follow the one before: %w", n+1, ErrChain)
		}
		entries = append(entries, e)
		prev = digest(line)
		b = rest
	}
	return entries, nil
}

func digest(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// An item's history is what a journal tells of it.
type history struct {
	item  Item
	stage Stage
	call  string
	first int     // the sequence number of its first intent
	prior State   // before our first change
	sets  []State // what it was set to, or may have been, in order
	keep  string
	// open says that the last intent has no result: the call may have been made.
	open     bool
	released bool
	last     time.Time // of the last intent
}

// set reports whether s is a state that we set the item to, or may have.
func (h *history) set(s State) bool {
	for _, w := range h.sets {
		if Same(w, s) {
			return true
		}
	}
	return false
}

// A record is what a journal tells: the plan begun, and the items changed since the last release
// that was whole, in the order of their first change.
type record struct {
	begun   *Entry
	plan    *Plan
	items   []*history
	byItem  map[Item]*history
	end     *Entry // the last end entry
	release bool   // the last run was a release
}

func fold(entries []Entry) *record {
	r := &record{byItem: map[Item]*history{}}
	for i := range entries {
		r.add(&entries[i])
	}
	return r
}

// add takes in the next entry.
func (r *record) add(e *Entry) {
	switch e.Kind {
	case EntryBegin:
		r.begun, r.plan, r.release = e, e.Plan, false
	case EntryRelease:
		r.release = true
	case EntryEnd:
		r.end = e
	case EntryIntent, EntryResult:
		if e.Item == nil {
			return
		}
		h := r.byItem[*e.Item]
		if e.Undo {
			if h == nil {
				return
			}
			if e.Kind == EntryIntent {
				h.open, h.last = true, e.Time
			} else if h.open = false; e.Error == "" {
				h.released = true
			}
			return
		}
		if e.Kind == EntryResult {
			if h != nil {
				h.open = false
			}
			return
		}
		if h == nil || h.released {
			if h != nil { // contained again after a release: a new history
				r.drop(h)
			}
			h = &history{item: *e.Item, first: e.Seq, prior: e.Prior, keep: e.Keep}
			r.items = append(r.items, h)
			r.byItem[h.item] = h
		}
		h.stage, h.call, h.open, h.last = e.Stage, e.Call, true, e.Time
		h.sets = append(h.sets, e.Want)
	}
}

func (r *record) drop(h *history) {
	for i, x := range r.items {
		if x == h {
			r.items = append(r.items[:i], r.items[i+1:]...)
		}
	}
}

// held are the items that are still changed: not released.
func (r *record) held() []*history {
	var hs []*history
	for _, h := range r.items {
		if !h.released {
			hs = append(hs, h)
		}
	}
	return hs
}
