package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const reportText = `Makes one HTML page of a case: every capture with its state, timeline, rate, digests, checks, anomalies, what was left on the
host and how to remove it, what was contained with it and what stays open, who vouches for it, the audit logs, what an access key did, what AWS had of instances, and how to check all of that without shotglass. The page needs nothing
else, runs no script, and prints.

PLACE is a folder, s3://bucket/prefix/, a manifest, an audit log, or a record of a key or of what AWS had. Signatures and chains are checked against --signers. Images are
read again with --verify alone; the page says whether they were. The page goes to standard output or, with -o, to a new file.

Exit codes are those of verify, of everything together.`

func reportCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "report", Usage: "make an HTML page of a case",
		ArgsUsage: "PLACE...", Description: reportText,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, TakesFile: true, Usage: "write the page to this new `FILE`", DefaultText: "standard output"},
			&cli.StringFlag{Name: "signers", TakesFile: true, Usage: "`FILE` of allowed signers", EnvVars: env("SIGNERS")},
			&cli.StringFlag{Name: "at", Usage: "signers must be trusted at this `TIME`, as 2006-01-02T15:04:05Z", DefaultText: "now"},
			&cli.BoolFlag{Name: "verify", Usage: "read every image again in full", DisableDefaultText: true},
			&cli.IntFlag{Name: "workers", Usage: "check `N` frames at once", DefaultText: "one per CPU", EnvVars: env("WORKERS")},
		}, s3AccessFlags()...),
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() == 0 {
				return usagef("no place")
			}
			out := ctx.String("output")
			if _, tty := terminal(c.stdout); out == "" && tty {
				return usagef("standard output is a terminal").fix("shotglass report -o report.html %s", ctx.Args().First())
			}
			if out != "" {
				if _, err := os.Lstat(out); err == nil {
					return usagef("-o: %s is there already, and nothing is ever overwritten", out)
				}
			}
			o := report.Options{ReRead: ctx.Bool("verify"), Workers: ctx.Int("workers"), Made: time.Now(), Tool: toolInfo()}
			var err error
			if o.SignersName = ctx.String("signers"); o.SignersName != "" {
				if o.Signers, err = readSigners(o.SignersName); err != nil {
					return err
				}
			}
			if at := ctx.String("at"); at != "" {
				if o.At, err = time.Parse(time.RFC3339, at); err != nil {
					return usagef("--at %q: want a time such as 2006-01-02T15:04:05Z", at)
				}
			}
			sctx, stop := catchSignals(ctx.Context, c.exit, func(string) {}, func() {})
			defer stop()
			return makeReport(sctx, c, ctx.Args().Slice(), s3Access(ctx), out, o)
		},
	}
}

func makeReport(ctx context.Context, c *console, places []string, access s3.Options, out string, o report.Options) error {
	var files []report.File
	var unread []string
	var empty []error
	for _, p := range places {
		more, records, err := reportFiles(ctx, p, access)
		if err != nil {
			err = fmt.Errorf("%s: %w", p, err)
		}
		if errors.Is(err, errNothingToReport) {
			empty = append(empty, err)
			continue
		}
		if err != nil {
			return err
		}
		files = append(files, more...)
		for _, f := range records {
			if isGathered(f.Name) {
				list, err := readGathered(ctx, f, o)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err != nil {
					unread = append(unread, f.Name+": "+err.Error())
				}
				o.Inquiries = append(o.Inquiries, list...)
				continue
			}
			if strings.HasSuffix(f.Name, keySuffix) {
				q, err := readKeyRecord(ctx, f, o)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err != nil {
					unread = append(unread, f.Name+": "+err.Error())
					continue
				}
				o.Inquiries = append(o.Inquiries, q)
				continue
			}
			r, err := readRecord(ctx, f, o)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				unread = append(unread, f.Name+": "+err.Error())
				continue
			}
			o.Containments = append(o.Containments, r)
		}
	}
	if len(empty) == len(places) {
		return errors.Join(empty...)
	}
	for _, err := range empty { // no evidence is missing for that, so that the verdict stands
		c.warn("%v", err)
	}
	var m *meter
	o.Progress = func(name string) func(done, total int64) {
		if m != nil {
			m.close()
		}
		m = newMeter(c, name)
		return m.show
	}
	o.Conversion = func(ctx context.Context, f report.File, data []byte) (*report.Inquiry, error) {
		return readConversion(ctx, f, data, o)
	}
	cs, err := report.Load(ctx, files, o)
	if m != nil {
		m.close()
	}
	if err != nil {
		return err
	}
	cs.Unread = append(cs.Unread, unread...)
	var page bytes.Buffer
	if err := cs.Write(&page); err != nil {
		return err
	}
	if out == "" {
		if _, err := c.Write(page.Bytes()); err != nil {
			return err
		}
	} else if err := writeNew(ctx, out, page.Bytes()); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	c.info("shotglass: %s, %s: %s", plural(len(cs.Captures), "capture"), plural(len(cs.Logs), "audit log"), cs.Verdict())
	for _, u := range cs.Unread {
		c.warn("could not be used: %s", u)
	}
	if cs.Verdict() == acquire.VerdictUntrusted {
		c.hint(signersHint)
	}
	return exitWith(verdictCode(&acquire.VerifyReport{Verdict: cs.Verdict()}, nil))
}

// writeNew writes a file that does not exist yet, whole or not at all.
func writeNew(ctx context.Context, name string, data []byte) error {
	disk, err := sink.NewDisk(filepath.Dir(name))
	if err != nil {
		return err
	}
	return storeNew(ctx, disk, filepath.Base(name), data)
}

// errNothingToReport is of a place that has nothing for a report.
var errNothingToReport = errors.New("there is no manifest, no audit log and no signed record")

// nothingToReport says what is there in place of that.
func nothingToReport(list sink.Listing) error {
	journals := 0
	for _, l := range list.Objects {
		if strings.HasSuffix(l.Name, containment.JournalSuffix) {
			journals++
		}
	}
	if journals == 0 {
		return errNothingToReport
	}
	return &hinted{fmt.Errorf("%w; %s of a containment there", errNothingToReport, plural(journals, "journal")), "shotglass status --journal DIR tells what journals hold"}
}

// reportFiles are the manifests and audit logs of a place, or the one that is named, and the records of containments there.
func reportFiles(ctx context.Context, name string, access s3.Options) (files, records []report.File, err error) {
	where, label, base, err := reportPlace(ctx, name, access)
	if err != nil {
		return nil, nil, err
	}
	file := func(name string) report.File { return report.File{Where: where, Place: label, Name: name} }
	if strings.HasSuffix(base, keySuffix) {
		return nil, []report.File{file(base)}, nil
	}
	if isGathered(base) {
		name, err := gatheredName(ctx, where, base)
		return nil, []report.File{file(name)}, err
	}
	if base != "" {
		if !report.Belongs(base) {
			return nil, nil, fmt.Errorf("is neither a manifest (%s) nor an audit log; name these, or their folder", acquire.ManifestSuffix)
		}
		record := strings.TrimSuffix(strings.TrimSuffix(base, acquire.ManifestSuffix), sink.PartialSuffix) + recordSuffix
		if r, err := where.Open(ctx, record); err == nil {
			r.Close()
			records = []report.File{file(record)}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s: %w", record, err)
		}
		return []report.File{file(base)}, records, nil
	}
	list, err := where.(sink.Lister).List(ctx)
	if err != nil {
		return nil, nil, err
	}
	there := map[string]bool{}
	for _, l := range list.Objects {
		there[l.Name] = true
	}
	for _, l := range list.Objects {
		switch {
		case strings.HasSuffix(l.Name, cloudevidence.BegunSuffix) && !there[cloudevidence.RecordOf(l.Name)]: // its run was ended before the record
			records = append(records, file(l.Name))
		case strings.HasSuffix(l.Name, cloudevidence.SnapshotsSuffix) && !there[cloudevidence.RecordOf(l.Name)] && !there[begunOf(l.Name)]: // and nothing else is left
			records = append(records, file(l.Name))
		case report.Belongs(l.Name):
			files = append(files, file(l.Name))
		case strings.HasSuffix(l.Name, recordSuffix), strings.HasSuffix(l.Name, keySuffix), strings.HasSuffix(l.Name, cloudevidence.Suffix):
			records = append(records, file(l.Name))
		}
	}
	if len(files) == 0 && !slices.ContainsFunc(records, func(f report.File) bool { return strings.HasSuffix(f.Name, keySuffix) || isGathered(f.Name) }) {
		return nil, nil, nothingToReport(list)
	}
	return files, records, nil
}

// begunOf is the name of what the run of a gathered file set out to gather.
func begunOf(name string) string {
	return strings.TrimSuffix(cloudevidence.RecordOf(name), cloudevidence.Suffix) + cloudevidence.BegunSuffix
}

// gatheredName is the record that a file belongs to or, without one, what its run set out to gather, or its record of snapshots.
func gatheredName(ctx context.Context, where sink.Opener, name string) (string, error) {
	record := cloudevidence.RecordOf(name)
	for _, name := range []string{record, begunOf(name), strings.TrimSuffix(record, cloudevidence.Suffix) + cloudevidence.SnapshotsSuffix} {
		r, err := where.Open(ctx, name)
		if err == nil {
			return name, r.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return "", fmt.Errorf("there is no %s, and nothing of a run that was ended before it", record)
}

// reportPlace takes a name apart; base is empty for a folder.
func reportPlace(ctx context.Context, name string, access s3.Options) (where sink.Opener, label, base string, err error) {
	if s3.IsURL(name) && strings.HasSuffix(name, "/") {
		if access.Bucket, access.Prefix, err = s3.ParseURL(name); err != nil {
			return nil, "", "", err
		}
		s, err := s3.New(ctx, access)
		if err != nil {
			return nil, "", "", fmt.Errorf("S3: %w", err)
		}
		return s, name, "", nil
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() && !s3.IsURL(name) {
		disk, err := sink.NewDisk(name)
		if err != nil {
			return nil, "", "", err
		}
		return disk, disk.String(), "", nil
	}
	if where, base, err = place(ctx, name, access); err != nil {
		return nil, "", "", err
	}
	return where, fmt.Sprint(where), base, nil
}
