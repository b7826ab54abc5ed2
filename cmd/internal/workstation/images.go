package workstation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/sink"
)

// States of an Image.
const (
	Complete  = "complete"  // as its manifest says; mounting checks it
	Partial   = "partial"   // the same; also one whose capture goes on, or did not come to its end
	Unvouched = "unvouched" // it has the name of an image, and no manifest; or it was converted, and its record is for verify
	Unusable  = "unusable"  // Why says why
)

// An Image is an image of memory that lies in a case.
type Image struct {
	Name      string `json:"name"` // below the case's place, with the folders in it
	State     string `json:"state"`
	Encrypted bool   `json:"encrypted"`
	Why       string `json:"why,omitempty"`
}

// imageName is what images are called if nobody named them: those that may be without a manifest.
var imageName = regexp.MustCompile(`\.lime(\.zst|\.s2|\.age)*$`)

// atOnce is how many manifests are read at once, each of acquire.MaxManifest at most.
const atOnce = 4

// A candidate may be an image.
type candidate struct {
	name   string   // without what marks a partial one
	papers []string // what may be its manifest; the first that is one counts, as for verify
	object string   // what lies there under its name, or its segments do; empty: nothing
}

// Images finds the images of memory among the names of a case's files, which open opens, and hands each to found, those first that lie there and then those that only a manifest
// speaks of, as soon as it is known. An image is what a manifest is about, or is called like one. What cannot be told is an image that is Unusable; nothing is
// left out in silence but tools and what is no image. open is called by several at once. The error is that of found, or of the context.
func Images(ctx context.Context, names []string, open func(ctx context.Context, name string) (sink.Reader, error), found func(Image) error) error {
	for some := range slices.Chunk(candidates(names), atOnce) {
		var g errgroup.Group
		list := make([]*Image, len(some))
		for i, c := range some {
			g.Go(func() error { list[i] = c.image(ctx, open); return nil })
		}
		g.Wait() //nolint:errcheck // there is none
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, i := range list {
			if i == nil {
				continue
			}
			if err := found(*i); err != nil {
				return err
			}
		}
	}
	return nil
}

func candidates(names []string) (list []*candidate) {
	all := map[string]*candidate{}
	of := func(name string) *candidate {
		if all[name] == nil {
			all[name] = &candidate{name: name}
		}
		return all[name]
	}
	there := map[string]string{}
	for _, n := range names {
		if strings.HasPrefix(n, "tools/") {
			continue
		}
		object, _ := strings.CutSuffix(n, sink.SegmentsSuffix)
		whole := strings.TrimSuffix(object, sink.PartialSuffix)
		if there[whole] == "" || object == whole { // a complete one goes before a partial one
			there[whole] = object
		}
		if imageName.MatchString(whole) {
			of(whole)
		}
		// In a bucket a partial image has the name that it would have if it were complete, and on a disk another.
		for _, suffix := range []string{acquire.PartialManifestSuffix, acquire.ManifestSuffix, acquire.InterimSuffix} {
			if name, ok := strings.CutSuffix(n, suffix); ok {
				c := of(name)
				c.papers = append(c.papers, n)
				break
			}
		}
	}
	for name, c := range all {
		c.object = there[name]
		slices.SortFunc(c.papers, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *candidate) int {
		if (a.object == "") != (b.object == "") {
			return strings.Compare(b.object, a.object)
		}
		return strings.Compare(a.name, b.name)
	})
	return list
}

func rank(paper string) int {
	switch {
	case strings.HasSuffix(paper, acquire.InterimSuffix):
		return 3
	case strings.HasSuffix(paper, acquire.PartialManifestSuffix):
		return 2
	}
	return 1
}

// image is what a candidate is; nil: no image.
func (c *candidate) image(ctx context.Context, open func(context.Context, string) (sink.Reader, error)) *Image {
	var i *Image
	for _, paper := range c.papers {
		if i = c.manifested(ctx, paper, open); i != nil {
			break
		}
	}
	if i == nil && c.object != "" && imageName.MatchString(c.name) {
		i = &Image{State: Unvouched, Encrypted: strings.HasSuffix(c.name, agefile.Suffix)}
	}
	if i == nil {
		return nil
	}
	i.Name = cmp.Or(c.object, c.name)
	for n, part := range strings.Split(i.Name, "/") {
		if sink.ValidName(strings.TrimSuffix(part, sink.PartialSuffix)) != nil {
			i.State, i.Why = Unusable, "its name, or that of its folder, has other than letters, digits and ._+=@-"
		} else if n == 0 && (part == "README" || part == "README.new") {
			i.State, i.Why = Unusable, "where images are mounted, README is what tells of them"
		}
	}
	return i
}

// errForeign is what looks like no manifest of ours from its start.
var errForeign = errors.New("no manifest")

// manifested is the image that a file is the manifest of; nil if it is the manifest of none.
func (c *candidate) manifested(ctx context.Context, file string, open func(context.Context, string) (sink.Reader, error)) *Image {
	data, err := c.read(ctx, file, open)
	switch {
	case errors.Is(err, errForeign):
		return nil
	case err != nil:
		return &Image{State: Unusable, Why: fmt.Sprintf("its manifest could not be read: %v", err)}
	case acquire.IsConversion(data):
		if c.object == "" {
			return nil
		}
		return &Image{State: Unvouched, Encrypted: strings.HasSuffix(c.name, agefile.Suffix)}
	}
	m, err := acquire.ParseManifest(data)
	switch {
	case err != nil && c.object == "":
		return nil // a record of something else
	case err != nil:
		return &Image{State: Unusable, Why: fmt.Sprintf("%s is no manifest: %v", path.Base(file), err)}
	case m.Image.Format != "lime": // a swap area, or what was collected
		return nil
	case m.Image.Pieces != nil && c.object == "":
		return &Image{State: Unusable, Why: "it was stored in pieces: shotglass upload puts them together"}
	}
	i := &Image{State: Complete, Encrypted: m.Image.Encryption != "" && m.Image.Encryption != "none"}
	if !m.Complete || m.Image.Partial || m.Interim != "" || strings.HasSuffix(file, acquire.InterimSuffix) {
		i.State = Partial
	}
	return i
}

// headSize is how much of a file tells whether it is a manifest: Marshal begins with the type.
const headSize = 4096

// read reads what may be a manifest. Beside no image, of a file of another type only the start is read: symbol files have the same suffix, and tens of megabytes.
func (c *candidate) read(ctx context.Context, file string, open func(context.Context, string) (sink.Reader, error)) ([]byte, error) {
	r, err := open(ctx, file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if c.object == "" {
		head := make([]byte, min(headSize, r.Size()))
		if _, err := io.ReadFull(io.NewSectionReader(r, 0, r.Size()), head); err != nil {
			return nil, err
		}
		if !bytes.Contains(head, []byte(acquire.ManifestType)) {
			return nil, errForeign
		}
	}
	if r.Size() > acquire.MaxManifest {
		if c.object == "" {
			return nil, errForeign
		}
		return nil, fmt.Errorf("%s has %d bytes, more than a manifest", path.Base(file), r.Size())
	}
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}
