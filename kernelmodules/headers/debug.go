package headers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/internal/proc"
)

// A DebugPackage is a package, not downloaded yet, with a kernel's vmlinux and its debug information.
type DebugPackage struct {
	Kernel  kernelmodules.Kernel
	Name    string // as Manager names it
	Version string // empty: unknown
	Manager string // apt, dnf
	// Download and Unpacked are bytes: of the package, and of all that it holds. 0: unknown.
	Download, Unpacked int64

	get func(ctx context.Context) (file string, err error)
}

// Get downloads it to the private folder of its manager, which checks its signature, and returns the file.
func (p *DebugPackage) Get(ctx context.Context) (file string, err error) { return p.get(ctx) }

// A NoDebugError is about a kernel whose debug information the package manager does not have.
type NoDebugError struct {
	Kernel  kernelmodules.Kernel
	Tried   []string // packages
	Manager string   // apt, dnf; empty: this machine has neither
}

func (e *NoDebugError) Error() string {
	if e.Manager == "" {
		return fmt.Sprintf("debug information of %s (%s): this machine has neither apt nor dnf", e.Kernel.Release, e.Kernel.Machine)
	}
	return fmt.Sprintf("debug information of %s (%s): %s has no package %s", e.Kernel.Release, e.Kernel.Machine, e.Manager, strings.Join(e.Tried, " or "))
}

// Hint says where else it is.
func (e *NoDebugError) Hint() string { return DebugAdvice(e.Kernel) }

// debugSources say where distributions have their kernels' debug information.
var debugSources = []struct {
	release *regexp.Regexp
	advice  string
}{
	{regexp.MustCompile(`\.amzn\d+\.`), "Amazon Linux: on such an instance, dnf download --enablerepo='*debug*' %[2]s"},
	{regexp.MustCompile(`\.el\d+`), "RHEL or a rebuild: there, with its debug repository (RHEL: subscription-manager repos --enable '*-debug-rpms'), dnf download --enablerepo='*debug*' %[2]s; older ones are in the vault of the rebuild, or the customer portal"},
	{regexp.MustCompile(`\.fc\d+`), "Fedora: there, dnf download --enablerepo='*debug*' %[2]s; older ones are on koji.fedoraproject.org"},
	{regexp.MustCompile(`^\d+\.\d+\.\d+-\d+-(aws|azure|gcp|oracle|kvm|generic|lowlatency)`), "Ubuntu: linux-image-unsigned-%[1]s-dbgsym is in the archive ddebs.ubuntu.com, whose key is in the package ubuntu-dbgsym-keyring; elsewhere with --apt-sources FILE"},
	{regexp.MustCompile(`^\d+\.\d+\.\S*-(amd64|arm64)`), "Debian: linux-image-%[1]s-dbg; of kernels that left the archive it is in Debian's snapshot archive, under linux"},
}

// DebugAdvice says which package holds the debug information of a kernel, as far as its release tells.
func DebugAdvice(k kernelmodules.Kernel) string {
	for _, s := range debugSources {
		if s.release.MatchString(k.Release) {
			return fmt.Sprintf(s.advice, k.Release, rpmName(debugRPM(k.Release), k)) + ". Then: shotglass symbols --vmlinux FILE, the package as it is"
		}
	}
	return "get the vmlinux with debug information of exactly this kernel from its distribution, or from who compiled it. Then: shotglass symbols --vmlinux FILE"
}

// debugRPM is the name of the package with the debug information of a kernel.
func debugRPM(release string) string {
	return strings.TrimSuffix(develPackage(release), "-devel") + "-debuginfo"
}

// IsVmlinux reports whether a file of a package with debug information is the vmlinux of a kernel; of any, if
// release is empty.
func IsVmlinux(name, release string) bool {
	m := vmlinuxPath.FindStringSubmatch(name)
	return m != nil && (release == "" || cmp.Or(m[1], m[2]) == release)
}

var vmlinuxPath = regexp.MustCompile(`^usr/lib/debug/(?:boot/vmlinux-([^/]+)|(?:usr/)?lib/modules/([^/]+)/vmlinux)$`)

// Debug finds the package with a kernel's debug information: Debian's, or Ubuntu's where its sources have it.
func (a *APT) Debug(ctx context.Context, k kernelmodules.Kernel) (*DebugPackage, error) {
	if err := a.update(ctx); err != nil {
		return nil, err
	}
	missing := &NoDebugError{Kernel: k, Manager: "apt"}
	for _, name := range []string{"linux-image-" + k.Release + "-dbg", "linux-image-unsigned-" + k.Release + "-dbgsym", "linux-image-" + k.Release + "-dbgsym"} {
		missing.Tried = append(missing.Tried, name)
		if !validPackage(name) {
			continue
		}
		full, c, err := a.show(ctx, name, debArch(k.Machine))
		var no *NotPackagedError
		if errors.As(err, &no) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p := &DebugPackage{Kernel: k, Name: full, Version: c["Version"], Manager: "apt"}
		p.Download, _ = strconv.ParseInt(c["Size"], 10, 64) // 0 if it does not say
		p.Unpacked, _ = strconv.ParseInt(c["Installed-Size"], 10, 53)
		p.Unpacked *= 1024
		p.get = func(ctx context.Context) (string, error) {
			dir, err := a.download(ctx, []string{full})
			if err != nil {
				return "", err
			}
			return oneFile(dir, "*.*deb") // Ubuntu's are .ddeb
		}
		return p, nil
	}
	return nil, missing
}

// oneFile is the only file of a folder that matches.
func oneFile(dir, pattern string) (string, error) {
	files, err := filepath.Glob(filepath.Join(globQuote(dir), pattern))
	if err != nil || len(files) != 1 {
		return "", errors.Join(fmt.Errorf("the download left %d packages in place of one", len(files)), err)
	}
	return files[0], nil
}

// Debug finds the package with a kernel's debug information in the repositories of this machine, and in those for
// debug information, which are mostly off.
func (d *DNF) Debug(ctx context.Context, k kernelmodules.Kernel) (*DebugPackage, error) {
	name := rpmName(debugRPM(k.Release), k)
	missing := &NoDebugError{Kernel: k, Tried: []string{name}, Manager: "dnf"}
	if !validRPM(name) {
		return nil, missing
	}
	p := &DebugPackage{Kernel: k, Name: name, Manager: "dnf"}
	// Of yum there is none; then whether there is such a package shows at the download.
	out, err := proc.Run(ctx, d.Dir, proc.Environment(d.Dir, proxies()...), []string{
		"dnf", "-q", "repoquery", "--enablerepo=*debug*", "--forcearch", k.Machine, "--qf", "found %{downloadsize} %{installsize} %{version}-%{release}\n", name,
	})
	if ctx.Err() != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] == "found" {
			p.Download, _ = strconv.ParseInt(f[1], 10, 64)
			p.Unpacked, _ = strconv.ParseInt(f[2], 10, 64)
			p.Version = f[3]
		}
	}
	if err == nil && p.Version == "" {
		return nil, missing
	}
	p.get = func(ctx context.Context) (string, error) {
		dir, err := os.MkdirTemp(d.Dir, "packages")
		if err != nil {
			return "", err
		}
		if got, err := d.download(ctx, dir, name, k.Machine, "--enablerepo=*debug*"); err != nil {
			return "", err
		} else if !got {
			return "", missing
		}
		file, err := oneFile(dir, "*.rpm")
		if err != nil {
			return "", err
		}
		return file, d.check(ctx, []string{file})
	}
	return p, nil
}
