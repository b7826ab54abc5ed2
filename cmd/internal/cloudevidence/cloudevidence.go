// Package cloudevidence takes the evidence that AWS's control plane holds of an EC2 instance: how it is described, its
// user data, its network, its role, its console, the calls that CloudTrail knows, and snapshots of its volumes. Nothing of it
// touches the instance.
//
//	g := &cloudevidence.Gatherer{Config: accounts.Config}
//	k := cloudevidence.NewKeeping(base, record)
//	got := g.Read(ctx, target, kinds, item, quick) // what only has to be read: item has k.Item store each at once
//	set := g.Start(ctx, target, snapshots)         // point in time: now
//	rec, err := k.Store(ctx, place, record, got)   // record, signature
//	g.Await(ctx, target, set, snapshots, progress) // hours, maybe
//
// Each thing is an [Item], with its digest or the reason why it is not there: what could not be read is never left out
// in silence. What AWS tells was set by whoever may call it, and what the console shows by whoever is root on the instance: it is
// bounded, and quoted where it is shown.
package cloudevidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A Kind is something that can be taken.
type Kind struct {
	Name, File string
	What       string // for people
	// Slow says that it may take minutes, and that a change to the instance does not change it.
	Slow bool
}

// Snapshots is the name of what is not read but made: snapshots of all volumes. All is without it.
const Snapshots = "snapshots"

// kinds, in the order of an archive.
var kinds = []Kind{
	{"instance", "instance.json", "the description of the instance", false},
	{"attributes", "attributes.json", "attributes that the description does not have", false},
	{"user-data", "user-data", "the user data, decoded", false},
	{"volumes", "volumes.json", "its volumes", false},
	{"interfaces", "interfaces.json", "its network interfaces", false},
	{"security-groups", "security-groups.json", "the security groups of its interfaces, with their rules", false},
	{"routes", "routes.json", "its subnets and the route tables of its VPC", false},
	{"network-acls", "network-acls.json", "the network ACLs of its subnets", false},
	{"tags", "tags.json", "the tags of the instance, its volumes and its interfaces", false},
	{"profile", "profile.json", "its instance profile, and the policies of the profile's role", false},
	{"console", "console.txt", "the console output that EC2 kept of the last boot", false},
	{"console-latest", "console-latest.txt", "the console output of now", false},
	{"screenshot", "screenshot.jpg", "a picture of the console, without waking it", false},
	{"trail", "cloudtrail.jsonl", "recent calls about the instance and its role, and with the instance's credentials", true},
}

// Kinds returns everything that can be read, in the order of an archive.
func Kinds() []Kind { return slices.Clone(kinds) }

// Words that Parse takes in place of names.
const (
	All  = "all"  // that is read: without snapshots
	None = "none" // nothing
)

// Names returns the names that Parse takes, without the words for several.
func Names() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	return append(names, Snapshots)
}

// Parse returns the kinds that words name, and whether snapshots are among them.
func Parse(words []string) (want []Kind, snapshots bool, err error) {
	named, none := map[string]bool{}, false
	for _, w := range words {
		switch {
		case w == None:
			none = true
		case w == Snapshots:
			snapshots = true
		case w == All:
			for _, k := range kinds {
				named[k.Name] = true
			}
		case slices.ContainsFunc(kinds, func(k Kind) bool { return k.Name == w }):
			named[w] = true
		default:
			return nil, false, fmt.Errorf("%q is nothing that can be gathered: want %s, %s, or some of %s", w, All, None, strings.Join(Names(), ", "))
		}
	}
	if none && (snapshots || len(named) > 0) {
		return nil, false, fmt.Errorf("%s excludes everything else: %s", None, strings.Join(words, ", "))
	}
	for _, k := range kinds {
		if named[k.Name] {
			want = append(want, k)
		}
	}
	return want, snapshots, nil
}

// A Call is one call to AWS, as CloudTrail may have it, too.
type Call struct {
	Operation string    `json:"operation"`
	RequestID string    `json:"request_id,omitempty"`
	At        time.Time `json:"at"`                   // examiner's clock, UTC
	AWSTime   time.Time `json:"aws_time,omitzero"`    // AWS's clock, in its answer
	Region    string    `json:"region,omitempty"`     // where it was made
	Error     string    `json:"error_code,omitempty"` // what AWS answered instead
}

// An Item is what came of one kind.
type Item struct {
	Name string `json:"name"`
	File string `json:"file,omitempty"` // in its archive; empty: nothing is kept
	What string `json:"what"`

	Begun  time.Time     `json:"begun,omitzero"` // examiner's clock, UTC
	Took   time.Duration `json:"took_ns"`
	Bytes  int64         `json:"bytes"`
	SHA256 string        `json:"sha256,omitempty"` // of those bytes
	Calls  []Call        `json:"calls,omitempty"`
	// Absent says why there is nothing to keep, where that is no failure: the instance has no user data.
	Absent string `json:"absent,omitempty"`
	// Error says why it is not there, or not all of it. What was not told is UNKNOWN, not absent.
	Error string   `json:"error,omitempty"`
	Notes []string `json:"notes,omitempty"`
	// Archive has the item, also one of which nothing is kept.
	Archive *File `json:"archive,omitempty"`
}

// A Collection is what was read of one instance.
type Collection struct {
	Items []Item
	// State, Windows and Name are what the description says, if it was read.
	State   string
	Windows bool
	Name    string

	kept [][]byte // by item, as zstd; nil: nothing
}

// maxItem bounds what is kept of an item, and maxCalls how many of its calls are listed.
const (
	maxItem  = 64 << 20
	maxCalls = 400
)

// keep puts the content of an item in its place, and returns what of it is kept.
func (c *Collection) keep(n int, file string, content []byte) []byte {
	it := &c.Items[n]
	if len(content) > maxItem {
		it.Error = join(it.Error, fmt.Sprintf("it has %d bytes: only the first %d are kept", len(content), maxItem))
		content = content[:maxItem]
	}
	sum := sha256.Sum256(content)
	it.File, it.Bytes, it.SHA256 = file, int64(len(content)), hex.EncodeToString(sum[:])
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err) // of constant options
	}
	c.kept[n] = enc.EncodeAll(content, nil)
	return content
}

// Content returns what is kept of an item; nil: nothing.
func (c *Collection) Content(n int) ([]byte, error) {
	if c.kept[n] == nil {
		return nil, nil
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	return dec.DecodeAll(c.kept[n], nil)
}

// Missing are the items that are not there, or not all of them, with the reason.
func Missing(items []Item) (why []string) {
	for _, it := range items {
		if it.Error != "" {
			why = append(why, it.Name+": "+it.Error)
		}
	}
	return why
}

func join(have, more string) string {
	if have == "" {
		return more
	}
	return have + "; " + more
}

// lines is JSON Lines out of JSON texts, whatever white space they have.
func lines(texts [][]byte) []byte {
	var b bytes.Buffer
	for _, t := range texts {
		b.Write(t)
		b.WriteByte('\n')
	}
	return b.Bytes()
}
