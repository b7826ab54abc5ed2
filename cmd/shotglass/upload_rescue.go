package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// A rescuer writes the manifests of images whose captures were killed.
type rescuer struct {
	c      *console
	ctx    *cli.Context // for the key; nil: what it writes is not signed
	with   acquire.Rescue
	papers map[string]bool // images whose manifests wait too
	closer io.Closer
}

// open loads the key, if one is given and there is something to sign, before anything is stored.
func (r *rescuer) open(list []waiting) error {
	r.with = acquire.Rescue{Tool: toolInfo(), Operator: operator(), Now: time.Now}
	r.papers = map[string]bool{}
	for _, w := range list {
		if rank(w.Name) == rankManifest {
			r.papers[paperOf(w.Name)] = true
		}
	}
	if r.ctx == nil || r.ctx.String("sign-key") == "" || !slices.ContainsFunc(list, func(w waiting) bool { return w.Killed && acquire.Rescuable(w.Name, w.Note) }) {
		return nil
	}
	o, closer, err := recordSigner(r.c, r.ctx)
	if err != nil {
		return err
	}
	r.with.Signer, r.closer = o.Engine.Signer, closer
	return nil
}

func (r *rescuer) close() {
	if r.closer != nil {
		r.closer.Close()
	}
}

// after says what is to be done once an object is stored, while its folder is still there; nil: nothing.
func (r *rescuer) after(ctx context.Context, w waiting) func(*s3.Sink, sink.Receipt) error {
	if !w.Killed {
		return r.alone(ctx, w)
	}
	return func(where *s3.Sink, kept sink.Receipt) error {
		why := fmt.Sprintf("the capture was killed after its bucket had failed (%s): these are the %d bytes that were durable, in the bucket or in the spill folder; shotglass upload stored them on %s",
			w.Why, kept.Size, time.Now().UTC().Format(time.RFC3339))
		if !acquire.Rescuable(w.Name, w.Note) {
			r.c.warn("%s: the capture was killed: the first %d bytes of it, all that were durable, are stored, and no manifest speaks for them; what came after is lost", printable(kept.Location), kept.Size)
			return nil
		}
		one := r.with
		one.Why, one.Note = why, w.Note
		done, err := one.Write(ctx, where, kept)
		if err != nil {
			return fmt.Errorf("%s is stored, and has no manifest yet that says that it is partial: %w", kept.Location, err)
		}
		if done.Location == "" {
			return nil
		}
		what, host := "as a partial image", "nothing of the host"
		if is, _ := acquire.IsSwap(w.Name); is {
			what = "as a partial swap area"
		}
		if !done.Recorded.IsZero() {
			host = fmt.Sprintf("of the host, %q, what was recorded before, at %s", done.Host, done.Recorded.UTC().Format(time.RFC3339))
		}
		r.c.warn("%s: the capture was killed: the first %d bytes of it, all that were durable, are stored %s; %s says so, and %s", printable(kept.Location), kept.Size, what, printable(done.Location), host)
		if done.Lost != nil {
			r.c.warn("%s: %v", printable(w.Folder), done.Lost)
		}
		if one.Signer == nil {
			r.c.warn("%s is not signed: --sign-key would have signed it", printable(done.Location))
		}
		return nil
	}
}

// alone says of an image, once it is stored, that no manifest speaks for it. Its pieces were described, and the capture may go on still: none is
// written here.
func (r *rescuer) alone(ctx context.Context, w waiting) func(*s3.Sink, sink.Receipt) error {
	if r.papers[w.Name] || !acquire.Rescuable(w.Name, nil) {
		return nil
	}
	return func(where *s3.Sink, kept sink.Receipt) error {
		ctx, cancel := context.WithTimeout(ctx, paperPatience)
		defer cancel()
		if _, err := acquire.ManifestOf(ctx, where, kept.Name); errors.Is(err, fs.ErrNotExist) {
			r.c.warn("%s is stored, and no manifest lies beside it or waits with it: bring the other folders of its capture too; if there is none, the capture goes on, or was killed before it wrote one, and the image is no evidence", printable(kept.Location))
		}
		return nil
	}
}

// paperPatience is how long a manifest is looked for.
const paperPatience = 30 * time.Second
