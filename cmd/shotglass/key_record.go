package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink"
)

// keySuffix ends the names of records of traces, and keyEventsSuffix those of the events beside them.
const (
	keySuffix       = ".keytrail"
	keyEventsSuffix = ".events.jsonl.gz"
)

// keyNamespace is the domain of signatures of these records (PROTOCOL.sshsig).
const keyNamespace = "keytrail@shotglass-ir"

// recordedActs bounds the events that the record itself has; the file beside it has all.
const recordedActs = 500

// keyRecord is what was found of a key. It is signed like a manifest. Fields are only added.
type keyRecord struct {
	Version int             `json:"v"`
	Case    string          `json:"case,omitempty"`
	Written time.Time       `json:"written"`
	Tool    acquire.Tool    `json:"tool"`
	Caller  string          `json:"caller,omitempty"`
	AWS     recordedAccess  `json:"aws,omitzero"`
	Trace   *keytrail.Found `json:"trace"`
	NotSeen []string        `json:"not_seen"`
	// Worst are the first of the events, the worst first.
	Worst []keytrail.Act `json:"worst,omitempty"`
	// WorstOf is how many there are, those that Worst leaves out with them.
	WorstOf int `json:"worst_of,omitempty"`
	// Events is the file with all of them, as CloudTrail has them: JSON Lines, in order of time, with gzip.
	Events keyEvents `json:"events"`

	// Before is the record of the trace, and Contained what became of each identity that was to be contained: in a record of their own, whose Trace
	// says of whom alone.
	Before    *records.Named    `json:"before,omitempty"`
	Contained []containedTarget `json:"contained,omitempty"`
}

// keptKey is a record that was written.
type keptKey struct {
	record keyRecord
	where  sink.Sink
	base   string
	records.Named
}

// keyEvents is the file of events.
type keyEvents struct {
	Name  string `json:"name"`
	Lines int    `json:"lines"`
	acquire.Digest
}

// parseKeyRecord reads a record, whoever wrote it.
func parseKeyRecord(data []byte) (*keyRecord, error) {
	var r keyRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	if r.Version != 1 {
		return nil, fmt.Errorf("version %d of these records is not known to this program", r.Version)
	}
	if r.Trace == nil || slices.Contains(r.Trace.Subjects, nil) {
		return nil, errors.New("it has no trace, or an identity is null")
	}
	return &r, nil
}

// keep writes the record and the events, the events first: the record names them.
func (o *keyRun) keep(ctx context.Context, c *console, f *keytrail.Found, who containment.Identity) error {
	disk, err := sink.NewDisk(o.output)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	base := safeName(f.Target.Short()) + now.Format("-20060102T150405Z")
	r := keyRecord{Version: 1, Case: o.caseID, Written: now, Tool: toolInfo(), Caller: who.ARN, AWS: o.contain.access.recorded(), Trace: f, NotSeen: keytrail.Blind}
	list := worst(f.Events)
	r.Worst, r.WorstOf = list[:min(len(list), recordedActs)], len(list)
	events, err := zippedEvents(f.Events)
	if err != nil {
		return err
	}
	r.Events = keyEvents{Name: base + keyEventsSuffix, Lines: len(f.Events), Digest: records.DigestOf(events)}
	if _, err := records.Put(ctx, disk, r.Events.Name, events); err != nil {
		return err
	}
	stored, err := records.Write(ctx, disk, base+keySuffix, keyNamespace, o.signing.Engine.Signer, r)
	if err != nil {
		return err
	}
	o.kept = &keptKey{record: r, where: disk, base: base, Named: stored.Named}
	c.info("verify: shotglass verify --signers FILE %s", stored.Location)
	if c.json {
		return c.message("key_record", struct {
			Record string `json:"record"`
			Events string `json:"events"`
			Signed bool   `json:"signed"`
		}{stored.Location, r.Events.Name, o.signing.Engine.Signer != nil})
	}
	return nil
}

// zippedEvents are the events as CloudTrail has them, a line each.
func zippedEvents(list []keytrail.Act) ([]byte, error) {
	var b, line bytes.Buffer
	z := gzip.NewWriter(&b)
	for _, e := range list {
		line.Reset()
		if err := json.Compact(&line, e.Raw); err != nil {
			return nil, err
		}
		line.WriteByte('\n')
		if _, err := z.Write(line.Bytes()); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
