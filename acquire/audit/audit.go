// Package audit keeps the log of a run: who did what to which host, and when.
//
// A log is JSON Lines. Every line has the fields that Timesketch wants of an event, and
// the SHA-256 of the line before it, so that no line can be changed, dropped or put in
// without every later one telling. The chain's head goes into each manifest as it is
// written, the manifests' digests go into the log, and the whole is signed at the end.
//
// [Log] writes one, [Verify] checks one.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/shotglass-ir/shotglass/acquire"
)

// Version is "v" of every entry. It changes only when a field changes its meaning;
// fields are only ever added.
const Version = 1

// Suffix ends the name of every log. Timesketch goes by .jsonl.
const Suffix = "-audit.jsonl"

// DataType is what Timesketch calls the source of the events.
const DataType = "shotglass:audit"

// timeLayout is ISO 8601 in UTC, with microseconds: the precision of "timestamp".
const timeLayout = "2006-01-02T15:04:05.000000+00:00"

// none is what "previous" is in the first entry.
var none = strings.Repeat("0", 2*sha256.Size)

// An Entry is one line. A field has the same type in all entries, since Timesketch's
// index demands it. [Log.Add] fills what is marked with a star.
type Entry struct {
	Message       string `json:"message"`
	Datetime      string `json:"datetime"`       // *
	Timestamp     int64  `json:"timestamp"`      // *, microseconds since 1970
	TimestampDesc string `json:"timestamp_desc"` // *, the event in words
	DataType      string `json:"data_type"`      // *

	Version int    `json:"v"`   // *
	Seq     int    `json:"seq"` // *, 1 for the first line
	Run     string `json:"run"` // *, random, one for each run
	Event   string `json:"event"`
	Case    string `json:"case,omitempty"` // *
	Host    string `json:"host,omitempty"`

	Operator string            `json:"operator,omitempty"`
	Tool     *acquire.Tool     `json:"tool,omitempty"`
	Options  []acquire.Setting `json:"options,omitempty"`
	Hosts    []string          `json:"hosts,omitempty"`

	State    string   `json:"state,omitempty"` // complete, partial, failed
	Error    string   `json:"error,omitempty"`
	Reasons  []string `json:"reasons,omitempty"`
	Notes    []string `json:"notes,omitempty"`
	Left     []string `json:"left,omitempty"` // on the target
	Fix      string   `json:"fix,omitempty"`
	Location string   `json:"location,omitempty"`

	Source         string  `json:"source,omitempty"`
	HostKey        string  `json:"host_key,omitempty"`
	HostKeyTrust   string  `json:"host_key_trust,omitempty"`
	Address        string  `json:"address,omitempty"`
	User           string  `json:"user,omitempty"`
	ModuleSHA256   string  `json:"module_sha256,omitempty"`
	Image          string  `json:"image,omitempty"`
	ExpectedBytes  int64   `json:"expected_bytes,omitempty"`
	Raw            *Digest `json:"raw,omitempty"`
	Stored         *Digest `json:"stored,omitempty"`
	Manifest       *Record `json:"manifest,omitempty"`
	DurationMicros int64   `json:"duration_us,omitempty"`
	RTTMicros      int64   `json:"rtt_us,omitempty"`

	Manifests []Record `json:"manifests,omitempty"` // of the end: all of the run
	Code      *int     `json:"code,omitempty"`      // of the end: the exit code

	Previous string `json:"previous"` // *, SHA-256 of the line before with its newline
}

// Digest is a size with its digest and what it is worth.
type Digest struct {
	acquire.Digest
	Complete bool `json:"complete"`
}

// A Record is a manifest by its digest.
type Record struct {
	Host     string `json:"host"`
	State    string `json:"state"`
	Name     string `json:"name"`
	Location string `json:"location"`
	Digest
}

// Events that the log itself tells apart.
const (
	EventStart = "start"
	EventEnd   = "end"
)

// descriptions are the timestamp_desc of events: what happened at that time.
var descriptions = map[string]string{
	EventStart:    "Run started",
	"connecting":  "Connection attempted",
	"connected":   "Connection established",
	"planned":     "Capture planned",
	"waiting":     "Waited",
	"rereading":   "Earlier image read again",
	"preparing":   "Target prepared",
	"streaming":   "Memory stream started",
	"stalled":     "Memory stream stalled",
	"resumed":     "Memory stream resumed",
	"stream-end":  "Memory stream ended",
	"problem":     "Problem noticed",
	"rejected":    "Image rejected",
	"cleaned":     "Target cleaned",
	"left":        "Target not clean",
	"manifest":    "Manifest written",
	"gathered":    "Evidence of AWS gathered",
	"gather-late": "Evidence of AWS not waited for",
	"gather-left": "Evidence of AWS found without a record",
	"gather-kept": "Evidence of AWS kept in another place",
	"gather-item": "Item of evidence of AWS stored",
	"snapshotted": "Snapshots begun",
	"snapshots":   "Snapshots waited for",
	"finished":    "Capture finished",
	"key-pushed":  "Login key pushed",
	"notified":    "Notification sent",
	"interrupted": "Run interrupted",
	EventEnd:      "Run ended",
}

// encode fills and encodes the entry as a line.
func (e *Entry) encode(at time.Time, previous string) ([]byte, error) {
	at = at.UTC().Truncate(time.Microsecond)
	e.Datetime, e.Timestamp = at.Format(timeLayout), at.UnixMicro()
	e.DataType, e.Version, e.Previous = DataType, Version, previous
	if e.TimestampDesc = descriptions[e.Event]; e.TimestampDesc == "" {
		e.TimestampDesc = "Capture event"
	}
	e.clean()
	line, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode audit entry: %w", err)
	}
	return append(line, '\n'), nil
}

// clean makes text that others had a say in harmless to terminals and to readers.
func (e *Entry) clean() {
	for _, s := range []*string{&e.Message, &e.Host, &e.Error, &e.Fix, &e.Location, &e.Address, &e.User, &e.Image, &e.Operator, &e.Case} {
		*s = Printable(*s)
	}
	for _, list := range []*[]string{&e.Hosts, &e.Reasons, &e.Notes, &e.Left} {
		out := make([]string, len(*list))
		for i, s := range *list {
			out[i] = Printable(s)
		}
		*list = out
	}
}

// maxText bounds one text. OpenSearch, under Timesketch, refuses terms above 32766 bytes.
const maxText = 8 << 10

// Printable escapes what could drive a terminal, forge a line or turn the direction of
// writing, and cuts text that is too long.
func Printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		if b.Len() > maxText {
			fmt.Fprintf(&b, "... (%d bytes)", len(s))
			break
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unicode.IsPrint(r):
			q := fmt.Sprintf("%+q", r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func sum(line []byte) string {
	h := sha256.Sum256(line)
	return hex.EncodeToString(h[:])
}
