package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// vmcoreinfoItem is the name of the note among what is collected beside an image.
const vmcoreinfoItem = "vmcoreinfo"

// vmcoreinfo returns the text of the kernel's VMCOREINFO note, from what was collected beside the image; nil if there is
// none. m is the manifest, and then it must be the one that m vouches for; nil: there is none to ask.
func vmcoreinfo(ctx context.Context, name string, access s3.Options, ids []age.Identity, m *acquire.Manifest) ([]byte, error) {
	if !s3.IsURL(name) { // a link is followed, as for the image
		if target, err := filepath.EvalSymlinks(name); err == nil {
			name = target
		}
	}
	want := ""
	if m != nil {
		if m.Live == nil {
			return nil, nil
		}
		for _, it := range m.Live.Items {
			if it.Name == vmcoreinfoItem && it.Error == "" {
				want = it.SHA256
			}
		}
		if want == "" {
			return nil, nil
		}
		// name may be another file of the set; that the manifest is of this image has been checked.
		name = name[:len(name)-len(path.Base(filepath.ToSlash(name)))] + m.Image.Name
	}
	archive, err := openLive(ctx, name, access, ids, m)
	if m == nil && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	var note []byte
	_, err = readLive(archive, func(it live.Item, r io.Reader) (err error) {
		if it.Name == vmcoreinfoItem && it.File != "" {
			note, err = io.ReadAll(io.LimitReader(r, forms.MaxVMCoreInfo+1))
		}
		return err
	})
	sum := sha256.Sum256(note)
	switch {
	case err != nil:
		return nil, err
	case want != "" && want != hex.EncodeToString(sum[:]):
		return nil, fmt.Errorf("the manifest says SHA-256 %q, and it is %x", want, sum)
	}
	return note, nil
}
