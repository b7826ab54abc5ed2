package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/convert"
	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// readConversion puts the record of a converted image into words for a report, and checks who signed it, and whether the image is there
// and has its size; with --verify all of it is read again.
func readConversion(ctx context.Context, f report.File, data []byte, o report.Options) (*report.Inquiry, error) {
	rec, err := convert.ParseRecord(data)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(strings.TrimSuffix(f.Name, acquire.ManifestSuffix), sink.PartialSuffix)
	q := &report.Inquiry{
		Place: f.Place, File: f.Name, Bytes: int64(len(data)), SHA256: sumOf(data), Written: rec.Created, Converted: true,
		Namespace: signature.Namespace, Title: name, State: "complete", Class: "good",
		Signature: recordSignature(ctx, f, data, signature.Namespace, o), Incomplete: !rec.Complete,
	}
	add := func(name, format string, args ...any) {
		q.About = append(q.About, report.Fact{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	add("Form", "%s", rec.Form)
	of := rec.Source.Name
	if p := rec.Source.Manifest; p != nil {
		of += ", of the manifest with SHA-256 " + p.SHA256
	}
	add("Made of", "%s", of)
	add("Operator", "%s", rec.Operator)
	add("Memory", "SHA-256 %s, %d bytes as a LiME stream", rec.Memory.SHA256, rec.Memory.Bytes)
	add("File", "SHA-256 %s, %d bytes", rec.Image.Stored.SHA256, rec.Image.Stored.Bytes)
	if !rec.Complete {
		q.State, q.Class = "partial", "warn"
		q.Alerts = append(q.Alerts, report.Notice{Class: "warn", Text: "converted, and partial: " + cmp.Or(strings.Join(rec.Reasons, "; "), "its record does not say why")})
	}
	if err := foundConverted(ctx, f, q, name, rec); err != nil || !o.ReRead || len(q.Trouble) > 0 {
		return q, err
	}
	vo := acquire.VerifyOptions{Signers: o.Signers, At: o.At}
	if o.Progress != nil {
		vo.Progress = o.Progress(name)
	}
	v, err := convert.Verify(ctx, f.Where, f.Name, vo)
	if err != nil {
		return nil, err
	}
	q.Trouble = append(q.Trouble, v.Problems...)
	add("Read again", "%s", v.Verdict)
	return q, nil
}

// foundConverted looks whether a converted image is there and has its size. Of one that was stored in segments only its record is looked at.
func foundConverted(ctx context.Context, f report.File, q *report.Inquiry, name string, rec *convert.Record) error {
	if len(rec.Image.Segments) > 0 {
		return nil
	}
	found, size, err := f.Image(ctx, name)
	switch {
	case err != nil:
		return err
	case found == "":
		q.Trouble = append(q.Trouble, "the image is not beside its record")
	case size != rec.Image.Stored.Bytes:
		q.Trouble = append(q.Trouble, fmt.Sprintf("the image has %d bytes, its record says %d", size, rec.Image.Stored.Bytes))
	}
	return nil
}
