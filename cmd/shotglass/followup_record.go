package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink"
)

// containmentNamespace is the domain of signatures of containment records (PROTOCOL.sshsig).
const containmentNamespace = "containment@shotglass-ir"

// containmentRecord is what a capture says of the containment that followed it. It is signed like a manifest,
// and names the manifest that came before it. Fields are only added.
type containmentRecord struct {
	Version  int                   `json:"v"`
	Case     string                `json:"case,omitempty"`
	Host     string                `json:"host"`
	Written  time.Time             `json:"written"`
	Tool     acquire.Tool          `json:"tool"`
	Gate     string                `json:"gate"`
	State    acquire.State         `json:"image_state"`
	Image    string                `json:"image,omitempty"`
	Manifest acquire.Digest        `json:"manifest,omitzero"`        // of the manifest's bytes
	Place    string                `json:"manifest_place,omitempty"` // where it lies
	Early    []*containment.Result `json:"before_capture,omitempty"` // what was done before the first byte
	Withheld string                `json:"withheld,omitempty"`       // why nothing was contained
	Locked   bool                  `json:"locked,omitempty"`         // credentials were locked before the capture
	Plans    []*containment.Plan   `json:"plans"`
	Results  []*containment.Result `json:"results,omitempty"`
	Errors   []string              `json:"errors,omitempty"`
	// Journals and JournalsTo are where the journals were kept: release needs one of them.
	Journals   string `json:"journals,omitempty"`
	JournalsTo string `json:"journals_to,omitempty"`
	// AWS is how AWS was called, for commands to paste.
	AWS recordedAccess `json:"aws,omitzero"`
}

// recordedAccess is how AWS was called, but for what may be a secret.
type recordedAccess struct {
	Region         string   `json:"region,omitempty"`
	Profile        string   `json:"profile,omitempty"`
	Endpoint       string   `json:"endpoint,omitempty"`
	Role           string   `json:"role,omitempty"`
	ExternalID     bool     `json:"external_id,omitempty"` // there was one
	SourceIdentity string   `json:"source_identity,omitempty"`
	BreakGlass     []string `json:"break_glass,omitempty"`
}

// recorded is the access without secrets.
func (a awsAccess) recorded() recordedAccess {
	return recordedAccess{Region: a.Region, Profile: a.Profile, Endpoint: a.Endpoint, Role: a.Role, ExternalID: a.ExternalID != "", SourceIdentity: a.SourceIdentity, BreakGlass: a.glass()}
}

// flags are those of a command line that calls AWS so.
func (r recordedAccess) flags() [][2]string {
	all := [][2]string{{"aws-region", r.Region}, {"aws-profile", r.Profile}, {"aws-endpoint", r.Endpoint}, {"aws-role", r.Role}, {"aws-source-identity", r.SourceIdentity}}
	if r.ExternalID {
		all = append(all, [2]string{"aws-external-id", "ID"}) // as the hint of the capture has it
	}
	return all
}

// parseRecord reads a record, whoever wrote it: nothing in it is left out that others rely on.
func parseRecord(data []byte) (*containmentRecord, error) {
	var rec containmentRecord
	if err := json.Unmarshal(data, &rec); err != nil {
		return nil, err
	}
	if rec.Version != 1 {
		return nil, fmt.Errorf("version %d of records is not known to this program", rec.Version)
	}
	if slices.Contains(rec.Plans, nil) || slices.Contains(rec.Results, nil) || slices.Contains(rec.Early, nil) {
		return nil, errors.New("a plan or a result is null")
	}
	return &rec, nil
}

// recordTimeout bounds the writing of a record after an interruption.
const recordTimeout = 30 * time.Second

// record writes what became of the containment beside the image, and signs it.
func (f *followUp) record(r *acquire.Result) error {
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	o := f.all.o
	locked, _ := f.remains()
	rec := containmentRecord{
		Version: 1, Case: o.Engine.Case, Host: f.host, Written: time.Now().UTC(), Tool: o.Engine.Tool, Gate: f.gate(), State: r.State,
		Image: r.Image.Name, Manifest: r.ManifestDigest, Place: r.Manifest, Early: f.early, Withheld: f.why, Locked: locked, Results: f.results,
		Journals: f.access.folder, JournalsTo: f.access.bucket, AWS: f.access.recorded(),
	}
	for _, p := range f.targets {
		rec.Plans = append(rec.Plans, p.plan)
	}
	for _, e := range f.errs {
		rec.Errors = append(rec.Errors, e.Error())
	}
	where := o.Engine.Sink
	if f.job.Sink != nil {
		where = f.job.Sink
	}
	if place, ok := where.(sink.Opener); ok && rec.Manifest.SHA256 == "" && r.Manifest != "" { // of an image that was kept
		b, err := readSmall(ctx, place, baseOf(r.Manifest))
		if err != nil {
			return fmt.Errorf("read the manifest that it names: %w", err)
		}
		rec.Manifest = records.DigestOf(b)
	}
	name := r.Image.Name
	if name == "" {
		name = safeName(f.host) + rec.Written.Format("-20060102T150405Z")
	}
	name += recordSuffix
	stored, err := records.Write(ctx, where, name, containmentNamespace, o.Engine.Signer, rec)
	if errors.Is(err, sink.ErrExists) { // of an earlier run, whose image this one kept
		name = strings.TrimSuffix(name, recordSuffix) + rec.Written.Format("-20060102T150405Z") + recordSuffix
		stored, err = records.Write(ctx, where, name, containmentNamespace, o.Engine.Signer, rec)
	}
	f.place = stored.Location
	return err
}

// safeName makes a host's name one that a file can have.
func safeName(host string) string {
	b := []byte(host)
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-') || i == 0 && c == '-' || i == 0 && c == '.' {
			b[i] = '_'
		}
	}
	return string(b)
}
