package report

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/sink"
)

// swapReasons say of which swap areas that were asked for not all is there, and why.
func (x *Capture) swapReasons() (why []string) {
	for _, s := range x.SwapImages {
		if !s.Complete {
			why = append(why, fmt.Sprintf("swap %s: %s", s.Name, strings.Join(s.Reasons, "; ")))
		}
	}
	return why
}

// swapName is the name of the file with the i-th swap area, from 0, that lies beside the manifest.
func (x *Capture) swapName(i int) string {
	m := x.SwapImages[i].Image
	name := acquire.SwapName(imageName(x.File), i+1, m.Compression, m.Encryption == "age")
	if m.Partial && strings.HasSuffix(m.Location, sink.PartialSuffix) {
		name += sink.PartialSuffix
	}
	return name
}

// findSwap looks whether the files of the swap areas are there and have their sizes. Nothing of them is read.
func (x *Capture) findSwap(ctx context.Context, f File) error {
	for i, s := range x.SwapImages {
		if s.Image.Stored.Bytes == 0 || len(s.Image.Segments) > 0 {
			continue
		}
		name := x.swapName(i)
		r, err := f.Where.Open(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			x.Trouble = append(x.Trouble, "the swap area "+name+" is not beside its manifest")
			continue
		}
		if err != nil {
			return fmt.Errorf("look at a swap area: %w", err)
		}
		size := r.Size()
		r.Close()
		if size != s.Image.Stored.Bytes {
			x.Trouble = append(x.Trouble, fmt.Sprintf("the swap area %s has %d bytes, the manifest says %d", name, size, s.Image.Stored.Bytes))
		}
	}
	return nil
}

// swapPairs tell of the swap areas that were read.
func (x *Capture) swapPairs() pairs {
	var p pairs
	for i, s := range x.SwapImages {
		if s.Image.Stored.Bytes == 0 {
			p.add("Swap area", "%s: nothing of it is stored", s.Name)
			continue
		}
		state := "complete"
		if !s.Complete {
			state = "partial"
		}
		p.add("Swap area", "%s, %s, %s, read at %s: %s", s.Name, bytesText(s.Image.Raw.Bytes), state, clock(s.Begun), x.swapName(i))
		if h := s.Header; h != nil {
			p.add("Its header", "%s, %d pages of %d bytes, UUID %s, label %q", h.Magic, h.Pages, h.PageSize, h.UUID, h.Label)
		}
		p.text("Mapped by", s.Mapping)
		p.text("To know", strings.Join(s.Notes, "; "))
		p.text("Its SHA-256", s.Image.Raw.SHA256)
		p.text("Its file, SHA-256", s.Image.Stored.SHA256)
	}
	return p
}

// swapCommands check the files of swap areas with stock tools.
func (x *Capture) swapCommands(b *strings.Builder) {
	for i, s := range x.SwapImages {
		if s.Image.Stored.Bytes > 0 && len(s.Image.Segments) == 0 {
			fmt.Fprintf(b, "sha256sum %s      # %s\n", quote(x.swapName(i)), digest(s.Image.Stored.SHA256))
		}
	}
}
