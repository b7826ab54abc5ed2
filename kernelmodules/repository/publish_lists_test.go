package repository_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

// TestPublishFromOthers: a repository that lime-compiler wrote is built upon, and its other lists stay.
func TestPublishFromOthers(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	theirs := repositorytest.New(t, key, modules()...)
	d := withOther(theirs, "what no program here reads", nil)
	p := mustPublish(t, d, repository.PublishOptions{Signer: repositorytest.Signer{Private: key}}, module(t, "6.1.0-99", "a"))
	_, sums, err := readAll(t, d, repositorytest.Fingerprint(key))
	if err != nil || len(sums) != len(theirs.Modules)+1 || len(p.Modules) != len(sums) {
		t.Fatalf("%v, %v", sums, err)
	}
	if !bytes.Contains(d.files["repodata/repomd.xml"], []byte(`<data type="other">`)) {
		t.Errorf("the other list is gone: %s", d.files["repodata/repomd.xml"])
	}
}

// TestPublishNewList: a list more is added to a repository, which stays as it is for who reads the first.
func TestPublishNewList(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	theirs := repositorytest.New(t, key, modules()...)
	d := &memory{files: maps.Clone(theirs.Files)}
	_, before, err := readAll(t, d, repositorytest.Fingerprint(key))
	if err != nil {
		t.Fatal(err)
	}
	o := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}, Manifest: "staging", Withdraw: []string{"6.1.0-99"}}
	if _, err := repository.Publish(t.Context(), d, nil, o); err == nil {
		t.Error("a module was withdrawn from a list that is not there")
	}
	o.Withdraw = nil
	p := mustPublish(t, d, o, module(t, "6.1.0-99", "a"))
	if len(p.Modules) != 1 || p.Modules[0].State != repository.StateAdded {
		t.Errorf("%+v", p.Modules)
	}
	if _, after, err := readAll(t, d, repositorytest.Fingerprint(key)); err != nil || !maps.Equal(before, after) {
		t.Errorf("the first list: %v, want %v, %v", after, before, err)
	}
	s, err := repository.New(d, repository.Options{Pins: pins(t, repositorytest.Fingerprint(key)), Manifest: "staging"})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := s.List(t.Context()); err != nil || len(l.Modules) != 1 || l.Modules[0].Release != "6.1.0-99" {
		t.Errorf("the new list: %+v, %v", l, err)
	}
	// Who reads a list that is not there is told so as ever.
	if s, err = repository.New(d, repository.Options{Pins: pins(t, repositorytest.Fingerprint(key)), Manifest: "none"}); err != nil {
		t.Fatal(err)
	}
	_, err = s.List(t.Context())
	says(t, err, `has no list "none"`, `"primary", "staging"`)
	// The second publication finds it there.
	if p := mustPublish(t, d, o, module(t, "6.1.0-100", "a")); len(p.Modules) != 2 {
		t.Errorf("%+v", p.Modules)
	}
}

// withOther is a depot with the repository r and a list more, as it is stored and unpacked.
func withOther(r *repositorytest.Repo, packed string, list []byte) *memory {
	r.Files["repodata/other.xml.gz"] = []byte(packed)
	r.SetRepomd(bytes.Replace(r.Files["repodata/repomd.xml"], []byte("</metadata>"), fmt.Appendf(nil,
		`<data type="other"><checksum>%s</checksum><open_checksum>%s</open_checksum><location href="repodata/other.xml.gz"/></data></metadata>`,
		repositorytest.Sum([]byte(packed)), repositorytest.Sum(list)), 1))
	return &memory{files: maps.Clone(r.Files)}
}

// TestPublishOtherLists: a new signature names other lists only if they are as they were signed, and
// another key signs none whose modules nobody read.
func TestPublishOtherLists(t *testing.T) {
	old, key := repositorytest.NewKey(t, nil), repositorytest.NewKey(t, nil)
	same := repository.PublishOptions{Signer: repositorytest.Signer{Private: old}}
	over := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}, Trust: pins(t, repositorytest.Fingerprint(old))}
	fresh := func(list string) *memory {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		w.Write([]byte(list))
		w.Close()
		return withOther(repositorytest.New(t, old, modules()...), packed.String(), []byte(list))
	}
	const empty, foreign = "<modules></modules>", "<filelists><package/></filelists>"
	refused := func(t *testing.T, d *memory, o repository.PublishOptions, texts ...string) {
		t.Helper()
		before := d.keep()
		_, err := repository.Publish(t.Context(), d, []*kernelmodules.Module{module(t, "6.1.0-99", "a")}, o)
		says(t, err, texts...)
		if d := cmp.Diff(before.files, d.files); d != "" {
			t.Errorf("something was written: %s", d)
		}
	}
	t.Run("gone", func(t *testing.T) {
		d := fresh(empty)
		delete(d.files, "repodata/other.xml.gz")
		refused(t, d, same, `the list "other" is bad`, "repodata/other.xml.gz cannot be read")
	})
	t.Run("altered, with a warm cache", func(t *testing.T) {
		d, o := fresh(empty), same
		o.Cache = t.TempDir()
		mustPublish(t, d, o)
		flip(d, "repodata/other.xml.gz")
		refused(t, d, o, `the list "other" is bad`, "repodata/other.xml.gz has sha256")
	})
	t.Run("another key", func(t *testing.T) {
		refused(t, fresh(foreign), over, "repodata/repomd.xml", `the list "other"`)
	})
	t.Run("another key, an empty list", func(t *testing.T) {
		d := fresh(empty)
		mustPublish(t, d, over)
		// It is filled under the new key, and stays as it is when that goes on.
		o := over
		o.Trust, o.Manifest = nil, "other"
		mustPublish(t, d, o, module(t, "6.1.0-99", "a"))
		o.Manifest = ""
		mustPublish(t, d, o)
		// With modules it is in the way of the next key; without them again it is not.
		back := repository.PublishOptions{Signer: repositorytest.Signer{Private: old}, Trust: pins(t, repositorytest.Fingerprint(key))}
		refused(t, d, back, `the list "other"`)
		o.Manifest, o.Withdraw = "other", []string{"6.1.0-99"}
		mustPublish(t, d, o)
		mustPublish(t, d, back)
	})
}
