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

// programs puts stand-ins before the real programs.
func programs(t *testing.T, scripts map[string]string) {
	t.Helper()
	bin := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

const (
	el9  = "5.14.0-362.8.1.el9_3.x86_64"
	gone = "5.14.0-1.el9.x86_64"
)

// dnfScript has one package: it writes it where it is told, and complains of others.
const dnfScript = `for a; do case $a in kernel-devel-5.14.0-362.8.1.el9_3.x86_64) touch "$dir/$a.rpm" ;; esac; [ "$last" = --destdir ] && dir=$a; last=$a; done
echo "No package available."; exit 1`

func TestDNF(t *testing.T) {
	kernels := []kernelmodules.Kernel{{Release: gone, Machine: "x86_64"}, {Release: el9, Machine: "x86_64"}, {Release: "5.14 $(id)", Machine: "x86_64"}}
	for verdict, want := range map[string]string{
		"digests signatures OK":         "",
		"rsa sha1 (md5) pgp md5 OK":     "",
		"digests OK":                    "not signed by a key",
		"digests SIGNATURES NOT OK":     "not signed by a key",
		"DIGESTS SIGNATURES NOT OK; OK": "not signed by a key",
	} {
		programs(t, map[string]string{"dnf": dnfScript, "rpmkeys": `shift; for f; do echo "$f: ` + verdict + `"; done`})
		if !headers.HaveDNF() {
			t.Fatal("there is dnf")
		}
		dir, missing, err := (&headers.DNF{Dir: t.TempDir(), Host: "x86_64"}).Headers(t.Context(), kernels)
		if len(missing) != 2 || missing[0].Kernel.Release != gone || !strings.Contains(missing[0].Error(), "dnf has no package kernel-devel-"+gone) || !strings.Contains(missing[0].Hint(), "vault") {
			t.Errorf("%s: missing %v", verdict, missing)
		}
		if (want == "") != (err == nil) || want != "" && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", verdict, err, want)
		}
		if _, serr := os.Stat(filepath.Join(dir, "kernel-devel-"+el9+".rpm")); serr != nil {
			t.Error(serr)
		}
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, _, err := (&headers.DNF{Dir: t.TempDir(), Host: "x86_64"}).Headers(ctx, kernels); !errors.Is(err, why) {
		t.Errorf("with a dead context: %v", err)
	}
}

// aptOptions writes down a call, and takes the options away that come before the rest.
const aptOptions = `echo "${APT_CONFIG-none} $0 $*" >> "$HOME/calls"
while [ "$1" = -o ]; do case $2 in Dir::State=*) state=${2#*=} ;; esac; shift 2; done`

// aptScripts know one kernel: its packages for any machine are those of this one.
var aptScripts = map[string]string{
	"apt-get": aptOptions + `
case $2 in
update) touch "$state/lists/deb_Packages" ;;
download) shift 3; for p; do touch "$p.deb"; done ;;
esac`,
	"apt-cache": aptOptions + `
case $3 in
linux-headers-6.1.0-56-arm64:arm64) echo "Package: linux-headers-6.1.0-56-arm64
Architecture: arm64
Depends: linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6), gcc-12" ;;
linux-headers-6.1.0-56-common) echo "Package: linux-headers-6.1.0-56-common
Architecture: all" ;;
linux-kbuild-6.1:amd64) echo "Package: linux-kbuild-6.1
Architecture: amd64" ;;
*) echo "E: No packages found"; exit 100 ;;
esac`,
}

func TestAPT(t *testing.T) {
	programs(t, aptScripts)
	apt := &headers.APT{Dir: t.TempDir(), Host: "x86_64"}
	dir, missing, err := apt.Headers(t.Context(), []kernelmodules.Kernel{
		{Release: "6.1.0-56-arm64", Machine: "aarch64"}, {Release: "6.1.0-57-arm64", Machine: "aarch64"}, {Release: "6.1/../x", Machine: "aarch64"},
	})
	if err != nil || len(missing) != 2 || !strings.Contains(missing[0].Error(), "6.1.0-57-arm64 (aarch64): apt has no package linux-headers-6.1.0-57-arm64:arm64") {
		t.Fatalf("missing %v, %v", missing, err)
	}
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if have := strings.Join(names, " "); err != nil || have != "linux-headers-6.1.0-56-arm64:arm64.deb linux-headers-6.1.0-56-common.deb linux-kbuild-6.1:amd64.deb" {
		t.Errorf("downloaded %q, %v", have, err)
	}
	// What keeps apt private and strict is in the command line of each call, where no file outweighs it.
	b, err := os.ReadFile(filepath.Join(apt.Dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	calls := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(calls) < 5 {
		t.Errorf("calls: %q", calls)
	}
	for _, call := range calls {
		for _, want := range []string{
			"Acquire::AllowInsecureRepositories=false", "Acquire::AllowWeakRepositories=false", "Acquire::AllowDowngradeToInsecureRepositories=false",
			"APT::Get::AllowUnauthenticated=false", "APT::Architectures=amd64,arm64", "Dir::State=" + apt.Dir + "/state",
			"Dir::State::lists=" + apt.Dir + "/state/lists/", "Dir::Cache=" + apt.Dir + "/cache", "Dir::Cache::archives=" + apt.Dir + "/cache/archives/",
		} {
			if !strings.Contains(call, " -o "+want+" ") || !strings.HasPrefix(call, "none ") {
				t.Errorf("without -o %s: %q", want, call)
			}
		}
	}
	// Sources that give nothing.
	programs(t, map[string]string{"apt-get": `echo "E: The repository is not signed."; exit 100`})
	if _, _, err := (&headers.APT{Dir: t.TempDir(), Host: "x86_64"}).Headers(t.Context(), []kernelmodules.Kernel{{Release: "6.1.0-56-arm64", Machine: "aarch64"}}); err == nil || !strings.Contains(err.Error(), "is not signed") {
		t.Errorf("no sources: %v", err)
	}
	if _, _, err := (&headers.APT{Dir: t.TempDir(), Host: "x86_64", Sources: filepath.Join(t.TempDir(), "none")}).Headers(t.Context(), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of sources that is not there: %v", err)
	}
}
