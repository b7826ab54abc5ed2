//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// debs returns the packages of the guest's suite that match.
func debs(t *testing.T, patterns ...string) (files []string) {
	t.Helper()
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(parts.Debs, p))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s in %s: %q, %v", p, parts.Debs, found, err)
		}
		files = append(files, found[0])
	}
	return files
}

// fromDebs are the flags that build the guest's module from its packages.
func fromDebs(t *testing.T, release string) (flags []string) {
	t.Helper()
	base := strings.Join(strings.SplitN(release, "-", 3)[:2], "-")
	for _, f := range debs(t, "linux-headers-"+release+"_*.deb", "linux-headers-"+base+"-common_*.deb", "linux-kbuild-*.deb") {
		flags = append(flags, "--headers", f)
	}
	return append(flags, "--lime", debs(t, "lime-forensics-dkms_*.deb")[0])
}

var building sync.Mutex

// builtModule is LiME for the guest's kernel, as modules build makes it; it is built once.
func builtModule(t *testing.T) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	path := filepath.Join(filepath.Dir(program), "modules", "lime-"+parts.KernelRelease+"-x86_64.ko")
	if _, err := os.Stat(path); err != nil {
		start(t, nil, append([]string{"modules", "build", "-o", filepath.Dir(path)}, fromDebs(t, parts.KernelRelease)...)...).want(0, 4*time.Minute)
	}
	return path
}

func readModule(t *testing.T, path string) *kernelmodules.Module {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := kernelmodules.Parse(data, path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// empty fails if a folder for temporary files holds any.
func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

// currentKernels asks apt for a kernel of today and another one, both for x86-64.
func currentKernels(t *testing.T) (current, other string) {
	t.Helper()
	out, err := exec.Command("apt-cache", "depends", "linux-headers-cloud-amd64").Output()
	m := regexp.MustCompile(`Depends: linux-headers-(\S+-cloud-amd64)`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("apt-cache knows no linux-headers-cloud-amd64 (apt-get update?): %v\n%s", err, out)
	}
	current = string(m[1])
	out, err = exec.Command("apt-cache", "pkgnames", "linux-headers-").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^linux-headers-(\d\S*[+.-]\d+\S*-cloud-amd64)$`).FindAllSubmatch(out, -1) {
		if other = string(m[1]); other != current {
			return current, other
		}
	}
	t.Fatalf("apt-cache knows no headers but those of %s", current)
	return
}

// TestModulesBuild: LiME for several kernels and both machines in one call, from the machine's apt.
func TestModulesBuild(t *testing.T) {
	t.Parallel()
	current, other := currentKernels(t)
	arm := strings.TrimSuffix(current, "amd64") + "arm64"
	tmp, store := t.TempDir(), filepath.Join(t.TempDir(), "store")
	p := start(t, []string{"TMPDIR=" + tmp}, "modules", "build", "-o", store, current, arm, other, "6.1.0-0-cloud-amd64")
	p.want(1, 8*time.Minute, "apt has no package linux-headers-6.1.0-0-cloud-amd64:amd64", "snapshot archive")
	empty(t, tmp)
	for release, machine := range map[string]string{current: "x86_64", arm: "aarch64", other: "x86_64"} {
		path := filepath.Join(store, "lime-"+release+"-"+machine+".ko")
		m := readModule(t, path)
		if err := m.Check(kernelmodules.Kernel{Release: release, Machine: machine}); err != nil {
			t.Error(err)
		}
		if m.Size > 100_000 {
			t.Errorf("%s has %d bytes: it is not stripped", path, m.Size)
		}
		data, err := os.ReadFile(kernelmodules.RecordName(path))
		if err != nil {
			t.Fatal(err)
		}
		r, err := kernelmodules.ReadRecord(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Matches(m); err != nil || r.Imports < 20 || len(r.Symvers) != 64 || r.LiME.Name != "lime-forensics-dkms" || len(r.Headers) != 3 {
			t.Errorf("%+v, %v", r, err)
		}
		for _, in := range r.Headers {
			if strings.HasPrefix(in.Name, "linux-kbuild") && in.Arch != "amd64" {
				t.Errorf("kbuild of %s ran on this machine", in.Arch)
			}
		}
		if out := p.stdout.String(); !strings.Contains(out, release+"\t"+machine+"\t"+m.SHA256+"\t"+path+"\n") {
			t.Errorf("stdout:\n%s", out)
		}
	}
	start(t, nil, "modules", "check", "--module", store).want(0, time.Minute)
}

// TestModulesBuildFiles: the same module comes from .deb files, from an .rpm and from a folder; the kernel's own
// program signs it to the same bytes.
func TestModulesBuildFiles(t *testing.T) {
	t.Parallel()
	want := sha256File(t, builtModule(t))
	name := "lime-" + parts.KernelRelease + "-x86_64.ko"
	lime := debs(t, "lime-forensics-dkms_*.deb")[0]
	root := t.TempDir()
	flags := fromDebs(t, parts.KernelRelease)
	for i := 1; i < len(flags); i += 2 {
		if out, err := exec.Command("dpkg-deb", "--extract", flags[i], root).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	build := func(t *testing.T, more ...string) string {
		t.Helper()
		tmp, store := t.TempDir(), t.TempDir()
		start(t, []string{"TMPDIR=" + tmp}, append([]string{"modules", "build", "-o", store}, more...)...).want(0, 4*time.Minute)
		empty(t, tmp)
		return filepath.Join(store, name)
	}
	t.Run("folder", func(t *testing.T) {
		if have := sha256File(t, build(t, "--headers", root, "--lime", filepath.Join(root, "usr/src"), parts.KernelRelease)); have != want {
			t.Errorf("from a folder %s, from packages %s", have, want)
		}
	})
	t.Run("rpm", func(t *testing.T) {
		if have := sha256File(t, build(t, "--headers", packRPM(t, root), "--lime", lime, parts.KernelRelease)); have != want {
			t.Errorf("from an .rpm %s, from .deb %s", have, want)
		}
	})
	t.Run("signed", func(t *testing.T) {
		key, cert := signingKey(t)
		ours := build(t, append([]string{"--kernel-key", key, "--kernel-cert", cert}, flags...)...)
		theirs := filepath.Join(t.TempDir(), "signed.ko")
		tool, _ := filepath.Glob(filepath.Join(root, "usr/lib/linux-kbuild-*/scripts/sign-file"))
		if out, err := exec.Command(tool[0], "sha256", key, cert, builtModule(t), theirs).CombinedOutput(); err != nil {
			t.Fatalf("sign-file: %v: %s", err, out)
		}
		a, _ := os.ReadFile(ours)
		b, err := os.ReadFile(theirs)
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("our signature and that of sign-file differ: %d and %d bytes, %v", len(a), len(b), err)
		}
		headers := []string{"--headers", flags[1], "--headers", flags[3], "--headers", flags[5]}
		start(t, nil, append(append([]string{"modules", "add", "-o", t.TempDir(), "--kernel-cert", cert}, headers...), theirs)...).want(0, time.Minute)
		_, other := signingKey(t)
		start(t, nil, append(append([]string{"modules", "add", "-o", t.TempDir(), "--kernel-cert", other}, headers...), theirs)...).want(1, time.Minute, "signed with another certificate")
	})
	t.Run("compiler's message", func(t *testing.T) {
		broken := t.TempDir()
		if out, err := exec.Command("sh", "-c", `cp "$1"/usr/src/lime-forensics-*/* "$2" && echo 'int x = y;' >>"$2"/main.c`, "sh", root, broken).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		tmp, store := t.TempDir(), filepath.Join(t.TempDir(), "store")
		start(t, []string{"TMPDIR=" + tmp}, append([]string{"modules", "build", "-o", store, "--lime", broken}, flags[:6]...)...).want(1, 4*time.Minute, "main.c:", "error:", "'y' undeclared")
		empty(t, tmp)
		if _, err := os.Stat(store); err == nil {
			t.Error("a failed build made the folder")
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		tmp, store := t.TempDir(), filepath.Join(t.TempDir(), "store")
		p := start(t, []string{"TMPDIR=" + tmp}, append([]string{"modules", "build", "-o", store}, flags...)...)
		for !strings.Contains(p.stderr.String(), "compiling for") {
			select {
			case <-p.done:
				t.Fatal("it ended too soon")
			case <-time.After(5 * time.Millisecond):
			}
		}
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		p.want(130, time.Minute, "SIGINT")
		empty(t, tmp)
		if _, err := os.Stat(store); err == nil {
			t.Error("an interrupted build made the folder")
		}
	})
}

// packRPM makes Debian's headers a package as Red Hat's kernel-devel is one.
func packRPM(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	spec := filepath.Join(dir, "kernel-devel.spec")
	if err := os.WriteFile(spec, fmt.Appendf(nil, `Name: kernel-devel
Version: %s
Release: 1
Summary: headers
License: GPL-2.0-only
AutoReqProv: no
%%define _binary_payload w1.zstdio
%%define __os_install_post %%{nil}
%%define debug_package %%{nil}
%%define _build_id_links none
%%description
Headers of a kernel.
%%install
mkdir -p %%{buildroot}/usr
cp -a %s/usr/src %s/usr/lib %%{buildroot}/usr
rm -rf %%{buildroot}/usr/src/lime*
%%files
/usr/src
/usr/lib
`, strings.ReplaceAll(parts.KernelRelease, "-", "_"), root, root), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("rpmbuild", "-bb", "--define", "_topdir "+dir, "--target", "x86_64", spec)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rpmbuild: %v\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "RPMS/x86_64/*.rpm"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	return found[0]
}

// signingKey makes a key for modules, and its certificate in DER.
func signingKey(t *testing.T) (key, cert string) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "LiME modules"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	key, cert = filepath.Join(t.TempDir(), "key.pem"), filepath.Join(t.TempDir(), "cert.der")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cert, der, 0o600); err != nil {
		t.Fatal(err)
	}
	return key, cert
}
