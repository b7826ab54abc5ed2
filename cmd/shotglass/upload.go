package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const uploadText = `When a bucket fails in the middle of a capture with --spill DIR, what it did not take lies in DIR. This command brings it
there: it checks the files against their digests, and those against the manifest and its signature, uploads them, completes each image under its name and
terms, and stores manifest and signature last. What is stored is removed from DIR. It can be repeated. DIR may be one folder NAME.spill too.
Of a capture that was killed (kill -9, power) it stores what had come to DIR or to the bucket, as a partial image, with a manifest that says so, and of the host what was recorded before the kill; --sign-key signs it.
With --signers only that goes which one of them has signed, or which a manifest that one of them has signed lists; the manifest waits there too, or is in the bucket.

Bucket, region and endpoint are those of the capture, unless flags say otherwise; credentials are those of now.

Exit code 0: all is stored. 3: some is not, or an image is partial. 1: nothing could be stored. 4: files were altered, or --signers does not let them pass.`

func uploadCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "upload", Usage: "bring to its bucket what a capture left in its --spill folder",
		ArgsUsage: "DIR...", Description: uploadText, Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "signers", TakesFile: true, Usage: "`FILE` of allowed signers: only what one of them has vouched for", EnvVars: env("SIGNERS")},
			&cli.StringFlag{Name: "sign-key", TakesFile: true, Usage: "sign the manifest of an image whose capture was killed with this SSH key: a private key, or the .pub of a key that ssh-agent holds: `FILE`", EnvVars: env("SIGN_KEY")},
			&cli.StringFlag{Name: "key-passphrase-file", TakesFile: true, Usage: "read the passphrase of that key from the first line of `FILE`; or set SHOTGLASS_KEY_PASSPHRASE", EnvVars: env("KEY_PASSPHRASE_FILE")},
			jsonFlag(),
		}, s3AccessFlags()...),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() == 0 {
				return usagef("no folder")
			}
			var signers *signature.AllowedSigners
			if name := ctx.String("signers"); name != "" {
				var err error
				if signers, err = readSigners(name); err != nil {
					return err
				}
			}
			access := s3Access(ctx)
			access.Warn = func(text string) { c.warn("%s", text) }
			sctx, stop := catchSignals(ctx.Context, c.exit, func(string) {}, func() {})
			defer stop()
			rescue := &rescuer{c: c, ctx: ctx}
			defer rescue.close()
			return upload(sctx, c, ctx.Args().Slice(), access, signers, rescue)
		},
	}
}

// A waiting object is one folder of pieces.
type waiting struct {
	Folder string `json:"folder"`
	*s3.Pieces
	sum string // SHA-256 of the description
}

// uploadMessage is an "upload" line.
type uploadMessage struct {
	Folder   string `json:"folder"`
	Name     string `json:"name,omitempty"`
	Code     int    `json:"code"`
	Size     int64  `json:"size"`
	Location string `json:"location,omitempty"`
	Error    string `json:"error,omitempty"`
}

func upload(ctx context.Context, c *console, dirs []string, access s3.Options, signers *signature.AllowedSigners, rescue *rescuer) error {
	list, cut, err := findWaiting(dirs)
	if err != nil {
		return err
	}
	records := readRecords(list, signers, func(ctx context.Context, w waiting, name string, limit int64) ([]byte, error) {
		where, err := w.Place(ctx, access)
		if err != nil {
			return nil, err
		}
		return sink.ReadAll(ctx, where, name, limit)
	})
	var failed []unstored
	code, stored := exitOK, 0
	if err := rescue.open(list); err != nil {
		return err
	}
	for _, u := range cut {
		code = exitFailed
		c.fail(u.folder, u.err())
		failed = append(failed, unstored{u.name, u.folder})
		if c.json {
			if err := c.message("upload", uploadMessage{Folder: u.folder, Name: u.name, Code: exitFailed, Size: u.bytes, Error: u.err().Error()}); err != nil {
				return err
			}
		}
	}
	for _, w := range list {
		m := uploadMessage{Folder: w.Folder, Name: w.Name, Size: w.Size}
		r, err := uploadOne(ctx, w, access, failed, records, rescue)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case errors.Is(err, s3.ErrAltered), errors.Is(err, errUnsigned):
			m.Code = exitMismatch
		case err != nil:
			m.Code = exitFailed
		case w.Partial:
			m.Code = exitPartial
		}
		if err != nil {
			failed = append(failed, unstored{name: w.Name})
			m.Error = err.Error()
			c.fail(w.Folder, err)
		} else {
			stored++
			m.Location = r.Location
		}
		code = worse(code, m.Code)
		if c.json {
			if err := c.message("upload", m); err != nil {
				return err
			}
		} else if err == nil {
			state := "stored"
			if w.Killed {
				state = string(acquire.StatePartial)
			}
			fmt.Fprintln(c, printable(w.Name)+"\t"+state+"\t"+strconv.FormatInt(r.Size, 10)+"\t"+printable(r.Location))
		}
	}
	if code == exitFailed && stored > 0 {
		code = exitPartial
	}
	if c.json {
		c.message("summary", struct {
			Code   int `json:"code"`
			Stored int `json:"stored"`
			Failed int `json:"failed"`
		}{code, stored, len(failed)})
	}
	return exitWith(code)
}

// uploadOne brings one object to its place.
func uploadOne(ctx context.Context, w waiting, access s3.Options, failed []unstored, records *uploadRecords, rescue *rescuer) (sink.Receipt, error) {
	if err := records.against(ctx, w); err != nil {
		return sink.Receipt{}, err
	}
	if rank(w.Name) > 0 {
		for _, m := range failed {
			if m.holds(w.Name) {
				return sink.Receipt{}, m.err(w.Name)
			}
		}
	}
	return s3.FinishThen(ctx, w.Folder, access, rescue.after(ctx, w))
}

const (
	rankList     = 1
	rankManifest = 2
)

// rank orders what is uploaded: images and frames, then lists of segments, manifests, signatures.
func rank(name string) int {
	switch {
	case strings.HasSuffix(name, sink.SegmentsSuffix):
		return rankList
	case strings.HasSuffix(name, acquire.ManifestSuffix), strings.HasSuffix(name, acquire.InterimSuffix):
		return rankManifest
	case strings.HasSuffix(name, acquire.SignatureSuffix):
		return rankManifest + 1
	}
	return 0
}

// turn orders as rank does, but for a swap area whose capture was killed: the manifest that is written for it is the image's, which has to be readable by
// then, and so comes with its list.
func (w waiting) turn() int {
	if is, _ := acquire.IsSwap(w.Name); is && w.Killed {
		return 2*rankList + 1
	}
	return 2 * rank(w.Name)
}

// paperOf returns the image that a list, manifest or signature is about.
func paperOf(name string) string {
	name = strings.TrimSuffix(name, sink.SegmentsSuffix)
	name = strings.TrimSuffix(name, acquire.SignatureSuffix)
	name = strings.TrimSuffix(strings.TrimSuffix(name, acquire.InterimSuffix), acquire.ManifestSuffix)
	return strings.TrimSuffix(name, sink.PartialSuffix)
}

// findWaiting finds the folders with pieces, in the order in which they go.
func findWaiting(dirs []string) (list []waiting, cut []unfinished, err error) {
	seen := map[string]bool{}
	for _, dir := range dirs {
		var folders []string
		if s3.Described(dir) {
			folders = []string{dir}
		} else if entries, err := os.ReadDir(dir); err != nil {
			return nil, nil, err
		} else {
			for _, e := range entries {
				if e.IsDir() && strings.HasSuffix(e.Name(), ".spill") {
					folders = append(folders, filepath.Join(dir, e.Name()))
				}
			}
			if len(folders) == 0 && len(entries) > 0 && strings.HasSuffix(filepath.Base(dir), ".spill") { // one without a description
				folders = []string{dir}
			}
		}
		if len(folders) == 0 {
			return nil, nil, usagef("%s holds nothing that waits to be uploaded", dir)
		}
		for _, f := range folders {
			if f = filepath.Clean(f); seen[f] {
				continue
			}
			seen[f] = true
			d, sum, err := s3.ReadPieces(f)
			if errors.Is(err, fs.ErrNotExist) {
				if in, err := os.ReadDir(f); err == nil && len(in) == 0 {
					continue // nothing came into it
				}
				cut = append(cut, unfinishedIn(f, nil))
				continue
			} else if errors.Is(err, s3.ErrWriting) || errors.Is(err, s3.ErrJournal) {
				cut = append(cut, unfinishedIn(f, err))
				continue
			} else if errors.Is(err, sink.ErrNothing) {
				if u := unfinishedIn(f, err); u.parts > 0 || errors.Is(err, s3.ErrBegun) {
					cut = append(cut, u)
				}
				continue
			} else if err != nil {
				return nil, nil, err
			}
			if d.Killed && rank(d.Name) > 0 { // half a record must not speak for anything
				cut = append(cut, unfinishedIn(f, nil))
				continue
			}
			list = append(list, waiting{f, d, sum})
		}
	}
	if len(list)+len(cut) == 0 {
		return nil, nil, usagef("%s holds nothing that waits to be uploaded", strings.Join(dirs, ", "))
	}
	slices.SortStableFunc(list, func(a, b waiting) int {
		if d := a.turn() - b.turn(); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list, cut, nil
}

// An unfinished folder has parts and no description: its capture has not ended, or was killed before it could write one. What is in the bucket
// of that object is an unfinished upload that nothing here names, and the parts are not all there is of it.
type unfinished struct {
	folder, name string
	parts        int
	bytes        int64
	why          error // nil: there is no description
}

func unfinishedIn(folder string, why error) unfinished {
	u := unfinished{folder: folder, name: strings.TrimSuffix(filepath.Base(folder), ".spill"), why: why}
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasPrefix(e.Name(), "part-") {
			u.parts++
			u.bytes += info.Size()
		}
	}
	return u
}

func (u unfinished) err() error {
	if errors.Is(u.why, s3.ErrWriting) {
		return &hinted{u.why, "wait for its end; where no file can be locked, which it takes to tell, copy the folder to a local disk, once no capture runs"}
	}
	if errors.Is(u.why, s3.ErrBegun) && u.parts == 0 {
		return &hinted{fmt.Errorf("its capture was killed before a part of it was durable: %w", u.why), "the bucket may hold parts of that upload, and bills them: end it (aws s3api abort-multipart-upload --bucket, --key, --upload-id), then remove the folder"}
	}
	if u.why != nil {
		return &hinted{fmt.Errorf("%w: %s with %d bytes of %s are there, without what is in the bucket, and cannot be finished", u.why, plural(u.parts, "part"), u.bytes, u.name), "the parts are pieces of the file, in order: keep them; take it anew, with another capture"}
	}
	return &hinted{fmt.Errorf("%s has no description: its capture has not ended, or was killed: %s with %d bytes of %s are there, without what is in the bucket, and cannot be finished", u.folder, plural(u.parts, "part"), u.bytes, u.name),
		"the parts are pieces of the file, in order: keep them; take it anew, with another capture"}
}
