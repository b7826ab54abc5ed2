package cloudevidence

import (
	"context"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
)

// Names of what lies in a case: what a run set out to gather, an archive of each item, and a record of it all, with its signature; and once
// snapshots have been waited for, the record of what became of them.
const (
	BegunSuffix     = ".gathering"
	ArchiveSuffix   = ".tar.zst"
	Suffix          = ".gathered"
	SnapshotsSuffix = ".snapshots"
	nameMark        = "-cloud"
)

// Namespace is the domain of signatures of records (PROTOCOL.sshsig).
const Namespace = "cloud-evidence@shotglass-ir"

// version is that of records. Fields are only added. Records of version 1 had one archive of all items.
const version = 2

// An Instance is what evidence is of.
type Instance struct {
	ID      string `json:"id"`
	ARN     string `json:"arn,omitempty"`
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	Name    string `json:"name,omitempty"`  // its tag, which anybody may set
	State   string `json:"state,omitempty"` // when it was read; empty: not known
	Windows bool   `json:"windows,omitempty"`
}

// About is what both records begin with.
type About struct {
	Version  int          `json:"v"`
	Case     string       `json:"case,omitempty"`
	Operator string       `json:"operator,omitempty"`
	Tool     acquire.Tool `json:"tool"`
	Caller   string       `json:"caller,omitempty"` // who asked AWS
	Host     string       `json:"host"`             // as the operator calls it
	Instance Instance     `json:"instance"`
	Written  time.Time    `json:"written"`
	// Complete says that all that was asked for is there: each item read, or known to be absent. Of the record of an archive it says nothing on
	// snapshots but that they were asked for and begun. Reasons says why not.
	Complete bool     `json:"complete"`
	Reasons  []string `json:"reasons,omitempty"`
}

// A Record says what was gathered.
type Record struct {
	About
	Begun     time.Time    `json:"begun"`
	Asked     []string     `json:"asked,omitempty"` // the names of the items
	Items     []Item       `json:"items,omitempty"`
	Snapshots *SnapshotSet `json:"snapshots,omitempty"` // as they stood then
	// Left is what runs left of the instance in the same place that have no signed record: with it they have one.
	Left []Leftover `json:"left_by_others,omitempty"`
}

// A SnapshotRecord says what became of the snapshots of a Record.
type SnapshotRecord struct {
	About
	Gathered  records.Named `json:"gathered"` // the record
	Snapshots *SnapshotSet  `json:"snapshots"`
}

// How an archive is encrypted.
const (
	encryptionNone = "none"
	encryptionAge  = "age"
)

// A File is a stored archive.
type File struct {
	Name       string         `json:"name"`
	Encryption string         `json:"encryption"` // "none" or "age"
	Recipients []string       `json:"recipients,omitempty"`
	Raw        acquire.Digest `json:"raw"` // of the tar archive
	Stored     acquire.Digest `json:"stored"`
	Location   string         `json:"-"` // where it was stored, by who stored it
}

// BaseName is what the names of an instance's evidence begin with. host is safe in file names.
func BaseName(host string, at time.Time) string {
	return host + at.UTC().Format(nameTime) + nameMark
}

const nameTime = "-20060102T150405Z"

// StoreSnapshots writes the record of what became of the snapshots of a record, beside that.
func (p Place) StoreSnapshots(ctx context.Context, r *SnapshotRecord) (records.Stored, error) {
	r.Version = version
	r.Reasons = r.Snapshots.unfinished()
	r.Complete = len(r.Reasons) == 0
	return records.Write(ctx, p.Sink, strings.TrimSuffix(r.Gathered.Name, Suffix)+SnapshotsSuffix, Namespace, p.Signer, r)
}
