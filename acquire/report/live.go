package report

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// liveName is the name of the archive of what was collected that lies beside the manifest.
func (x *Capture) liveName() string {
	name := x.Live.File(imageName(x.File))
	if x.Live.Image.Partial && strings.HasSuffix(x.Live.Image.Location, ".partial") {
		name += ".partial"
	}
	return name
}

// findLive looks whether it is there and has its size. Nothing of it is read.
func (x *Capture) findLive(ctx context.Context, f File) error {
	l := x.Live
	if l == nil || l.Image.Stored.Bytes == 0 {
		return nil
	}
	r, err := f.Where.Open(ctx, x.liveName())
	if errors.Is(err, fs.ErrNotExist) {
		x.Trouble = append(x.Trouble, "what was collected, "+x.liveName()+", is not beside its manifest")
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at what was collected: %w", err)
	}
	defer r.Close()
	if n := r.Size(); n != l.Image.Stored.Bytes {
		x.Trouble = append(x.Trouble, fmt.Sprintf("what was collected, %s, has %d bytes, the manifest says %d", x.liveName(), n, l.Image.Stored.Bytes))
	}
	return nil
}

// livePairs tell of what was collected.
func (x *Capture) livePairs() pairs {
	var p pairs
	if x.Live == nil {
		return nil
	}
	there, missing := 0, []string{}
	for _, it := range x.Live.Items {
		if it.Error == "" {
			there++
		} else {
			missing = append(missing, fmt.Sprintf("%s %s the image: %s", it.Name, it.Stage, it.Error))
		}
	}
	p.add("Collected", "%d of %d items", there, len(x.Live.Items))
	p.text("Not collected", strings.Join(missing, "; "))
	p.text("Not stored whole", strings.Join(x.Live.Reasons, "; "))
	return p
}

// liveCommands check the archive with stock tools.
func (x *Capture) liveCommands(b *strings.Builder) {
	if x.Live != nil && x.Live.Image.Stored.Bytes > 0 {
		fmt.Fprintf(b, "sha256sum %s      # %s\n", quote(x.liveName()), digest(x.Live.Image.Stored.SHA256))
	}
}
