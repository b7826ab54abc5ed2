package headers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/internal/proc"
)

// DNF gets packages with this machine's dnf or yumdownloader, from its repositories, and checks their
// signatures with the keys that this machine's rpm trusts. Nothing is installed.
type DNF struct {
	Dir  string // private, and there
	Host string // this machine, in uname -m's words
}

// downloaders are the programs that can, in order of preference, and how each is called.
var downloaders = []struct {
	program string
	args    func(dir, arch string) []string
}{
	{"dnf", func(dir, arch string) []string {
		return []string{"dnf", "-q", "-y", "download", "--forcearch", arch, "--destdir", dir}
	}},
	{"yumdownloader", func(dir, arch string) []string {
		return []string{"yumdownloader", "-q", "--archlist=" + arch, "--destdir=" + dir}
	}},
}

// HaveDNF reports whether this machine has one of them, and rpmkeys to check what they fetch.
func HaveDNF() bool {
	if _, err := exec.LookPath("rpmkeys"); err != nil {
		return false
	}
	for _, d := range downloaders {
		if _, err := exec.LookPath(d.program); err == nil {
			return true
		}
	}
	return false
}

// Headers downloads the package with the headers of each kernel to a folder, which it returns. missing says which kernels
// have none, and the others are there all the same.
func (d *DNF) Headers(ctx context.Context, kernels []kernelmodules.Kernel) (dir string, missing []*NotPackagedError, err error) {
	if dir, err = os.MkdirTemp(d.Dir, "packages"); err != nil {
		return "", nil, err
	}
	for _, k := range kernels {
		name := rpmName(develPackage(k.Release), k)
		err := &NotPackagedError{Kernel: k, Package: name, Host: d.Host, Manager: "dnf"}
		if !validRPM(name) {
			missing = append(missing, err)
			continue
		}
		if got, derr := d.download(ctx, dir, name, k.Machine); derr != nil {
			return "", nil, derr
		} else if !got {
			missing = append(missing, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(globQuote(dir), "*.rpm"))
	if err != nil || len(files) == 0 {
		return "", missing, err
	}
	return dir, missing, d.check(ctx, files)
}

// validRPM keeps what is no package's name from dnf: patterns, options, files.
func validRPM(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~") == ""
}

// develPackage is the name of the package with the headers of a kernel.
func develPackage(release string) string {
	switch {
	case strings.Contains(release, "uek"):
		return "kernel-uek-devel"
	case strings.Contains(release, "+64k"):
		return "kernel-64k-devel"
	case strings.Contains(release, ".rt") || strings.Contains(release, "+rt"):
		return "kernel-rt-devel"
	}
	return "kernel-devel"
}

// download gets one package. These programs end with 0 or 1 when there is none, as it pleases them, so what counts is
// whether a file came.
func (d *DNF) download(ctx context.Context, dir, name, arch string, options ...string) (bool, error) {
	for _, p := range downloaders {
		if _, err := exec.LookPath(p.program); err != nil {
			continue
		}
		_, err := proc.Run(ctx, d.Dir, proc.Environment(d.Dir, proxies()...), slices.Concat(p.args(dir, arch), options, []string{name}))
		if ctx.Err() != nil {
			return false, err
		}
		if found, gerr := filepath.Glob(filepath.Join(globQuote(dir), name+"*.rpm")); gerr == nil && len(found) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// check refuses packages that nobody signed whom this machine's rpm trusts.
func (d *DNF) check(ctx context.Context, files []string) error {
	out, err := proc.Run(ctx, d.Dir, proc.Environment(d.Dir), append([]string{"rpmkeys", "--checksig"}, files...))
	if ctx.Err() != nil {
		return err
	}
	var bad []string
	for _, f := range files {
		good := false
		for line := range strings.Lines(string(out)) {
			verdict, about := strings.CutPrefix(strings.TrimSpace(line), f+": ")
			good = good || about && strings.HasSuffix(verdict, "OK") && !strings.Contains(verdict, "NOT") &&
				(strings.Contains(verdict, "signatures") || strings.Contains(verdict, "pgp") || strings.Contains(verdict, "gpg"))
		}
		if !good {
			bad = append(bad, filepath.Base(f))
		}
	}
	if len(bad) > 0 || err != nil {
		return fmt.Errorf("these packages are not signed by a key that this machine's rpm trusts: %s: %s", strings.Join(bad, ", "), errors.Join(err, errors.New(lastLine(out))))
	}
	return nil
}

// proxies are the variables by which programs find a proxy.
func proxies() (env []string) {
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}
