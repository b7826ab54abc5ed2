package headers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/archive"
)

// Gather gets the headers ready that lie in paths: package files, folders of them, and folders
// with headers. Packages are unpacked below dir, which belongs to the caller; folders are not changed.
// host is the machine that compiles. The trees come by release and machine, each once.
func Gather(ctx context.Context, dir, host string, paths []string) ([]*Tree, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	var trees []*Tree
	var packages []*archive.Package
	var unusable []error
	for _, path := range paths {
		t, p, bad, err := look(path)
		if err != nil {
			return nil, err
		}
		for i := range t {
			if t[i], err = inPlace(t[i], filepath.Join(dir, fmt.Sprintf("folder%d", len(trees)+i))); err != nil {
				return nil, err
			}
		}
		trees, packages, unusable = append(trees, t...), append(packages, p...), append(unusable, bad...)
	}
	t, bad, err := unpackAll(ctx, dir, host, packages)
	if err != nil {
		return nil, err
	}
	trees, unusable = append(trees, t...), append(unusable, bad...)
	if len(trees) == 0 {
		err := fmt.Errorf("%w in %s", ErrNone, strings.Join(paths, ", "))
		return nil, errors.Join(append([]error{err}, unusable...)...)
	}
	byKernel := make(map[kernelmodules.Kernel]*Tree)
	for _, t := range trees {
		if have := byKernel[t.Kernel]; have != nil && have.Symvers.SHA256 != t.Symvers.SHA256 {
			return nil, fmt.Errorf("there are two different headers of %s (%s): %s and %s", t.Kernel.Release, t.Kernel.Machine, have.name(), t.name())
		}
		byKernel[t.Kernel] = t
	}
	return slices.SortedFunc(maps.Values(byKernel), func(a, b *Tree) int {
		return strings.Compare(a.Kernel.Release+"\x00"+a.Kernel.Machine, b.Kernel.Release+"\x00"+b.Kernel.Machine)
	}), nil
}

// name is what a person knows the tree by.
func (t *Tree) name() string {
	if len(t.Inputs) > 0 {
		return t.Inputs[0].Name + " " + t.Inputs[0].Version
	}
	return t.Dir
}

// look says what is at a path.
func look(path string) (trees []*Tree, packages []*archive.Package, unusable []error, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, nil, err
	}
	if !info.IsDir() {
		p, err := archive.OpenPackage(path)
		return nil, []*archive.Package{p}, nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, e := range entries {
		if !archive.IsPackage(e.Name()) || e.IsDir() {
			continue
		}
		p, err := archive.OpenPackage(filepath.Join(path, e.Name()))
		if err != nil {
			return nil, nil, nil, err
		}
		packages = append(packages, p)
	}
	trees, unusable = Find(path)
	for _, t := range trees {
		t.Inputs = []kernelmodules.RecordInput{{Name: t.Dir}}
	}
	if len(trees) == 0 && len(packages) == 0 {
		return nil, nil, nil, errors.Join(append([]error{fmt.Errorf("%s: %w", path, ErrNone)}, unusable...)...)
	}
	return trees, packages, unusable, nil
}

// inPlace returns the tree as kbuild can use it where it lies. A folder into which packages were unpacked names its other
// parts by paths that are somewhere else, so shadow becomes a folder of links to it with another Makefile.
func inPlace(t *Tree, shadow string) (*Tree, error) {
	before, _, below := strings.Cut(t.Dir, "/usr/src/")
	if !below || before == "" {
		return t, nil
	}
	makefile, err := readLimited(filepath.Join(t.Dir, "Makefile"), maxMakefile)
	if err != nil {
		return nil, err
	}
	out := relocate(makefile, before)
	if string(out) == string(makefile) {
		return t, nil
	}
	if err := os.Mkdir(shadow, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(t.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name() == "Makefile" {
			continue
		}
		if err := os.Symlink(filepath.Join(t.Dir, e.Name()), filepath.Join(shadow, e.Name())); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(shadow, "Makefile"), out, 0o600); err != nil {
		return nil, err
	}
	s := *t
	s.Dir = shadow
	return &s, nil
}

// headerFiles are those of a package that kbuild can need.
func headerFiles(name string) bool {
	return strings.HasPrefix(name, "usr/src/") || strings.HasPrefix(name, "usr/lib/linux-") ||
		strings.HasPrefix(name, "lib/modules/") || strings.HasPrefix(name, "usr/lib/modules/")
}

// hostPart reports whether a package holds programs for the machine that compiles, and not for the
// kernel.
func hostPart(p *archive.Package) bool { return strings.HasPrefix(p.Name, "linux-kbuild") }

// unpackAll unpacks packages into one root per machine, and finds the trees there. Packages for any machine
// go into each; programs for the compiling machine, too.
func unpackAll(ctx context.Context, dir, host string, packages []*archive.Package) (trees []*Tree, unusable []error, err error) {
	roots := make(map[string][]*archive.Package)
	seen := make(map[string]bool)
	var everywhere []*archive.Package
	for _, p := range packages {
		switch {
		case seen[p.SHA256]:
		case p.Machine() == "", hostPart(p) && p.Machine() == host:
			everywhere = append(everywhere, p)
		case hostPart(p):
			// Needless if that of the host is there; else its lack is told below.
		default:
			roots[p.Machine()] = append(roots[p.Machine()], p)
		}
		seen[p.SHA256] = true
	}
	group, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	for machine, own := range roots {
		group.Go(func() error {
			t, bad, err := unpackRoot(ctx, filepath.Join(dir, machine), host, slices.Concat(own, everywhere))
			mu.Lock()
			defer mu.Unlock()
			trees, unusable = append(trees, t...), append(unusable, bad...)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	if len(packages) > 0 && len(roots) == 0 {
		unusable = append(unusable, errors.New("the packages given hold no headers of a particular kernel: name those with its release in their name, too"))
	}
	return trees, unusable, nil
}

func unpackRoot(ctx context.Context, root, host string, packages []*archive.Package) ([]*Tree, []error, error) {
	if err := os.Mkdir(root, 0o700); err != nil {
		return nil, nil, err
	}
	u, err := archive.NewUnpacker(root)
	if err != nil {
		return nil, nil, err
	}
	defer u.Close()
	for _, p := range packages {
		if err := p.Unpack(ctx, u, headerFiles); err != nil {
			return nil, nil, err
		}
	}
	if err := u.Finish(); err != nil {
		return nil, nil, err
	}
	trees, unusable := Find(root)
	for _, t := range trees {
		if err := localize(t.Dir, root); err != nil {
			return nil, nil, err
		}
		rel, err := filepath.Rel(root, filepath.Join(t.Dir, "Module.symvers"))
		if err != nil {
			return nil, nil, err
		}
		if err := t.addInputs(u.From(filepath.ToSlash(rel)), host, packages); err != nil {
			return nil, nil, err
		}
	}
	return trees, unusable, nil
}

// partOfHeaders are the packages among the dependencies of headers that hold more of them.
var partOfHeaders = regexp.MustCompile(`^linux-(kbuild-|.*headers-)`)

// addInputs records the packages of t: that from the file main, and those that it depends on.
func (t *Tree) addInputs(main, host string, packages []*archive.Package) error {
	byName := make(map[string][]*archive.Package)
	var todo []*archive.Package
	for _, p := range packages {
		byName[p.Name] = append(byName[p.Name], p)
		if p.Path == main {
			todo = append(todo, p)
		}
	}
	done := make(map[*archive.Package]bool)
	for len(todo) > 0 {
		p := todo[0]
		todo = todo[1:]
		if done[p] {
			continue
		}
		done[p] = true
		t.Inputs = append(t.Inputs, p.Input())
		for _, name := range p.Depends {
			if !partOfHeaders.MatchString(name) {
				continue
			}
			if len(byName[name]) == 0 {
				return &MissingError{Package: p.Name, Wants: name, Host: host}
			}
			todo = append(todo, byName[name]...)
		}
		if p.RPM { // SUSE's kernel-default-devel goes on in kernel-devel, which is for any machine
			for _, other := range packages {
				if other.RPM && other.Machine() == "" {
					todo = append(todo, other)
				}
			}
		}
	}
	return nil
}

// A MissingError is about headers that come in several packages, of which one was not given.
type MissingError struct {
	Package, Wants string
	Host           string // the machine that compiles
}

func (e *MissingError) Error() string {
	s := fmt.Sprintf("%s is not whole without %s, which was not given", e.Package, e.Wants)
	if strings.HasPrefix(e.Wants, "linux-kbuild") {
		s += fmt.Sprintf(": it holds programs for the machine that compiles, so it must be that for %s, whatever the kernel is for", debArch(e.Host))
	}
	return s
}

// debArch is Debian's word for a machine.
func debArch(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return machine
}
