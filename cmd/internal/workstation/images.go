package workstation

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/sink"
)

// States of an Image.
const (
	Complete  = "complete"  // as its manifest says; mounting checks it
	Partial   = "partial"   // the same
	Unvouched = "unvouched" // it has the name of an image, and no manifest
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

// Images finds the images of memory among the names of a case's files, which read reads. An image is what a manifest is about, or is called like one. What
// cannot be told is an image that is Unusable; nothing is left out in silence but tools and what is no image.
func Images(names []string, read func(name string) ([]byte, error)) (list []Image) {
	there := map[string]bool{}
	for _, n := range names {
		there[n] = true
	}
	found := map[string]*Image{}
	for _, n := range names {
		if strings.HasPrefix(n, "tools/") {
			continue
		}
		if name, ok := strings.CutSuffix(n, acquire.ManifestSuffix); ok {
			// In a bucket a partial image has the name that it would have if it were complete, and on a disk another.
			whole := strings.TrimSuffix(name, sink.PartialSuffix)
			if i := manifested(n, name, there[whole] || there[whole+sink.PartialSuffix], read); i != nil && (found[whole] == nil || found[whole].State != Complete) {
				found[whole] = i
				if !there[name] && there[whole] {
					i.Name = whole
				}
			}
		}
	}
	for _, n := range names {
		whole := strings.TrimSuffix(n, sink.PartialSuffix)
		if !strings.HasPrefix(n, "tools/") && imageName.MatchString(whole) && found[whole] == nil {
			found[whole] = &Image{Name: n, State: Unvouched, Encrypted: strings.HasSuffix(whole, agefile.Suffix)}
		}
	}
	for _, i := range found {
		for part := range strings.SplitSeq(i.Name, "/") {
			if sink.ValidName(strings.TrimSuffix(part, sink.PartialSuffix)) != nil {
				i.State, i.Why = Unusable, "its name, or that of its folder, has other than letters, digits and ._+=@-"
			}
		}
		list = append(list, *i)
	}
	slices.SortFunc(list, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// manifested is the image that a file is the manifest of; nil if it is the manifest of none.
func manifested(file, name string, there bool, read func(string) ([]byte, error)) *Image {
	data, err := read(file)
	if err != nil {
		return &Image{Name: name, State: Unusable, Why: fmt.Sprintf("its manifest could not be read: %v", err)}
	}
	m, err := acquire.ParseManifest(data)
	switch {
	case err != nil && !there:
		return nil // a record of something else
	case err != nil:
		return &Image{Name: name, State: Unusable, Why: fmt.Sprintf("%s is no manifest: %v", path.Base(file), err)}
	case m.Image.Format != "lime": // a swap area, or what was collected
		return nil
	case m.Image.Pieces != nil && !there:
		return &Image{Name: name, State: Unusable, Why: "it was stored in pieces: shotglass upload puts them together"}
	}
	i := &Image{Name: name, State: Complete, Encrypted: m.Image.Encryption != "" && m.Image.Encryption != "none"}
	if !m.Complete || m.Image.Partial {
		i.State = Partial
	}
	return i
}
