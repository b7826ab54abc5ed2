package headers_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
)

// debugScripts are an apt with the debug information of a kernel of Debian, and of one of Ubuntu.
var debugScripts = map[string]string{
	"apt-get": aptOptions + `
case $2 in
update) touch "$state/lists/deb_Packages" ;;
download) shift 3; for p; do case $p in *dbgsym*) touch "$p.ddeb" ;; *) touch "$p.deb" ;; esac; done ;;
esac`,
	"apt-cache": aptOptions + `
case $3 in
linux-image-6.1.0-56-cloud-amd64-dbg:amd64) echo "Package: linux-image-6.1.0-56-cloud-amd64-dbg
Architecture: amd64
Version: 6.1.192-2
Installed-Size: 1754691
Size: 283308068" ;;
linux-image-unsigned-5.15.0-1030-aws-dbgsym:arm64) echo "Package: linux-image-unsigned-5.15.0-1030-aws-dbgsym
Architecture: arm64" ;;
*) echo "E: No packages found"; exit 100 ;;
esac`,
}

func TestAPTDebug(t *testing.T) {
	programs(t, debugScripts)
	apt := &headers.APT{Dir: t.TempDir(), Host: "x86_64"}
	p, err := apt.Debug(t.Context(), kernelmodules.Kernel{Release: "6.1.0-56-cloud-amd64", Machine: "x86_64"})
	if err != nil || p.Download != 283308068 || p.Unpacked != 1754691<<10 || p.Version != "6.1.192-2" {
		t.Fatalf("%+v, %v", p, err)
	}
	if calls, err := os.ReadFile(filepath.Join(apt.Dir, "calls")); err != nil || strings.Contains(string(calls), " download ") {
		t.Errorf("something was downloaded before its size was told: %s, %v", calls, err)
	}
	if file, err := p.Get(t.Context()); err != nil || filepath.Base(file) != "linux-image-6.1.0-56-cloud-amd64-dbg:amd64.deb" {
		t.Errorf("%q, %v", file, err)
	}
	p, err = apt.Debug(t.Context(), kernelmodules.Kernel{Release: "5.15.0-1030-aws", Machine: "aarch64"})
	if err != nil || p.Download != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	if file, err := p.Get(t.Context()); err != nil || !strings.HasSuffix(file, ".ddeb") {
		t.Errorf("%q, %v", file, err)
	}
	for release, want := range map[string]string{"6.1.0-57-cloud-amd64": "snapshot archive", "5.15.0-1031-aws": "ddebs", "6.1/../x -o": "compiled it"} {
		_, err = apt.Debug(t.Context(), kernelmodules.Kernel{Release: release, Machine: "x86_64"})
		var no *headers.NoDebugError
		if !errors.As(err, &no) || !strings.Contains(err.Error(), "apt has no package linux-image-") || !strings.Contains(no.Hint(), want) {
			t.Errorf("%s: %v, %+v", release, err, no)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := apt.Debug(ctx, kernelmodules.Kernel{Release: "6.1.0-56-cloud-amd64", Machine: "x86_64"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a dead context: %v", err)
	}
}

func TestDNFDebug(t *testing.T) {
	script := `[ "$2" = repoquery ] || { case "$*" in *enablerepo=\*debug\**) ;; *) exit 1 ;; esac
for a; do case $a in kernel-debuginfo-5.14.0-362.8.1.el9_3.x86_64) touch "$dir/$a.rpm" ;; esac; [ "$last" = --destdir ] && dir=$a; last=$a; done; exit 0; }
for a; do :; done; case $a in kernel-debuginfo-5.14.0-362.8.1.el9_3.x86_64) echo "found 700000000 3000000000 5.14.0-362.8.1.el9_3" ;; esac`
	kernel := kernelmodules.Kernel{Release: el9, Machine: "x86_64"}
	for verdict, want := range map[string]string{"digests signatures OK": "", "digests OK": "not signed by a key"} {
		programs(t, map[string]string{"dnf": script, "rpmkeys": `shift; for f; do echo "$f: ` + verdict + `"; done`})
		dnf := &headers.DNF{Dir: t.TempDir(), Host: "x86_64"}
		p, err := dnf.Debug(t.Context(), kernel)
		if err != nil || p.Download != 700000000 || p.Unpacked != 3000000000 {
			t.Fatalf("%+v, %v", p, err)
		}
		file, err := p.Get(t.Context())
		if filepath.Base(file) != "kernel-debuginfo-"+el9+".rpm" || (want == "") != (err == nil) || want != "" && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", verdict, file, err)
		}
		for _, release := range []string{gone, "5.14 $(id)"} {
			var no *headers.NoDebugError
			if _, err := dnf.Debug(t.Context(), kernelmodules.Kernel{Release: release, Machine: "x86_64"}); !errors.As(err, &no) {
				t.Errorf("%s: %v", release, err)
			}
		}
	}
}

func TestIsVmlinux(t *testing.T) {
	for _, name := range []string{"usr/lib/debug/boot/vmlinux-5.14", "usr/lib/debug/lib/modules/5.14/vmlinux", "usr/lib/debug/usr/lib/modules/5.14/vmlinux"} {
		if !headers.IsVmlinux(name, "5.14") || !headers.IsVmlinux(name, "") || headers.IsVmlinux(name, "5.15") {
			t.Error(name)
		}
	}
	for _, name := range []string{"boot/vmlinuz-5.14", "usr/lib/debug/lib/modules/5.14/kernel/vmlinux", "x/usr/lib/debug/boot/vmlinux-5.14"} {
		if headers.IsVmlinux(name, "") {
			t.Error(name)
		}
	}
}
