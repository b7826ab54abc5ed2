package repository_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/moduletest"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

// memory is a depot in memory, in which nobody is kept out.
type memory struct {
	mu    sync.Mutex
	calls sync.Mutex
	files map[string][]byte
	on    func(op string) error // before each call; nil: nothing
	after func(op string) error // after each Put that took place
}

func newMemory() *memory { return &memory{files: map[string][]byte{}} }

func (m *memory) String() string { return "mem://depot" }

func (m *memory) call(op string) error {
	if m.on == nil {
		return nil
	}
	m.calls.Lock()
	defer m.calls.Unlock()
	return m.on(op)
}

func (m *memory) Lock(context.Context) (func(), error) { return func() {}, m.call("lock") }

func (m *memory) Fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, version, err := m.Look(ctx, name, limit)
	if err == nil && version == "" {
		err = fs.ErrNotExist
	}
	return data, err
}

func (m *memory) Look(_ context.Context, name string, limit int64) ([]byte, string, error) {
	if err := m.call("look " + name); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[name]
	if !ok {
		return nil, "", nil
	}
	if int64(len(data)) > limit {
		return nil, "", fmt.Errorf("%d bytes, limit %d", len(data), limit)
	}
	return bytes.Clone(data), repositorytest.Sum(data), nil
}

func (m *memory) Put(_ context.Context, name string, data []byte, version string) (string, error) {
	if err := m.call("put " + name); err != nil {
		return "", err
	}
	m.mu.Lock()
	have := ""
	if old, ok := m.files[name]; ok {
		have = repositorytest.Sum(old)
	}
	if have != version {
		m.mu.Unlock()
		return "", repository.ErrChanged
	}
	m.files[name] = bytes.Clone(data)
	m.mu.Unlock()
	if m.after != nil {
		if err := m.after("put " + name); err != nil {
			return "", err
		}
	}
	return repositorytest.Sum(data), nil
}

// keep is the depot's content under another view, without hooks.
func (m *memory) keep() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &memory{files: maps.Clone(m.files)}
}

// module is LiME for a release; text tells builds of it apart.
func module(t testing.TB, release, text string) *kernelmodules.Module {
	t.Helper()
	info := append(moduletest.LiMEInfo(release+" SMP preempt mod_unload modversions "), "build="+text)
	m, err := kernelmodules.Parse(moduletest.Fake{Info: info, Imports: moduletest.Imports()}.Bytes(), release+".ko")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustPublish(t testing.TB, d repository.Depot, o repository.PublishOptions, modules ...*kernelmodules.Module) *repository.Publication {
	t.Helper()
	p, err := repository.Publish(context.Background(), d, modules, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// readAll reads all of a repository as somebody who pinned a fingerprint, and returns its modules by release.
func readAll(t testing.TB, from repository.Fetcher, fingerprint string) (revision uint64, sums map[string]string, err error) {
	p, err := repository.ParsePins([]string{fingerprint})
	if err != nil {
		t.Fatal(err)
	}
	s, err := repository.New(from, repository.Options{Pins: p})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.List(context.Background())
	if err != nil {
		return 0, nil, err
	}
	sums = map[string]string{}
	for _, e := range l.Modules {
		m, err := s.Get(context.Background(), e)
		if err != nil {
			return 0, nil, err
		}
		sums[m.Release()] = m.SHA256
	}
	return l.Revision, sums, nil
}

func states(p *repository.Publication) map[string]string {
	out := map[string]string{}
	for _, m := range p.Modules {
		out[m.Release+" "+m.Checksum[:8]] = m.State
	}
	return out
}

func TestPublish(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	fpr := repositorytest.Fingerprint(key)
	for name, d := range map[string]repository.Depot{"memory": newMemory(), "folder": folderDepot(t, filepath.Join(t.TempDir(), "new", "repo"))} {
		t.Run(name, func(t *testing.T) {
			o := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}, Packager: "tests <&>", Cache: t.TempDir()}
			one, two, again := module(t, "6.1.0-1", "a"), module(t, "6.1.0-2", "a"), module(t, "6.1.0-1", "b")
			first := mustPublish(t, d, o, one, two)
			if first.Key != fpr || len(first.Modules) != 2 || first.URL != d.String() {
				t.Errorf("%+v", first)
			}
			revision, sums, err := readAll(t, d, fpr)
			want := map[string]string{"6.1.0-1": one.SHA256, "6.1.0-2": two.SHA256}
			if err != nil || revision != first.Revision || !maps.Equal(sums, want) {
				t.Fatalf("%d %v, %v", revision, sums, err)
			}
			layout(t, d, key, []string{"6.1.0-1", "6.1.0-2"})

			// Once more: the revision goes up, also within a second.
			second := mustPublish(t, d, o, one)
			if second.Revision <= first.Revision || second.Modules[0].State != repository.StateKept {
				t.Errorf("revision %d after %d, %+v", second.Revision, first.Revision, states(second))
			}
			// Another module for the same kernel.
			_, err = repository.Publish(t.Context(), d, []*kernelmodules.Module{again, module(t, "6.1.0-3", "a")}, o)
			if taken, ok := errors.AsType[*repository.TakenError](err); !ok || taken.Have.Checksum != one.SHA256 || !strings.Contains(taken.Hint(), "--replace") {
				t.Fatalf("another module under the same name: %v", err)
			}
			if revision, sums, err = readAll(t, d, fpr); err != nil || revision != second.Revision || len(sums) != 2 {
				t.Fatalf("after a refusal: %d %v, %v", revision, sums, err)
			}
			o.Replace = true
			third := mustPublish(t, d, o, again)
			if have := states(third); have["6.1.0-1 "+one.SHA256[:8]] != repository.StateReplaced || have["6.1.0-1 "+again.SHA256[:8]] != repository.StateAdded {
				t.Errorf("%v", have)
			}
			if old, err := d.Fetch(t.Context(), "modules/lime-6.1.0-1.ko", 1<<20); err != nil || !bytes.Equal(old, one.Data) {
				t.Errorf("the old module changed under its name: %v", err)
			}
			o.Replace, o.Withdraw = false, []string{"6.1.0-2"}
			mustPublish(t, d, o)
			if _, sums, err = readAll(t, d, fpr); err != nil || !maps.Equal(sums, map[string]string{"6.1.0-1": again.SHA256}) {
				t.Errorf("%v, %v", sums, err)
			}
			if _, err = repository.Publish(t.Context(), d, nil, o); err == nil || !strings.Contains(err.Error(), "cannot be withdrawn") {
				t.Errorf("withdrawn twice: %v", err)
			}
			// What was replaced comes back: its old name still holds it.
			o.Withdraw, o.Replace = nil, true
			if p := mustPublish(t, d, o, one); p.Modules[0].Path != "modules/lime-6.1.0-1.ko" {
				t.Errorf("%+v", p.Modules)
			}
		})
	}
}

func folderDepot(t testing.TB, dir string) *repository.FolderDepot {
	t.Helper()
	d, err := repository.NewFolderDepot(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// layout holds the files against lime-compiler's names.
func layout(t *testing.T, d repository.Depot, key *openpgp.Entity, releases []string) {
	t.Helper()
	read := func(name string) []byte {
		data, err := d.Fetch(t.Context(), name, 1<<20)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return data
	}
	var said struct {
		UIDs        []string `json:"uids"`
		Fingerprint string   `json:"fingerprint"`
	}
	if err := json.Unmarshal(read("REPO_SIGNING_KEY.json"), &said); err != nil || said.Fingerprint != repositorytest.Fingerprint(key) || len(said.UIDs) != 1 {
		t.Errorf("key: %+v, %v", said, err)
	}
	if !bytes.HasPrefix(read("REPO_SIGNING_KEY.asc"), []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")) {
		t.Error("the key is not armored")
	}
	read("repodata/repomd.xml.sig")
	_, href, _ := strings.Cut(string(read("repodata/repomd.xml")), `<location href="`)
	href, _, _ = strings.Cut(href, `"`)
	name, ok := strings.CutSuffix(filepath.Base(href), "-primary.xml.gz")
	if !ok || len(name) != 64 {
		t.Errorf("the list is %q", href)
	}
	read(href)
	for _, release := range releases {
		read("modules/lime-" + release + ".ko")
		read("modules/lime-" + release + ".ko.sig")
	}
}

// TestPublishRefuses: one bad module, and nothing is published. All that is wrong is told.
func TestPublishRefuses(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	good := module(t, "6.1.0-1", "a")
	parse := func(f moduletest.Fake) *kernelmodules.Module {
		m, err := kernelmodules.Parse(f.Bytes(), "x.ko")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for name, tt := range map[string]struct {
		modules []*kernelmodules.Module
		says    []string
	}{
		"not lime":          {[]*kernelmodules.Module{good, parse(moduletest.Fake{Info: []string{"name=rootkit", "vermagic=6 SMP"}})}, []string{"rootkit"}},
		"no vermagic":       {[]*kernelmodules.Module{good, parse(moduletest.Fake{Info: moduletest.LiMEInfo("")})}, []string{"release is not known"}},
		"stripped too far":  {[]*kernelmodules.Module{parse(moduletest.Fake{Info: moduletest.LiMEInfo("6.1 SMP ")})}, []string{"stripped too far"}},
		"a CRC is missing":  {[]*kernelmodules.Module{parse(moduletest.Fake{Info: moduletest.LiMEInfo("6.1 SMP modversions "), Imports: append(moduletest.Imports(), moduletest.Import{Name: "vmalloc", NoCRC: true})})}, []string{"no CRC of the symbol vmalloc"}},
		"a release with /":  {[]*kernelmodules.Module{module(t, "../../x", "a"), module(t, "6 1", "a")}, []string{"cannot be part of a file's name"}},
		"two for a kernel":  {[]*kernelmodules.Module{good, module(t, "6.1.0-1", "b")}, []string{"for one kernel"}},
		"all that is wrong": {[]*kernelmodules.Module{parse(moduletest.Fake{Info: []string{"name=rootkit", "vermagic=6 SMP"}}), module(t, "../x", "a"), module(t, "6.9", "forbidden")}, []string{"rootkit", "cannot be part", "judged bad"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newMemory()
			_, err := repository.Publish(t.Context(), d, tt.modules, repository.PublishOptions{Signer: repositorytest.Signer{Private: key}, Check: func(m *kernelmodules.Module) error {
				if bytes.Contains(m.Data, []byte("build=forbidden")) {
					return errors.New("judged bad")
				}
				return nil
			}})
			says(t, err, tt.says...)
			if len(d.files) != 0 {
				t.Errorf("written: %v", slices.Collect(maps.Keys(d.files)))
			}
		})
	}
}

// TestPublishUpon: what is there is built upon only if it is good and somebody trusted vouches for it.
func TestPublishUpon(t *testing.T) {
	key, other := repositorytest.NewKey(t, nil), repositorytest.NewKey(t, nil)
	o := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}}
	fresh := func() *memory {
		d := newMemory()
		mustPublish(t, d, o, module(t, "6.1.0-1", "a"), module(t, "6.1.0-2", "a"))
		return d
	}
	for name, tt := range map[string]struct {
		do   func(d *memory, o *repository.PublishOptions)
		says []string
	}{
		"another's":             {func(d *memory, o *repository.PublishOptions) { o.Signer = repositorytest.Signer{Private: other} }, []string{"REPO_SIGNING_KEY.asc", "not pinned"}},
		"list of lists":         {func(d *memory, o *repository.PublishOptions) { flip(d, "repodata/repomd.xml") }, []string{"repodata/repomd.xml", "does not fit"}},
		"its signature":         {func(d *memory, o *repository.PublishOptions) { d.files["repodata/repomd.xml.sig"] = []byte("x") }, []string{"repodata/repomd.xml"}},
		"its signature is gone": {func(d *memory, o *repository.PublishOptions) { delete(d.files, "repodata/repomd.xml.sig") }, []string{"repodata/repomd.xml.sig"}},
		"a module that stays":   {func(d *memory, o *repository.PublishOptions) { flip(d, "modules/lime-6.1.0-2.ko") }, []string{"modules/lime-6.1.0-2.ko", "--withdraw"}},
		"its own signature": {func(d *memory, o *repository.PublishOptions) {
			d.files["modules/lime-6.1.0-2.ko.sig"] = d.files["modules/lime-6.1.0-1.ko.sig"]
		}, []string{"modules/lime-6.1.0-2.ko"}},
		"a key that cannot sign": {func(d *memory, o *repository.PublishOptions) {
			past := time.Now().Add(-1000 * time.Hour)
			c := at(past)
			c.KeyLifetimeSecs = 3600
			o.Signer = repositorytest.Signer{Private: repositorytest.NewKey(t, c)}
		}, []string{"expired"}},
		"another's key, and nothing else": {func(d *memory, o *repository.PublishOptions) {
			d.files = map[string][]byte{"REPO_SIGNING_KEY.asc": repositorytest.Armor(t, other)}
		}, []string{"REPO_SIGNING_KEY.asc", "is this the right place?"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, o := fresh(), o
			tt.do(d, &o)
			before := d.keep()
			_, err := repository.Publish(t.Context(), d, []*kernelmodules.Module{module(t, "6.1.0-3", "a")}, o)
			says(t, err, tt.says...)
			if d := cmp.Diff(before.files, d.files); d != "" {
				t.Errorf("something was written: %s", d)
			}
		})
	}
	t.Run("an older state", func(t *testing.T) {
		d, o := newMemory(), o
		o.Cache = t.TempDir()
		mustPublish(t, d, o, module(t, "6.1.0-1", "a"))
		old := d.keep()
		mustPublish(t, d, o, module(t, "6.1.0-2", "a"))
		_, err := repository.Publish(t.Context(), old, nil, o)
		if _, ok := errors.AsType[*repository.RollbackError](err); !ok {
			t.Errorf("an old state was built upon: %v", err)
		}
	})
	for name, do := range map[string]func(d *memory){
		"modules/lime-6.1.0-1.ko is gone":        func(d *memory) { delete(d.files, "modules/lime-6.1.0-1.ko") },
		"modules/lime-6.1.0-1.ko is another":     func(d *memory) { flip(d, "modules/lime-6.1.0-1.ko") },
		"modules/lime-6.1.0-1.ko.sig is gone":    func(d *memory) { delete(d.files, "modules/lime-6.1.0-1.ko.sig") },
		"modules/lime-6.1.0-1.ko.sig is another": func(d *memory) { flip(d, "modules/lime-6.1.0-1.ko.sig") },
	} {
		t.Run("with a warm cache "+name, func(t *testing.T) {
			d, o := newMemory(), o
			o.Cache = t.TempDir()
			mustPublish(t, d, o, module(t, "6.1.0-1", "a"))
			mustPublish(t, d, o, module(t, "6.1.0-2", "a"))
			do(d)
			before := d.keep()
			_, err := repository.Publish(t.Context(), d, []*kernelmodules.Module{module(t, "6.1.0-3", "a")}, o)
			says(t, err, "modules/lime-6.1.0-1.ko", "--withdraw")
			if d := cmp.Diff(before.files, d.files); d != "" {
				t.Errorf("something was written: %s", d)
			}
		})
	}
	t.Run("a bad module is withdrawn", func(t *testing.T) {
		d, o := fresh(), o
		flip(d, "modules/lime-6.1.0-2.ko")
		o.Withdraw = []string{"6.1.0-2"}
		mustPublish(t, d, o)
	})
}

func flip(d *memory, name string) {
	b := bytes.Clone(d.files[name])
	b[len(b)/2] ^= 1
	d.files[name] = b
}

// TestPublishNewKey: a repository goes over to another key; who pinned the new one reads all of it.
func TestPublishNewKey(t *testing.T) {
	old, key := repositorytest.NewKey(t, nil), repositorytest.NewKey(t, nil)
	d := newMemory()
	mustPublish(t, d, repository.PublishOptions{Signer: repositorytest.Signer{Private: old}}, module(t, "6.1.0-1", "a"))
	o := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}, Trust: pins(t, repositorytest.Fingerprint(old))}
	// At each step somebody reads it, with one key or the other.
	d.after = func(op string) error {
		_, _, errOld := readAll(t, d.keep(), repositorytest.Fingerprint(old))
		_, _, errNew := readAll(t, d.keep(), repositorytest.Fingerprint(key))
		if errOld != nil && errNew != nil {
			t.Errorf("after %s: %v; %v", op, errOld, errNew)
		}
		return nil
	}
	mustPublish(t, d, o, module(t, "6.1.0-2", "a"))
	_, sums, err := readAll(t, d, repositorytest.Fingerprint(key))
	if err != nil || len(sums) != 2 {
		t.Fatalf("%v, %v", sums, err)
	}
	if _, _, err := readAll(t, d, repositorytest.Fingerprint(old)); err == nil {
		t.Error("the old key still vouches")
	}
	// The key before is not needed any more.
	o.Trust = nil
	mustPublish(t, d, o, module(t, "6.1.0-3", "a"))
	if bytes.Count(d.files["REPO_SIGNING_KEY.asc"], []byte("BEGIN")) != 1 || len(d.files["REPO_SIGNING_KEY.asc"]) > 2*len(repositorytest.Armor(t, key)) {
		t.Errorf("the key file is %s", d.files["REPO_SIGNING_KEY.asc"])
	}
}

// TestPublishMachines: releases of several machines may have one name. Margarita Shotgun, which looks at
// nothing else, takes the first, and is for x86-64.
func TestPublishMachines(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	d := newMemory()
	arm, err := kernelmodules.Parse(moduletest.Fake{Machine: 183, Info: moduletest.LiMEInfo("5.15.0-1019-aws SMP "), Imports: moduletest.Imports()}.Bytes(), "arm.ko")
	if err != nil {
		t.Fatal(err)
	}
	p := mustPublish(t, d, repository.PublishOptions{Signer: repositorytest.Signer{Private: key}}, arm, module(t, "5.15.0-1019-aws", "a"))
	var paths []string
	for _, m := range p.Modules {
		paths = append(paths, m.Path)
	}
	if diff := cmp.Diff([]string{"modules/lime-5.15.0-1019-aws.ko", "modules/lime-5.15.0-1019-aws-aarch64.ko"}, paths); diff != "" {
		t.Error(diff)
	}
	s := open(t, d, repository.Options{Pins: pins(t, repositorytest.Fingerprint(key))})
	m, err := s.Find(t.Context(), kernelmodules.Kernel{Release: "5.15.0-1019-aws", Machine: "aarch64"})
	if err != nil || m.SHA256 != arm.SHA256 {
		t.Errorf("%v", err)
	}
}

// TestPublishSame: two who publish the same modules agree on their names, also if the files are there already,
// from a publication that was cut off.
func TestPublishLeftovers(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	d := newMemory()
	m := module(t, "6.1.0-1", "a")
	d.files["modules/lime-6.1.0-1.ko"] = []byte("what somebody left")
	d.files["modules/lime-6.1.0-1-"+m.SHA256[:12]+".ko.sig"] = []byte("and this")
	mustPublish(t, d, repository.PublishOptions{Signer: repositorytest.Signer{Private: key}}, m)
	if _, sums, err := readAll(t, d, repositorytest.Fingerprint(key)); err != nil || sums["6.1.0-1"] != m.SHA256 {
		t.Errorf("%v, %v", sums, err)
	}
	if string(d.files["modules/lime-6.1.0-1.ko"]) != "what somebody left" {
		t.Error("something was overwritten")
	}
}

func TestFolderDepot(t *testing.T) {
	dir := t.TempDir()
	d := folderDepot(t, dir)
	release, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folderDepot(t, dir).Lock(t.Context()); !errors.Is(err, repository.ErrBusy) {
		t.Errorf("a second lock: %v", err)
	}
	put := func(name, data, version string) (string, error) {
		return d.Put(t.Context(), name, []byte(data), version)
	}
	v, err := put("a/b", "one", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put("a/b", "two", ""); !errors.Is(err, repository.ErrChanged) {
		t.Errorf("over a file: %v", err)
	}
	if _, err := put("a/b", "two", strings.Repeat("0", 64)); !errors.Is(err, repository.ErrChanged) {
		t.Errorf("over another version: %v", err)
	}
	if _, err := put("a/b", "two", v); err != nil {
		t.Error(err)
	}
	if _, err := put("a/c", "x", v); !errors.Is(err, repository.ErrChanged) {
		t.Errorf("over nothing: %v", err)
	}
	if data, version, err := d.Look(t.Context(), "a/b", 100); err != nil || string(data) != "two" || version == v || version == "" {
		t.Errorf("%q, %q, %v", data, version, err)
	}
	if _, version, err := d.Look(t.Context(), "a/none", 100); err != nil || version != "" {
		t.Errorf("%q, %v", version, err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "out")); err == nil {
		if _, err := put("out/x", "x", ""); err == nil {
			t.Error("a link that leads out was followed")
		}
	}
	release()
	// What somebody left unfinished goes with the next lock.
	stale := filepath.Join(dir, "modules")
	os.Mkdir(stale, 0o700)
	stale = filepath.Join(stale, ".new-x")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if release, err = d.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an unfinished file is still there: %v", err)
	}
}
