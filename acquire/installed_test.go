//go:build unix

package acquire

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/moduletest"
)

const installedGz = "/lib/modules/6.1.0-56-cloud-amd64/updates/dkms/lime.ko.gz"

// withInstalled makes f a target on which modules are installed, by path.
func (f *fakeTarget) withInstalled(files map[string][]byte, temper func(string) string) {
	f.files = files
	var list strings.Builder
	for path := range files {
		list.WriteString(path + "\n")
	}
	f.tempered = func(text string) string {
		text = replaceSection(text, "lime_installed", list.String())
		if temper != nil {
			text = temper(text)
		}
		return text
	}
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// vermagicOf is that of a module for the fixture's kernel.
func vermagicOf(t *testing.T) string {
	f, err := parseFacts([]byte(debian12(t)), testNonce)
	if err != nil {
		t.Fatal(err)
	}
	return f.Kernel + " SMP preempt mod_unload modversions "
}

func TestInstalledModule(t *testing.T) {
	module := moduletest.LiME(vermagicOf(t))
	signed := moduletest.Sign(module, 300)
	packed := gzipped(t, module)
	lockdown := func(text string) string {
		return replaceSection(text, "lockdown", "none [integrity] confidentiality\n")
	}
	for name, tt := range map[string]struct {
		files  map[string][]byte
		temper func(string) string
		edit   func(*Options)
		short  int
		want   []string // reasons; nil: it is captured
		origin string   // of the module that was loaded
		state  string   // its Signature
	}{
		"nobody vouches": {files: map[string][]byte{installedGz: packed}, want: []string{"no LiME module was given", installedGz, "nobody vouches for it", "without a signature"}},
		"pinned as stored": {files: map[string][]byte{installedGz: packed}, edit: func(o *Options) { o.ModulePins = []string{"sha256:" + strings.ToUpper(sum(packed))} },
			origin: "installed:" + installedGz, state: kernelmodules.Pinned},
		"pinned as unpacked": {files: map[string][]byte{installedGz: packed}, edit: func(o *Options) { o.ModulePins = []string{sum(module)} },
			origin: "installed:" + installedGz, state: kernelmodules.Pinned},
		"another is pinned": {files: map[string][]byte{installedGz: packed}, edit: func(o *Options) { o.ModulePins = []string{sum(signed)} }, want: []string{"nobody vouches for it"}},
		"accepted": {files: map[string][]byte{installedGz: packed}, edit: func(o *Options) { o.AllowInstalledModule = true },
			origin: "installed:" + installedGz, state: kernelmodules.UnverifiedInstalled},
		"ours comes first": {files: map[string][]byte{installedGz: packed}, edit: func(o *Options) { o.Modules, o.AllowInstalledModule = fakeModules{}, true },
			origin: "fake", state: kernelmodules.Pinned},
		"ours does not fit": {files: map[string][]byte{installedGz: packed}, edit: func(o *Options) { o.Modules, o.ModulePins = noModules{}, []string{sum(packed)} },
			origin: "installed:" + installedGz, state: kernelmodules.Pinned},
		"the kernel wants a signature": {files: map[string][]byte{"/lib/modules/x/extra/lime.ko": signed}, temper: lockdown, edit: func(o *Options) { o.Modules, o.ModulePins = fakeModules{}, []string{sum(signed)} },
			origin: "installed:/lib/modules/x/extra/lime.ko", state: kernelmodules.Pinned},
		"the kernel wants a signature, none has one": {files: map[string][]byte{installedGz: packed}, temper: lockdown, edit: func(o *Options) { o.Modules, o.ModulePins = fakeModules{}, []string{sum(packed)} },
			want: []string{"takes only signed modules", installedGz, "is not signed either"}},
		"of another kernel": {files: map[string][]byte{installedGz: moduletest.LiME("6.0.0 SMP ")}, edit: func(o *Options) { o.AllowInstalledModule = true }, want: []string{installedGz, "built for the release", "6.0.0"}},
		"not LiME":          {files: map[string][]byte{installedGz: []byte("<html>")}, edit: func(o *Options) { o.AllowInstalledModule = true }, want: []string{installedGz, "web page"}},
		"the second fits": {files: map[string][]byte{installedGz: []byte("x"), "/usr/lib/modules/x/extra/lime.ko": module}, edit: func(o *Options) { o.AllowInstalledModule = true },
			origin: "installed:/usr/lib/modules/x/extra/lime.ko", state: kernelmodules.UnverifiedInstalled},
		"it comes short":    {files: map[string][]byte{installedGz: packed}, short: 1, edit: func(o *Options) { o.AllowInstalledModule = true }, want: []string{installedGz, "bytes came"}},
		"it cannot be read": {files: map[string][]byte{installedGz: packed}, edit: func(o *Options) { o.AllowInstalledModule = true }, temper: func(s string) string { return replaceSection(s, "lime_installed", "/lib/modules/x/extra/lime.ko\n") }, want: []string{"/lib/modules/x/extra/lime.ko"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.withInstalled(tt.files, tt.temper)
			f.short = tt.short
			dir := t.TempDir()
			r := f.capture(t.Context(), dir, func(o *Options) {
				o.Method, o.Modules = MethodLime, nil
				if tt.edit != nil {
					tt.edit(o)
				}
			})
			f.clean()
			if tt.want != nil {
				if r.Err == nil || r.State != StateFailed || f.agents != 0 {
					t.Fatalf("%s, %v, %d agents", r.State, r.Err, f.agents)
				}
				for _, s := range tt.want {
					if !strings.Contains(r.Err.Error(), s) {
						t.Errorf("%v does not say %q", r.Err, s)
					}
				}
				return
			}
			if r.Err != nil || r.State != StateComplete {
				t.Fatalf("%s: %v", r.State, r.Err)
			}
			m := manifestIn(t, dir).Module
			if m.Origin != tt.origin || m.Signature != tt.state {
				t.Errorf("module %q, %q", m.Origin, m.Signature)
			}
			path, installed := strings.CutPrefix(m.Origin, "installed:")
			if installed != (m.Installed != nil) || installed && (m.Installed.Path != path || m.Installed.Checksum != sum(tt.files[path])) {
				t.Errorf("installed %+v", m.Installed)
			}
		})
	}
}

// TestInstalledAuto: a module for which only the target vouches comes after /proc/kcore, and one that is pinned before.
func TestInstalledAuto(t *testing.T) {
	module := moduletest.LiME(vermagicOf(t))
	for name, tt := range map[string]struct {
		edit func(*Options)
		want string
	}{
		"nobody vouches": {func(*Options) {}, MethodKcore},
		"accepted":       {func(o *Options) { o.AllowInstalledModule = true }, MethodKcore},
		"pinned":         {func(o *Options) { o.ModulePins = []string{sum(module)} }, MethodLime},
	} {
		t.Run(name, func(t *testing.T) {
			f, lime := newKcore(t), newFake(t)
			lime.files = map[string][]byte{"/lib/modules/x/extra/lime.ko": module}
			f.facts = func(text string) string {
				return replaceSection(text, "lime_installed", "/lib/modules/x/extra/lime.ko\n")
			}
			f.server.Exec = both(lime, f)
			o := lime.options(t.TempDir())
			o.Modules = nil
			tt.edit(&o)
			p, err := NewPlan(t.Context(), Jobs(f.server.Target()), o)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			s := p.Steps[0]
			if s.Err != nil || s.Source != tt.want || (s.Module != nil) != (tt.want == MethodLime) {
				t.Fatalf("source %q, module %v, %v", s.Source, s.Module, s.Err)
			}
			said := s.Candidates[0].Reason + strings.Join(s.Warnings, "")
			if tt.want == MethodKcore && !strings.Contains(said, "vouches for") {
				t.Errorf("no reason is given: %q", said)
			}
		})
	}
}

// TestInstalledScript runs installed.sh.
func TestInstalledScript(t *testing.T) {
	out, err := exec.Command("sh", "-c", withArgs(installedScript, []string{"n0", "installed.sh", "100000"})).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.HasSuffix(string(out), "\n"+installedScript) || !strings.HasPrefix(string(out), "\n@n0 ") {
		t.Errorf("printed %q", out)
	}
	out, _ = exec.Command("sh", "-c", withArgs(installedScript, []string{"n0", "installed.sh", "10"})).CombinedOutput()
	if !strings.HasPrefix(string(out), "\n@n0 ") || strings.Contains(string(out), "Prints a file") {
		t.Errorf("of a file that is too large it printed %q", out)
	}
}

func TestInstalledPaths(t *testing.T) {
	for path, ok := range map[string]bool{
		installedGz: true, "/usr/lib/modules/6.1/extra/lime.ko": true, "/lib/modules/6.1+x~y/updates/lime.ko.zst": true, "/lib/modules/6.1/lime.ko.xz": true,
		"/lib/modules/6.1/../../../etc/lime.ko": false, "/lib/modules/x';reboot;'/lime.ko": false, "lime.ko": false, "/tmp/lime.ko": false,
		"/lib/modules/6.1/extra/lime.ko.bz2": false, "/lib/modules/6.1/extra/notlime.ko": false, "/lib/modules/6.1/extra/x y/lime.ko": false, "(builtin)": false,
	} {
		if got := installedPaths(path + "\n" + path + "\n"); (len(got) == 1) != ok {
			t.Errorf("%q: %q", path, got)
		}
	}
	if got := installedPaths(strings.Repeat("/lib/modules/6/lime.ko\n", 3) + "/lib/modules/7/lime.ko\n/lib/modules/8/lime.ko\n/lib/modules/9/lime.ko\n/lib/modules/10/lime.ko\n"); len(got) != maxInstalledPaths {
		t.Errorf("%q", got)
	}
}
