//go:build unix

package build_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/archive/archivetest"
	"github.com/shotglass-ir/shotglass/kernelmodules/build"
	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
	"github.com/shotglass-ir/shotglass/kernelmodules/moduletest"
)

const (
	release  = "6.1.0-56-cloud-amd64"
	vermagic = release + " SMP preempt mod_unload modversions "
)

// tree makes headers, as far as these tests look at them.
func tree(t *testing.T) *headers.Tree {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{
		"Makefile":                       "all:\n",
		"include/generated/utsrelease.h": "#define UTS_RELEASE \"" + release + "\"\n",
		"include/config/auto.conf": "CONFIG_X86_64=y\nCONFIG_SMP=y\nCONFIG_MODVERSIONS=y\nCONFIG_MODULE_UNLOAD=y\nCONFIG_PREEMPT_BUILD=y\n" +
			"CONFIG_GCC_VERSION=120200\nCONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0-14) 12.2.0\"\n",
		"Module.symvers":       string(moduletest.Symvers()),
		"scripts/basic/fixdep": "#!/bin/sh\n",
		"scripts/mod/modpost":  "#!/bin/sh\n",
	} {
		writeFile(t, filepath.Join(dir, name), data, 0o600)
	}
	tr, err := headers.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func writeFile(t *testing.T, name, data string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), mode); err != nil {
		t.Fatal(err)
	}
	return name
}

// programs puts stand-ins before the real ones: make is a script that finds its M= in $M.
func programs(t *testing.T, makeScript string) {
	t.Helper()
	bin := t.TempDir()
	for name, script := range map[string]string{
		"make":   `for a; do case $a in M=*) M=${a#M=} ;; esac; done` + "\n" + makeScript,
		"gcc":    `echo "gcc (Debian 13.2.0-1) 13.2.0"`,
		"gcc-12": `echo "gcc-12 (Debian 12.2.0-14) 12.2.0"; echo more`,
		"strip":  "exit 0",
	} {
		writeFile(t, filepath.Join(bin, name), "#!/bin/sh\n"+script+"\n", 0o755)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("SHOTGLASS_SECRET", "hunter2")
}

var limeFiles = map[string]string{"lime.h": "/* lime */\n", "main.c": "int x;\n", "Makefile": "obj-m := lime.o\n", "doc/README": "read\n"}

func source(t *testing.T) *build.Source {
	t.Helper()
	dir := t.TempDir()
	for name, data := range limeFiles {
		writeFile(t, filepath.Join(dir, name), data, 0o600)
	}
	s, err := build.OpenSource(t.Context(), t.TempDir(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func module(t *testing.T, f moduletest.Fake) string {
	return writeFile(t, filepath.Join(t.TempDir(), "made.ko"), string(f.Bytes()), 0o600)
}

func options(t *testing.T) build.Options {
	return build.Options{
		Source: source(t), Dir: t.TempDir(), Host: "x86_64", Tool: "test",
		Now: func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) },
	}
}

func TestBuild(t *testing.T) {
	made := module(t, moduletest.Fake{Info: moduletest.LiMEInfo(vermagic), Imports: moduletest.Imports()})
	programs(t, `test -f "$M/doc/README" && test "$LC_ALL$SHOTGLASS_SECRET" = C && cp `+made+` "$M/lime.ko"`)
	o := options(t)
	r, err := build.Build(t.Context(), tree(t), o)
	if err != nil {
		t.Fatal(err)
	}
	rec := r.Record
	if err := rec.Matches(r.Module); err != nil || rec.How != kernelmodules.RecordBuilt || rec.Imports != 5 || rec.Symvers == "" || r.Warning != "" ||
		rec.Compiler != "gcc-12 (Debian 12.2.0-14) 12.2.0" || rec.KernelCompiler != rec.Compiler || rec.LiME.Tree == "" || rec.Vermagic != vermagic {
		t.Errorf("%+v, %v", rec, err)
	}
	if line := strings.Join(rec.Commands[0], " "); !strings.Contains(line, "M=BUILD/module") || strings.Contains(line, o.Dir) || !strings.Contains(line, "ARCH=x86_64") {
		t.Errorf("command %q", line)
	}

	o.Compiler = map[string]string{"x86_64": "gcc"}
	if r, err = build.Build(t.Context(), tree(t), o); err != nil || !strings.Contains(r.Warning, `"gcc-12 (Debian 12.2.0-14) 12.2.0", the module with "gcc (Debian 13.2.0-1) 13.2.0"`) {
		t.Errorf("another compiler: %+v, %v", r, err)
	}
	o.Compiler["x86_64"] = "no-such-gcc"
	var missing *build.CompilerError
	if _, err = build.Build(t.Context(), tree(t), o); !errors.As(err, &missing) || missing.Hint() == "" {
		t.Errorf("no compiler: %v", err)
	}
}

// TestBuildChecks: what make made is refused when it is not what was asked for.
func TestBuildChecks(t *testing.T) {
	wrong := moduletest.Imports()
	wrong[2].CRC++
	lacking := append(moduletest.Imports(), moduletest.Import{Name: "not_there", CRC: 1})
	for name, tt := range map[string]struct {
		f    moduletest.Fake
		want string
	}{
		"CRC":        {moduletest.Fake{Info: moduletest.LiMEInfo(vermagic), Imports: wrong}, "symbol iomem_resource has the CRC"},
		"symbol":     {moduletest.Fake{Info: moduletest.LiMEInfo(vermagic), Imports: lacking}, "does not export the symbol not_there"},
		"release":    {moduletest.Fake{Info: moduletest.LiMEInfo("6.1.0-57-amd64 SMP preempt mod_unload modversions "), Imports: moduletest.Imports()}, `release "6.1.0-57-amd64"`},
		"vermagic":   {moduletest.Fake{Info: moduletest.LiMEInfo(release + " SMP mod_unload modversions "), Imports: moduletest.Imports()}, "lacks preempt"},
		"machine":    {moduletest.Fake{Machine: 183, Info: moduletest.LiMEInfo(vermagic), Imports: moduletest.Imports()}, "built for aarch64"},
		"parameters": {moduletest.Fake{Info: moduletest.LiMEInfo(vermagic)[:6], Imports: moduletest.Imports()}, "lacks the parameters format, localhostonly"},
	} {
		programs(t, "cp "+module(t, tt.f)+` "$M/lime.ko"`)
		_, err := build.Build(t.Context(), tree(t), options(t))
		var mismatch *kernelmodules.MismatchError
		if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestBuildFails(t *testing.T) {
	for name, tt := range map[string]struct{ script, message, hint string }{
		"flag":     {`echo "gcc: error: unrecognized command-line option '-fmin-function-alignment=16'" >&2; exit 2`, "unrecognized command-line option", `kernel was compiled with "gcc-12 (Debian 12.2.0-14) 12.2.0", here "gcc (Debian 13.2.0-1) 13.2.0"`},
		"plugin":   {`echo "cc1: error: incompatible gcc/plugin versions"; exit 1`, "incompatible gcc/plugin", "plugins of gcc"},
		"new LiME": {`echo "$M/disk.c:9:2: error: implicit declaration of function 'set_fs'"; echo "  CC [M]  $M/tcp.o"; exit 2`, "disk.c:9:2: error: implicit declaration", "this LiME is not made for this kernel"},
		"library":  {`echo "objtool: error while loading shared libraries: libelf.so.1"; exit 127`, "libelf.so.1", "libelf1"},
		"make":     {`echo "make: *** No rule to make target 'modules'.  Stop."; exit 2`, "No rule to make target", ""},
		"twice":    {`echo "a.c:1: error: x"; echo "make[1]: *** [a.o] Error 1"; echo "a.c:1: error: x"; exit 2`, "exit status 2:\na.c:1: error: x", ""},
		"silent":   {`echo one; echo two; exit 3`, "two", ""},
		"nothing":  {"exit 0", "without lime.ko", ""},
	} {
		programs(t, tt.script)
		o := options(t)
		o.Compiler = map[string]string{"x86_64": "gcc"}
		_, err := build.Build(t.Context(), tree(t), o)
		if err == nil || !strings.Contains(err.Error(), tt.message) || !strings.Contains(err.Error(), release) || strings.Contains(err.Error(), "CC [M]") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Count(err.Error(), "a.c:1") > 1 {
			t.Errorf("%s: %v", name, err)
		}
		var failed *build.CompileError
		if errors.As(err, &failed) && !strings.Contains(failed.Hint(), tt.hint) {
			t.Errorf("%s: hint %q", name, failed.Hint())
		}
	}
}

// TestBuildEnds: cancelling ends make and what make started.
func TestBuildEnds(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	programs(t, `sleep 1000 & echo $! > `+pidFile+`.new; mv `+pidFile+`.new `+pidFile+`; wait`)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	go func() {
		for {
			if _, err := os.Stat(pidFile); err == nil {
				cancel(why)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := build.Build(ctx, tree(t), options(t)); !errors.Is(err, why) {
		t.Errorf("Build: %v", err)
	}
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); running(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("what make started still runs")
		}
	}
}

// running reports whether a process runs; one that only waits to be collected does not.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestOpenSource(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "LiME")
	var files []archivetest.File
	for name, data := range limeFiles {
		writeFile(t, filepath.Join(dir, "src", name), data, 0o600)
		files = append(files, archivetest.File{Name: "usr/src/lime-forensics-1.9.1/" + name, Data: data})
	}
	tarball := writeFile(t, filepath.Join(t.TempDir(), "lime.tar.gz"), string(archivetest.Pack(".gz", archivetest.Tar(files...))), 0o600)
	deb := writeFile(t, filepath.Join(t.TempDir(), "lime.deb"), string(archivetest.Package{Name: "lime-forensics-dkms", Version: "1.9.1-5", Arch: "all", Files: files}.Deb()), 0o600)
	stock := exec.Command("sh", "-c", "find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum")
	stock.Dir = filepath.Join(dir, "src")
	out, err := stock.Output()
	if err != nil {
		t.Fatal(err)
	}
	tree, _, _ := strings.Cut(string(out), " ")
	for _, path := range []string{dir, filepath.Join(dir, "src"), tarball, deb} {
		s, err := build.OpenSource(t.Context(), t.TempDir(), path, []string{"sha256:" + strings.ToUpper(tree)})
		if err != nil || s.Input.Tree != tree {
			t.Errorf("%s: %+v, %v, want the tree %s", path, s, err, tree)
			continue
		}
		if (s.Input.SHA256 == "") != (path != tarball && path != deb) {
			t.Errorf("%s: %+v", path, s.Input)
		}
		if s.Input.SHA256 != "" {
			if _, err := build.OpenSource(t.Context(), t.TempDir(), path, []string{s.Input.SHA256}); err != nil {
				t.Errorf("%s pinned by file: %v", path, err)
			}
		}
		if _, err := build.OpenSource(t.Context(), t.TempDir(), path, []string{strings.Repeat("0", 64)}); !errors.Is(err, build.ErrNotPinned) {
			t.Errorf("%s, another pinned: %v", path, err)
		}
	}
	writeFile(t, filepath.Join(dir, "again", "lime.h"), "", 0o600)
	writeFile(t, filepath.Join(dir, "again", "main.c"), "", 0o600)
	writeFile(t, filepath.Join(dir, "again", "Makefile"), "", 0o600)
	for path, want := range map[string]string{dir: "several", t.TempDir(): "no folder with lime.h", filepath.Join(dir, "none"): "no such file"} {
		if _, err := build.OpenSource(t.Context(), t.TempDir(), path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// certificate makes a key and its certificate, in files.
func certificate(t *testing.T, kind string) (key, cert string) {
	t.Helper()
	var private any
	var public any
	switch kind {
	case "rsa":
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		private, public = k, k.Public()
	case "ecdsa":
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		private, public = k, k.Public()
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(0x1234), Subject: pkix.Name{CommonName: "modules"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), 0o600),
		writeFile(t, filepath.Join(dir, "cert.der"), string(der), 0o600)
}

func TestSign(t *testing.T) {
	m, err := kernelmodules.Parse(moduletest.LiME(vermagic), "lime.ko")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"rsa", "ecdsa"} {
		key, cert := certificate(t, kind)
		for _, hash := range []string{"sha256", "sha384", "sha512"} {
			s, err := build.NewSigner(key, cert, hash)
			if err != nil {
				t.Fatal(err)
			}
			signed, record, err := s.Sign(m)
			if err != nil || !signed.Signed || record.Hash != hash || record.Serial != "1234" || record.Unsigned != m.SHA256 || !strings.HasPrefix(string(signed.Data), string(m.Data)) {
				t.Errorf("%s, %s: %+v, %v", kind, hash, record, err)
				continue
			}
			c, err := build.ReadCertificate(cert)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := build.VerifySignature(signed, c); err != nil {
				t.Error(err)
			}
			// Any byte of the module counts; so does who signed.
			bad := append([]byte{}, signed.Data...)
			bad[70] ^= 1
			changed, err := kernelmodules.Parse(bad, "changed")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := build.VerifySignature(changed, c); err == nil || !strings.Contains(err.Error(), "not that of its bytes") {
				t.Errorf("%s: a changed module: %v", kind, err)
			}
			_, other := certificate(t, "ecdsa")
			if c, err = build.ReadCertificate(other); err != nil {
				t.Fatal(err)
			}
			if _, err := build.VerifySignature(signed, c); err == nil {
				t.Errorf("%s: another certificate passes", kind)
			}
			if _, _, err := s.Sign(signed); err == nil || !strings.Contains(err.Error(), "signed already") {
				t.Errorf("signed twice: %v", err)
			}
		}
	}
}

func TestNewSignerRefuses(t *testing.T) {
	key, cert := certificate(t, "ecdsa")
	_, other := certificate(t, "ecdsa")
	file := func(data string) string { return writeFile(t, filepath.Join(t.TempDir(), "f"), data, 0o600) }
	encrypted := file("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
	for name, tt := range map[string]struct{ key, cert, hash, want string }{
		"hash":       {key, cert, "md5", "want sha256"},
		"not a pair": {key, other, "sha256", "is not for the key"},
		"no key":     {cert, cert, "sha256", "no private key in PEM"},
		"no cert":    {key, key, "sha256", "certificate " + key},
		"encrypted":  {encrypted, cert, "sha256", "is encrypted"},
		"missing":    {key + ".no", cert, "sha256", "no such file"},
	} {
		if _, err := build.NewSigner(tt.key, tt.cert, tt.hash); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
