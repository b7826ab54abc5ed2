package symbols

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// TestFolder: bundles as shotglass, UAC and people leave them.
func TestFolder(t *testing.T) {
	btf, syms, banner := kernel(t), kallsyms(0x1a000000), []byte(testBanner)
	file := func(b []byte) *fstest.MapFile { return &fstest.MapFile{Data: b} }
	hidden := regexp.MustCompile(`(?m)^[0-9a-f]+`).ReplaceAll(syms, []byte("0000000000000000"))
	want := []Found{{Input: "banner"}, {Input: "btf"}, {Input: "kallsyms"}}
	for name, dir := range map[string]fstest.MapFS{
		"shotglass": {"proc/version": file(banner), "sys/kernel/btf/vmlinux": file(btf), "proc/kallsyms": file(syms), "sys/kernel/vmcoreinfo": file([]byte("0x1 1024\n"))},
		"uac":       {"[root]/proc/version": file(banner), "[root]/proc/kallsyms": file(syms), "[root]/sys/kernel/btf/vmlinux": file(btf), "live_response/version": file([]byte("3.3\n"))},
		"person":    {"version.txt": file(banner), "kallsyms.txt": file(syms), "vmlinux.btf": file(btf), "old/kallsyms": file(nil)},
		"two users": {"version": file(banner), "kallsyms": file(hidden), "[root]/proc/kallsyms": file(syms), "vmlinux.btf": file(btf)},
		"twice":     {"version": file(banner), "[root]/proc/version": file(append([]byte{}, testBanner[:len(testBanner)-1]...)), "kallsyms": file(syms), "proc/kallsyms": file(syms), "vmlinux.btf": file(btf)},
	} {
		in, found, err := ReadFolder(dir)
		for i := range found {
			found[i].Path, found[i].Bytes = "", 0
		}
		if err != nil || cmp.Diff(want, found) != "" || !bytes.Equal(in.BTF, btf) || !bytes.Equal(in.Kallsyms, syms) || !bytes.Equal(in.Banner, banner) {
			t.Errorf("%s: %v, %v", name, err, found)
		}
	}
	// Of two hosts: each input is one of several, and is said to be.
	_, found, err := ReadFolder(fstest.MapFS{
		"a/version": file(banner), "b/version": file([]byte("Linux version 5.10.0 (x) #1\n")), "c/version": file([]byte("3.3\n")),
		"a/kallsyms": file(syms), "b/kallsyms": file(kallsyms(0x2b000000)), "c/kallsyms": file(hidden), "b/vmlinux.btf": file(btf),
	})
	several := []Found{
		{Input: "banner", Path: "a/version", Bytes: len(banner), Others: []string{"b/version"}}, {Input: "btf", Path: "b/vmlinux.btf", Bytes: len(btf)},
		{Input: "kallsyms", Path: "a/kallsyms", Bytes: len(syms), Others: []string{"b/kallsyms"}},
	}
	if d := cmp.Diff(several, found); err != nil || d != "" {
		t.Errorf("two hosts: %v, %s", err, d)
	}
	in, _, err := ReadFolder(fstest.MapFS{
		"version": file(banner), "boot/System.map-5.10.0": file([]byte("old")), "boot/System.map-6.1.0-t": file([]byte("this")),
		"sys/kernel/btf/vmlinux": file([]byte("not BTF")), "sys/kernel/btf/af_packet": file(split(t, btf, 1)), "vmcoreinfo": file([]byte("OSRELEASE=6.1.0-t\n")),
	})
	if err != nil || string(in.SystemMap) != "this" || in.BTF != nil || len(in.ModuleBTF["af_packet"]) == 0 || len(in.VMCoreInfo) == 0 {
		t.Errorf("%v, %+v", err, in)
	}
	tar, err := live.ModulesTar([]live.ModuleBTF{{Name: "af_packet", Data: split(t, btf, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	in, found, err = ReadFolder(fstest.MapFS{"version": file(banner), "sys/kernel/btf-modules.tar": file(tar)})
	if err != nil || len(found) != 2 || !bytes.Equal(in.ModuleBTF["af_packet"], split(t, btf, 1)) {
		t.Errorf("%v, %+v", err, found)
	}
	if _, _, err := ReadFolder(fstest.MapFS{"btf-modules.tar": file(tar[:540])}); err == nil {
		t.Error("an archive that was cut passes")
	}
	if _, _, err := ReadFolder(fstest.MapFS{"version": file([]byte("Linux version " + strings.Repeat("x", maxBanner)))}); err == nil || !strings.Contains(err.Error(), "version has more than") {
		t.Errorf("error %v", err)
	}
}
