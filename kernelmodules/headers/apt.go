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
	"github.com/shotglass-ir/shotglass/kernelmodules/archive"
	"github.com/shotglass-ir/shotglass/kernelmodules/internal/proc"
)

// APT gets packages with this machine's apt: its sources, its keys, its checks of signatures, which cannot be
// turned off but in a source ([trusted=yes]). The lists and the packages go to a private folder; nothing is
// installed, and no root is needed. Hooks that the machine's configuration runs after apt-get update run here, too.
type APT struct {
	Dir     string // private, and there
	Host    string // this machine, in uname -m's words
	Sources string // a file in place of the machine's sources; empty: those
	options []string
	ready   bool
}

// HaveAPT reports whether this machine has apt.
func HaveAPT() bool {
	_, err := exec.LookPath("apt-get")
	return err == nil
}

// A NotPackagedError is about a kernel whose headers the package manager does not have.
type NotPackagedError struct {
	Kernel  kernelmodules.Kernel
	Package string
	Manager string // apt, dnf
	Host    string // this machine
}

func (e *NotPackagedError) Error() string {
	return fmt.Sprintf("headers of %s (%s): %s has no package %s", e.Kernel.Release, e.Kernel.Machine, e.Manager, e.Package)
}

// Hint says where else the headers are.
func (e *NotPackagedError) Hint() string { return Advice(e.Kernel, e.Host) }

// Headers downloads the packages with the headers of kernels to a folder, which it returns. missing says which kernels
// have none, and the others are there all the same.
func (a *APT) Headers(ctx context.Context, kernels []kernelmodules.Kernel) (dir string, missing []*NotPackagedError, err error) {
	if err := a.update(ctx); err != nil {
		return "", nil, err
	}
	var names []string
	for _, k := range kernels {
		more, err := a.closure(ctx, "linux-headers-"+k.Release, debArch(k.Machine))
		var no *NotPackagedError
		switch {
		case errors.As(err, &no):
			no.Kernel, no.Host, no.Manager = k, a.Host, "apt"
			missing = append(missing, no)
		case err != nil:
			return "", nil, err
		}
		for _, name := range more {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return "", missing, nil
	}
	dir, err = a.download(ctx, names)
	return dir, missing, err
}

// Package downloads one package for any machine, and returns its file.
func (a *APT) Package(ctx context.Context, name string) (string, error) {
	if err := a.update(ctx); err != nil {
		return "", err
	}
	dir, err := a.download(ctx, []string{name})
	if err != nil {
		return "", err
	}
	return oneFile(dir, "*.deb")
}

// validPackage keeps what is no package's name from apt: options, versions, files.
func validPackage(name string) bool {
	return len(name) > 1 && len(name) < 128 && name[0] >= 'a' && name[0] <= 'z' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// closure returns the packages that make the headers whole, as apt names them. Programs that kbuild runs are those
// for this machine, whatever the kernel is for: linux-kbuild is Multi-Arch: foreign for that.
func (a *APT) closure(ctx context.Context, main, arch string) ([]string, error) {
	var names []string
	seen := make(map[string]bool)
	for todo := []string{main}; len(todo) > 0; todo = todo[1:] {
		name := todo[0]
		if seen[name] {
			continue
		}
		seen[name] = true
		if !validPackage(name) {
			return nil, &NotPackagedError{Package: name}
		}
		full, c, err := a.show(ctx, name, arch)
		if err != nil {
			return nil, err
		}
		names = append(names, full)
		for _, d := range archive.Dependencies(c["Depends"]) {
			if partOfHeaders.MatchString(d) {
				todo = append(todo, d)
			}
		}
	}
	return names, nil
}

// show returns what apt knows of a package for a machine, or for any, and how apt names it.
func (a *APT) show(ctx context.Context, name, arch string) (full string, control map[string]string, err error) {
	if strings.HasPrefix(name, "linux-kbuild") {
		arch = debArch(a.Host)
	}
	var out []byte
	// Packages for any machine count as this machine's.
	for _, full := range []string{name + ":" + arch, name} {
		out, err = a.run(ctx, a.Dir, "apt-cache", "show", "--no-all-versions", full)
		if ctx.Err() != nil {
			return "", nil, err
		}
		c := archive.ParseControl(out)
		if err == nil && c["Package"] == name && (c["Architecture"] == arch || c["Architecture"] == "all") {
			return full, c, nil
		}
	}
	return "", nil, &NotPackagedError{Package: name + ":" + arch}
}

// update reads the lists of packages, once.
func (a *APT) update(ctx context.Context) error {
	if a.ready {
		return nil
	}
	if err := a.configure(); err != nil {
		return err
	}
	out, err := a.run(ctx, a.Dir, "apt-get", "-q", "update")
	if err != nil && ctx.Err() != nil {
		return err
	}
	// One of many sources may be away; whether what is wanted is in the others shows later. A list whose
	// signature is wrong is not taken.
	lists, globErr := filepath.Glob(filepath.Join(globQuote(a.Dir), "state", "lists", "*_Packages*"))
	if globErr != nil || len(lists) == 0 {
		return fmt.Errorf("apt-get update got no list of packages: %w: %s", errors.Join(err, globErr), strings.Join(complaints(out), "; "))
	}
	a.ready = true
	return nil
}

// configure makes the options that keep apt in its folder, make it check signatures, and name both machines.
func (a *APT) configure() error {
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "log"} {
		if err := os.MkdirAll(filepath.Join(a.Dir, d), 0o700); err != nil {
			return err
		}
	}
	others := slices.DeleteFunc([]string{"amd64", "arm64"}, func(arch string) bool { return arch == debArch(a.Host) })
	options := []string{
		"Dir::State=" + a.Dir + "/state",
		"Dir::State::lists=" + a.Dir + "/state/lists/",
		"Dir::State::status=/dev/null",
		"Dir::Cache=" + a.Dir + "/cache",
		"Dir::Cache::archives=" + a.Dir + "/cache/archives/",
		"Dir::Cache::pkgcache=" + a.Dir + "/cache/pkgcache.bin",
		"Dir::Cache::srcpkgcache=" + a.Dir + "/cache/srcpkgcache.bin",
		"Dir::Log=" + a.Dir + "/log",
		"APT::Architecture=" + debArch(a.Host),
		"APT::Architectures=" + strings.Join(append([]string{debArch(a.Host)}, others...), ","),
		// As root apt would download as another user, who cannot read a private folder.
		"APT::Sandbox::User=root",
		"Acquire::Languages=none",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
		"Acquire::Retries=2",
		"Acquire::AllowInsecureRepositories=false",
		"Acquire::AllowWeakRepositories=false",
		"Acquire::AllowDowngradeToInsecureRepositories=false",
		"APT::Get::AllowUnauthenticated=false",
	}
	if a.Sources != "" {
		sources, err := filepath.Abs(a.Sources)
		if err != nil {
			return err
		}
		if _, err := os.Stat(sources); err != nil {
			return err
		}
		options = append(options, "Dir::Etc::sourcelist="+sources, "Dir::Etc::sourceparts=/dev/null")
	}
	if strings.ContainsAny(a.Dir+a.Sources, "\"\n\\") {
		return fmt.Errorf("apt cannot work in %q with %q: give it paths without quotes", a.Dir, a.Sources)
	}
	a.options = nil
	for _, o := range options {
		a.options = append(a.options, "-o", o)
	}
	return nil
}

// download downloads packages to a new folder.
func (a *APT) download(ctx context.Context, names []string) (string, error) {
	dir, err := os.MkdirTemp(a.Dir, "packages")
	if err != nil {
		return "", err
	}
	out, err := a.run(ctx, dir, "apt-get", append([]string{"-q", "download", "--"}, names...)...)
	if err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "", fmt.Errorf("apt-get download %s: %w: %s", strings.Join(names, " "), err, strings.Join(complaints(out), "; "))
	}
	return dir, nil
}

// run runs one of apt's programs with our options. They are in its command line, since that outweighs the machine's
// configuration; a file that APT_CONFIG names does not.
func (a *APT) run(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	argv := slices.Concat([]string{program}, a.options, args)
	return proc.Run(ctx, dir, proc.Environment(a.Dir, proxies()...), argv)
}

// complaints are the lines in which apt complains, or else its last one.
func complaints(out []byte) (lines []string) {
	for l := range strings.Lines(string(out)) {
		if strings.HasPrefix(l, "E: ") || strings.HasPrefix(l, "W: ") || strings.HasPrefix(l, "Err:") {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	if lines == nil {
		return []string{lastLine(out)}
	}
	return lines[:min(len(lines), 5)]
}

func lastLine(out []byte) string {
	s := strings.TrimSpace(string(out))
	return s[strings.LastIndexByte(s, '\n')+1:]
}
