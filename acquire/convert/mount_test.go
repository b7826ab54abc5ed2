package convert

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/image"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// TestReadInPlace: who reads a converted image in place gets no byte that is not the one of the record: a damaged part is an error in its
// place, and the rest is there.
func TestReadInPlace(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	raw := stream()
	other := newPlace(t).signers
	for _, f := range []forms.Form{forms.Lime, forms.S2, forms.Zstd} {
		for _, sealed := range []bool{false, true} {
			name, o := "b"+f.Suffix(), Options{Form: f}
			if sealed {
				name, o.Recipients = name+agefile.Suffix, []agefile.Recipient{to}
			}
			t.Run(name, func(t *testing.T) {
				p := newPlace(t)
				p.image("a.lime.zst", "zstd", raw)
				o.Name = name
				if res, err := p.run("a.lime.zst", o); err != nil || res.Partial {
					t.Fatalf("%+v, %v", res, err)
				}
				open := func(change func(*image.Options)) (*image.Image, error) {
					io := image.Options{Signers: p.signers, Identities: []age.Identity{id}}
					if change != nil {
						change(&io)
					}
					i, err := image.Open(t.Context(), p.disk, name, io)
					if err == nil {
						t.Cleanup(func() { i.Close() })
					}
					return i, err
				}
				good, err := open(nil)
				if err != nil {
					t.Fatal(err)
				}
				tr := good.Trust()
				if tr.Manifest != nil || tr.Converted == nil || !tr.Converted.Complete || !tr.Signature.Trusted || !tr.Digests {
					t.Errorf("%+v", tr)
				}
				if got, err := io.ReadAll(io.NewSectionReader(good.Lime(), 0, good.Lime().Size())); err != nil || !bytes.Equal(got, raw) {
					t.Errorf("%d bytes of %d, %v", len(got), len(raw), err)
				}
				if _, err := open(func(o *image.Options) { o.Signers = other }); !errors.Is(err, image.ErrUntrusted) {
					t.Errorf("signed by another: %v", err)
				}

				// A byte that is another: an error there, also where it decodes, and the bytes elsewhere.
				stored := p.get(name)
				bad := slices.Clone(stored)
				at := len(bad) / 2
				if !sealed && f == forms.Lime {
					at = len(raw) - 1<<19 // in zeros
				}
				bad[at] ^= 1
				p.put(name, bad)
				var told []error
				i, err := open(func(o *image.Options) { o.Damaged = func(err error) { told = append(told, err) } })
				if sealed && f != forms.Lime { // all of it is one piece, with age's header in it
					if err == nil || !strings.Contains(err.Error(), "SHA-256 of the stored bytes differs") {
						t.Errorf("damaged: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				failed, buf := 0, make([]byte, 4096)
				for off := int64(0); off+4096 <= int64(len(raw)); off += 4096 {
					if _, err := i.Lime().ReadAt(buf, off); err != nil {
						failed++
					} else if !bytes.Equal(buf, raw[off:off+4096]) {
						t.Fatalf("other bytes at %d", off)
					}
				}
				if failed == 0 || failed == len(raw)/4096 || len(told) == 0 {
					t.Errorf("%d reads failed of %d, told %v", failed, len(raw)/4096, told)
				}
				p.put(name, stored)

				// Of an index that is not the record's nothing is believed.
				frames := p.get(name + acquire.FramesSuffix)
				p.put(name+acquire.FramesSuffix, append(slices.Clone(frames), ' '))
				if _, err := open(nil); !errors.As(err, new(*image.MismatchError)) {
					t.Errorf("another index: %v", err)
				}
				if i, err := open(func(o *image.Options) { o.Unchecked = true }); err != nil || i.Trust().Digests {
					t.Errorf("unchecked: %v", err)
				}
				p.put(name+acquire.FramesSuffix, frames)
				paper := p.get(name + acquire.ManifestSuffix)
				p.put(name+acquire.ManifestSuffix, bytes.Replace(paper, []byte(`"complete": true`), []byte(`"complete": TRUE`), 1))
				if _, err := open(nil); !errors.As(err, new(*image.MismatchError)) {
					t.Errorf("a record that does not parse: %v", err)
				}
			})
		}
	}
}

// TestReadInPlaceHeader: where a header of a record is damaged, the records behind it are where the conversion wrote them.
func TestReadInPlaceHeader(t *testing.T) {
	p := newPlace(t)
	raw := stream()
	p.image("a.lime.zst", "zstd", raw)
	if _, err := p.run("a.lime.zst", Options{Form: forms.Lime, Name: "b.lime"}); err != nil {
		t.Fatal(err)
	}
	second := lime.HeaderSize + int(ranges[0].Size())
	bad := slices.Clone(raw)
	bad[second] ^= 0xff
	p.put("b.lime", bad)
	i, err := image.Open(t.Context(), p.disk, "b.lime", image.Options{Signers: p.signers})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	var got []lime.Range
	for _, r := range i.Records() {
		got = append(got, r.Range)
	}
	if !slices.Equal(got, ranges) || i.Defect() == nil {
		t.Errorf("records %v, %v", got, i.Defect())
	}
}
