package containment

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	// Request is what asked for it, such as the id of a message.
	Request string `json:"request,omitempty"`
	// Asked is when that was asked for: it may have waited, and overtaken another.
	Asked time.Time `json:"asked,omitzero"`

	// Of entries about a change.
	Item    *Item  `json:"item,omitempty"`
	Stage   Stage  `json:"stage,omitempty"`
	Call    string `json:"call,omitempty"`
	Prior   State  `json:"prior,omitempty"` // read just before
	Want    State  `json:"want,omitempty"`
	Undo    bool   `json:"undo,omitempty"`    // an intent or a result of a release
	Changed bool   `json:"changed,omitempty"` // of a result: a call was made, and had effect, or may have it yet
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
	// found says that it was as wanted before anything was done: it is looked at, and never released.
	found bool
	// open says that the last intent has no result: the call may have been made.
	open     bool
	released bool
	last     time.Time // of the last intent

	wasStage Stage // before the last intent
	wasCall  string
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
	end     *Entry    // of the last run; nil if it has none
	release bool      // the last run was a release
	asked   time.Time // when the last run was asked for, if that is known
	// tracked are items whose flows may not have become untracked before they were isolated.
	tracked map[Item]bool
}

func fold(entries []Entry) *record {
	r := &record{byItem: map[Item]*history{}, tracked: map[Item]bool{}}
	for i := range entries {
		e := entries[i]
		if e.Item != nil {
			item := renamed(*e.Item)
			e.Item = &item
		}
		if e.Plan != nil {
			p := *e.Plan
			p.Changes = slices.Clone(p.Changes)
			for n := range p.Changes {
				p.Changes[n].Item = renamed(p.Changes[n].Item)
			}
			e.Plan = &p
		}
		r.add(&e)
	}
	return r
}

// renamed is an item as it is called now: journals of development builds before the first release have another kind of the same
// policies.
func renamed(i Item) Item {
	if i.Kind == "ec2/credential-deny" {
		i.Kind = "iam/role-policy"
	}
	return i
}

// add takes in the next entry.
func (r *record) add(e *Entry) {
	switch e.Kind {
	case EntryBegin:
		r.begun, r.plan, r.release, r.end, r.asked = e, e.Plan, false, nil, e.Asked
	case EntryRelease:
		r.release, r.end, r.asked = true, nil, e.Asked
		if e.Stages == nil { // what is not ours is not contained any more
			for _, h := range slices.Clone(r.items) {
				if h.found && h.stage != Untrack { // that is open, which the release looks at
					r.drop(h)
				}
			}
		}
	case EntryEnd:
		r.end = e
	case EntrySkip:
		if e.Item != nil && e.Stage == Untrack {
			r.tracked[*e.Item] = true
		}
	case EntryIntent, EntryResult:
		if e.Item == nil {
			return
		}
		h := r.byItem[*e.Item]
		switch {
		case e.Undo && h == nil:
		case e.Undo && e.Kind == EntryIntent:
			h.open, h.last = true, e.Time
		case e.Undo:
			if h.open = false; e.Error == "" {
				h.released = true
				delete(r.tracked, h.item)
			}
		case e.Kind == EntryIntent:
			r.intent(h, e)
		case h != nil && h.open:
			r.result(h, e)
		case h != nil && h.stage == Untrack && e.Stage == Isolate && !h.released && !h.found && !e.Changed && e.Want != nil:
			h.stage, h.call = e.Stage, e.Call // someone else isolated what we opened
			h.sets = append(h.sets, e.Want)
		case (h == nil || h.released || h.found) && !e.Changed && e.Want != nil:
			r.renew(h, &history{item: *e.Item, stage: e.Stage, call: e.Call, first: e.Seq, sets: []State{e.Want}, found: true})
		}
	}
}

// intent takes in that a call is about to be made.
func (r *record) intent(h *history, e *Entry) {
	if h == nil || h.released || h.found { // contained again after a release: a new history
		h = r.renew(h, &history{item: *e.Item, first: e.Seq, prior: e.Prior, keep: e.Keep})
	}
	h.wasStage, h.wasCall = h.stage, h.call
	h.stage, h.call, h.open, h.last = e.Stage, e.Call, true, e.Time
	h.sets = append(h.sets, e.Want)
}

// result takes in what became of the call.
func (r *record) result(h *history, e *Entry) {
	h.open = false
	if e.Stage == Untrack {
		if e.Error != "" && !Same(e.Found, h.sets[len(h.sets)-1]) {
			r.tracked[h.item] = true
		} else {
			delete(r.tracked, h.item)
		}
	}
	if e.Changed {
		return
	}
	// The service refused it, and it was as before the call. Who brings it there later is not us.
	if h.sets = h.sets[:len(h.sets)-1]; len(h.sets) == 0 {
		r.drop(h)
		return
	}
	h.stage, h.call = h.wasStage, h.wasCall
}

// renew puts a new history in the place of an item's old one, if it has one.
func (r *record) renew(old, h *history) *history {
	if old != nil {
		r.drop(old)
	}
	r.items = append(r.items, h)
	r.byItem[h.item] = h
	return h
}

// drop forgets a history.
func (r *record) drop(h *history) {
	r.items = slices.DeleteFunc(r.items, func(x *history) bool { return x == h })
	delete(r.byItem, h.item)
}

// held are the items that are still changed: not released.
func (r *record) held() []*history {
	var hs []*history
	for _, h := range r.items {
		if !h.released && !h.found {
			hs = append(hs, h)
		}
	}
	return hs
}

// unmade are the plan's changes that the last run was not asked for, and that no run before made.
func (r *record) unmade() []Change {
	if r.begun == nil || r.begun.Stages == nil {
		return nil
	}
	final := map[Item]Change{}
	for _, c := range r.plan.Changes {
		final[c.Item] = c
	}
	var left []Change
	for _, c := range r.plan.Changes {
		h := r.byItem[c.Item]
		made := h != nil && !h.released && slices.Index(Stages, h.stage) >= slices.Index(Stages, c.Stage)
		if final[c.Item].Stage == c.Stage && !slices.Contains(r.begun.Stages, c.Stage) && !c.Optional && !made {
			left = append(left, c)
		}
	}
	return left
}
