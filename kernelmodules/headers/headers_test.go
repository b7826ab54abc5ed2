package headers_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/archive/archivetest"
	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
	"github.com/shotglass-ir/shotglass/kernelmodules/moduletest"
)

const config = "CONFIG_SMP=y\nCONFIG_MODULES=y\nCONFIG_MODVERSIONS=y\nCONFIG_MODULE_UNLOAD=y\nCONFIG_PREEMPT_BUILD=y\nCONFIG_GCC_VERSION=120200\n" +
	"CONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0-14) 12.2.0\"\n"

// treeFiles are the headers of a kernel, at a place in a package.
func treeFiles(place, release, arch, makefile string) []archivetest.File {
	return []archivetest.File{
		{Name: place + "/Makefile", Data: makefile},
		{Name: place + "/include/generated/utsrelease.h", Data: "#define UTS_RELEASE \"" + release + "\"\n"},
		{Name: place + "/include/config/auto.conf", Data: config + "CONFIG_" + arch + "=y\n"},
		{Name: place + "/Module.symvers", Data: string(moduletest.Symvers())},
	}
}

// debian are the packages of a kernel as Debian makes them.
func debian(release, arch string) []archivetest.Package {
	base, option := "linux-headers-6.1.0-56", "X86_64"
	if arch == "arm64" {
		option = "ARM64"
	}
	tree := "./usr/src/linux-headers-" + release
	return []archivetest.Package{
		{
			Name: "linux-headers-" + release, Version: "6.1.192-2", Arch: arch, Depends: base + "-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2), linux-compiler-gcc-12-x86, linux-image-x",
			Files: append(treeFiles(tree, release, option, "include /usr/src/"+base+"-common/Makefile\n"),
				archivetest.File{Name: tree + "/scripts", Link: "../../lib/linux-kbuild-6.1/scripts"},
				archivetest.File{Name: "./lib/modules/" + release + "/build", Link: "/usr/src/linux-headers-" + release}),
		},
		{Name: base + "-common", Version: "6.1.192-2", Arch: "all", Files: []archivetest.File{{Name: "./usr/src/" + base + "-common/Makefile", Data: "all:\n"}}},
		kbuild("amd64", 62), kbuild("arm64", 183),
	}
}

// kbuild is the package with the programs for one machine.
func kbuild(arch string, machine byte) archivetest.Package {
	elf := "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x03\x00" + string(rune(machine&0x7f)) + "\x00"
	if machine > 0x7f {
		elf = elf[:18] + string([]byte{machine, 0})
	}
	return archivetest.Package{Name: "linux-kbuild-6.1", Version: "6.1.192-2", Arch: arch, Files: []archivetest.File{
		{Name: "./usr/lib/linux-kbuild-6.1/scripts/basic/fixdep", Data: elf, Mode: 0o755},
		{Name: "./usr/lib/linux-kbuild-6.1/scripts/mod/modpost", Data: elf, Mode: 0o755},
	}}
}

// write writes packages to a folder, and returns their paths.
func write(t *testing.T, packages ...archivetest.Package) (dir string, paths []string) {
	t.Helper()
	dir = t.TempDir()
	for _, p := range packages {
		name := filepath.Join(dir, p.Name+"_"+p.Arch+".deb")
		if err := os.WriteFile(name, p.Deb(), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, name)
	}
	return dir, paths
}

func gather(t *testing.T, host string, paths ...string) ([]*headers.Tree, error) {
	t.Helper()
	return headers.Gather(t.Context(), t.TempDir(), host, paths)
}

// TestGatherDebian: kernels for both machines in one call, each with the programs of the host.
func TestGatherDebian(t *testing.T) {
	dir, _ := write(t, append(debian("6.1.0-56-cloud-amd64", "amd64"), debian("6.1.0-56-cloud-arm64", "arm64")[0])...)
	trees, err := gather(t, "x86_64", dir)
	if err != nil || len(trees) != 2 {
		t.Fatalf("%v, %v", trees, err)
	}
	for i, want := range []kernelmodules.Kernel{{Release: "6.1.0-56-cloud-amd64", Machine: "x86_64"}, {Release: "6.1.0-56-cloud-arm64", Machine: "aarch64"}} {
		tree := trees[i]
		if tree.Kernel != want || tree.Symvers.Len() != len(moduletest.Imports()) || !strings.HasPrefix(tree.Config.Compiler(), "gcc-12 (") {
			t.Errorf("%+v", tree)
		}
		var names []string
		for _, in := range tree.Inputs {
			names = append(names, in.Name+"/"+in.Arch)
		}
		if arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[want.Machine]; !slices.Equal(names, []string{"linux-headers-" + want.Release + "/" + arch, "linux-headers-6.1.0-56-common/all", "linux-kbuild-6.1/amd64"}) {
			t.Errorf("made of %q", names)
		}
		if err := tree.CheckTools("x86_64"); err != nil {
			t.Error(err)
		}
		var tools *headers.ToolsError
		if err := tree.CheckTools("aarch64"); !errors.As(err, &tools) || tools.Machine != "x86_64" {
			t.Errorf("CheckTools for another machine: %v", err)
		}
		// The path by which the Makefile names the common part exists here.
		b, err := os.ReadFile(filepath.Join(tree.Dir, "Makefile"))
		if err != nil {
			t.Fatal(err)
		}
		included := strings.TrimSpace(strings.TrimPrefix(string(b), "include "))
		if data, err := os.ReadFile(included); err != nil || string(data) != "all:\n" || strings.HasPrefix(included, "/usr/") {
			t.Errorf("Makefile: %q: %v", b, err)
		}
	}
}

func TestGatherRefuses(t *testing.T) {
	all := debian("6.1.0-56-amd64", "amd64")
	other := all[0]
	other.Files = slices.Clone(other.Files)
	other.Files[3].Data += "0x00000001\tanother\tvmlinux\tE\n"
	broken := all[0]
	broken.Files = slices.Delete(slices.Clone(broken.Files), 3, 4)
	for name, tt := range map[string]struct {
		host     string
		packages []archivetest.Package
		want     []string
	}{
		"without common":      {"x86_64", []archivetest.Package{all[0], all[2]}, []string{"not whole without linux-headers-6.1.0-56-common"}},
		"kbuild of the other": {"x86_64", []archivetest.Package{all[0], all[1], all[3]}, []string{"not whole without linux-kbuild-6.1", "that for amd64"}},
		"only common":         {"x86_64", []archivetest.Package{all[1]}, []string{"no kernel headers", "those with its release in their name"}},
		"without symvers":     {"x86_64", []archivetest.Package{broken, all[1], all[2]}, []string{"Module.symvers is missing"}},
	} {
		_, paths := write(t, tt.packages...)
		_, err := gather(t, tt.host, paths...)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	// The same kernel twice: the same is fine, another is not.
	_, paths := write(t, all...)
	_, more := write(t, other)
	if trees, err := gather(t, "x86_64", append(paths, paths...)...); err != nil || len(trees) != 1 {
		t.Errorf("twice: %v, %v", trees, err)
	}
	if _, err := gather(t, "x86_64", append(paths, more...)...); err == nil || !strings.Contains(err.Error(), "do not belong together") {
		t.Errorf("two of one name: %v", err)
	}
	if _, err := gather(t, "x86_64", t.TempDir()); !errors.Is(err, headers.ErrNone) {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := gather(t, "x86_64", filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

// TestGatherBounds: files that are read whole have a size.
func TestGatherBounds(t *testing.T) {
	for name, i := range map[string]int{"Makefile": 0, "utsrelease.h": 1} {
		p := debian("6.1.0-56-amd64", "amd64")
		p[0].Files[i].Data += strings.Repeat("#\n", 4<<20)
		_, paths := write(t, p[:3]...)
		if _, err := gather(t, "x86_64", paths...); err == nil || !strings.Contains(err.Error(), name+" has more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
	root := t.TempDir()
	for _, f := range treeFiles("usr/src/linux-headers-6.1.0-56-amd64", "6.1.0-56-amd64", "X86_64", strings.Repeat("#\n", 4<<20)) {
		name := filepath.Join(root, f.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(f.Data), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := gather(t, "x86_64", root); err == nil || !strings.Contains(err.Error(), "Makefile has more than") {
		t.Errorf("Makefile of a folder: %v", err)
	}
}

// TestGatherRPM: Red Hat's headers are one package, SUSE's are two.
func TestGatherRPM(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []archivetest.Package{
		{
			Name: "kernel-devel", Version: "5.14.0-362.el9", Arch: "x86_64",
			Files: treeFiles("/usr/src/kernels/5.14.0-362.el9.x86_64", "5.14.0-362.el9.x86_64", "X86_64", "all:\n"),
		},
		{
			Name: "kernel-default-devel", Version: "6.4.0-150600.23.7", Arch: "aarch64",
			Files: treeFiles("/usr/src/linux-6.4.0-150600.23-obj/aarch64/default", "6.4.0-150600.23-default", "ARM64", "include /usr/src/linux-6.4.0-150600.23/Makefile\n"),
		},
		{Name: "kernel-devel", Version: "6.4.0-150600.23.7", Arch: "noarch", Files: []archivetest.File{{Name: "/usr/src/linux-6.4.0-150600.23/Makefile", Data: "all:\n"}}},
	} {
		if err := os.WriteFile(filepath.Join(dir, p.Name+"-"+p.Arch+".rpm"), p.RPM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trees, err := gather(t, "x86_64", dir)
	if err != nil || len(trees) != 2 {
		t.Fatalf("%v, %v", trees, err)
	}
	if k := trees[0].Kernel; k.Release != "5.14.0-362.el9.x86_64" || k.Machine != "x86_64" {
		t.Errorf("%+v", k)
	}
	suse := trees[1]
	if len(suse.Inputs) != 2 || suse.Kernel.Machine != "aarch64" {
		t.Errorf("%+v", suse.Inputs)
	}
	b, err := os.ReadFile(filepath.Join(suse.Dir, "Makefile"))
	if _, serr := os.Stat(strings.TrimSpace(strings.TrimPrefix(string(b), "include "))); err != nil || serr != nil {
		t.Errorf("%q: %v, %v", b, err, serr)
	}
	if err := suse.CheckTools("x86_64"); err == nil || !strings.Contains(err.Error(), "scripts/basic/fixdep") {
		t.Errorf("CheckTools: %v", err)
	}
}

// TestGatherFolder: headers lie in a folder into which somebody unpacked packages; it is not changed.
func TestGatherFolder(t *testing.T) {
	root := t.TempDir()
	for _, p := range debian("6.1.0-56-amd64", "amd64")[:3] {
		for _, f := range p.Files {
			name := filepath.Join(root, f.Name)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			err := os.WriteFile(name, []byte(f.Data), 0o644)
			if f.Link != "" {
				os.Remove(name)
				err = os.Symlink(f.Link, name)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	makefile := filepath.Join(root, "usr/src/linux-headers-6.1.0-56-amd64/Makefile")
	before, err := os.ReadFile(makefile)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{root, filepath.Dir(makefile), filepath.Join(root, "usr/src")} {
		trees, err := gather(t, "x86_64", path)
		if err != nil || len(trees) != 1 {
			t.Fatalf("%s: %v, %v", path, trees, err)
		}
		b, err := os.ReadFile(filepath.Join(trees[0].Dir, "Makefile"))
		if want := "include " + root + "/usr/src/linux-headers-6.1.0-56-common/Makefile\n"; err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", path, b, err, want)
		}
		if err := trees[0].CheckTools("x86_64"); err != nil {
			t.Error(err)
		}
		if len(trees[0].Inputs) != 1 || trees[0].Inputs[0].Name != filepath.Dir(makefile) {
			t.Errorf("made of %v", trees[0].Inputs)
		}
	}
	if after, err := os.ReadFile(makefile); err != nil || string(after) != string(before) {
		t.Errorf("the folder was changed: %q, %v", after, err)
	}
}

func TestVermagicProblem(t *testing.T) {
	c := headers.Config{"SMP": "y", "PREEMPT_BUILD": "y", "MODULE_UNLOAD": "y", "MODVERSIONS": "y"}
	for vermagic, want := range map[string]string{
		"6.1 SMP preempt mod_unload modversions ":           "",
		"6.1 SMP preempt mod_unload modversions aarch64":    "",
		"6.1 SMP preempt mod_unload modversions RANDSTRUCT": "",
		"6.1 preempt mod_unload modversions ":               "lacks SMP",
		"6.1 SMP mod_unload modversions ":                   "lacks preempt",
		"6.1 SMP preempt_rt mod_unload modversions ":        "has preempt_rt, which",
		"6.1 SMP preempt mod_unload ":                       "lacks modversions",
	} {
		if have := c.VermagicProblem(vermagic); (want == "") != (have == "") || !strings.Contains(have, want) {
			t.Errorf("%q: %q, want %q", vermagic, have, want)
		}
	}
}

func TestAdvice(t *testing.T) {
	for _, tt := range []struct{ release, machine, want string }{
		{"6.1.0-56-cloud-amd64", "x86_64", "linux-headers-6.1.0-56-cloud-amd64:amd64"},
		{"6.12.113+deb12-arm64", "aarch64", "linux-kbuild-...:amd64"},
		{"5.15.0-1030-aws", "aarch64", "linux-headers-5.15.0-1030-aws:arm64 and linux-aws-headers-5.15.0-1030 (linux-aws-5.15-headers-5.15.0-1030"},
		{"6.5.0-1014-azure", "x86_64", "linux-azure-headers-6.5.0-1014"},
		{"5.15.0-91-generic", "x86_64", "linux-headers-5.15.0-91-generic:amd64 and linux-headers-5.15.0-91;"},
		{"4.14.330-250.540.amzn2.x86_64", "x86_64", "yumdownloader kernel-devel-4.14.330-250.540.amzn2.x86_64"},
		{"6.1.55-75.123.amzn2023.aarch64", "aarch64", "dnf download kernel-devel-6.1.55-75.123.amzn2023.aarch64"},
		{"5.14.0-362.8.1.el9_3.x86_64", "x86_64", "dnf download kernel-devel-5.14.0-362.8.1.el9_3.x86_64"},
		{"5.14.0-427.el9.aarch64+64k", "aarch64", "kernel-64k-devel-5.14.0-427.el9.aarch64"},
		{"6.4.0-150600.23.7-default", "x86_64", "kernel-default-devel kernel-devel, both of the version 6.4.0-150600.23.7 "},
		{"5.14.21-150500.33.3-azure", "x86_64", "kernel-azure-devel"},
		{"6.17.0-mine", "x86_64", "who compiled it"},
	} {
		have := headers.Advice(kernelmodules.Kernel{Release: tt.release, Machine: tt.machine}, "x86_64")
		if !strings.Contains(have+";", tt.want) || !strings.Contains(have, "modules build --headers") {
			t.Errorf("%s: %q, want %q", tt.release, have, tt.want)
		}
	}
	for release, want := range map[string]string{
		"6.1.0-56-cloud-amd64": "x86_64", "6.1.0-56-rt-arm64": "aarch64", "5.14.0-362.el9.x86_64": "x86_64", "5.14.0-427.el9.aarch64+64k": "aarch64",
		"5.15.0-1030-aws": "", "6.4.0-150600.23.7-default": "", "6.12.113+deb12-cloud-arm64": "aarch64",
	} {
		if have := headers.MachineOf(release); have != want {
			t.Errorf("MachineOf(%q) = %q, want %q", release, have, want)
		}
	}
}
