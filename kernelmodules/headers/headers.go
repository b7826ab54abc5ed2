// Package headers gets the headers of kernels ready for kbuild: from folders, from the packages of
// distributions, or through the package manager of this machine.
//
// Headers are programs: make runs what their Makefiles say, and some bring compiled helpers.
// Unpacking is safe with any bytes; compiling against them trusts who made them.
package headers

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// A Tree is the headers of one kernel.
type Tree struct {
	Dir     string // for make -C
	Kernel  kernelmodules.Kernel
	Symvers *kernelmodules.Symvers
	Config  Config
	Inputs  []kernelmodules.RecordInput // what it was made of
}

// ErrNone is wrapped by errors about a place that holds no headers.
var ErrNone = errors.New("no kernel headers")

var utsRelease = regexp.MustCompile(`(?m)^#define UTS_RELEASE "([^"\n]{1,64})"`)

// releaseFile says which kernel a tree is for; every tree has it that kbuild can use.
const releaseFile = "include/generated/utsrelease.h"

// What is read of a tree, in bytes. The release takes 100, the kernel's own Makefile 80,000.
const (
	maxRelease  = 64 << 10
	maxMakefile = 4 << 20
)

// Open reads the tree in dir.
func Open(dir string) (*Tree, error) {
	b, err := readLimited(filepath.Join(dir, releaseFile), maxRelease)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it lacks %s", dir, ErrNone, releaseFile)
	}
	if err != nil {
		return nil, err
	}
	match := utsRelease.FindSubmatch(b)
	if match == nil {
		return nil, fmt.Errorf("%s: %s names no release", dir, releaseFile)
	}
	t := &Tree{Dir: dir, Kernel: kernelmodules.Kernel{Release: string(match[1])}}
	if _, err := os.Stat(filepath.Join(dir, "Makefile")); err != nil {
		return nil, fmt.Errorf("headers of %s: no Makefile: %w", t.Kernel.Release, err)
	}
	if t.Config, err = readConfig(dir); err != nil {
		return nil, fmt.Errorf("headers of %s: %w", t.Kernel.Release, err)
	}
	switch {
	case t.Config.Has("X86_64"):
		t.Kernel.Machine = "x86_64"
	case t.Config.Has("ARM64"):
		t.Kernel.Machine = "aarch64"
	default:
		return nil, fmt.Errorf("headers of %s are neither for x86-64 nor for arm64", t.Kernel.Release)
	}
	b, err = readLimited(filepath.Join(dir, "Module.symvers"), kernelmodules.MaxSymvers)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("headers of %s: Module.symvers is missing, so a module could not be checked (is it in another package?)", t.Kernel.Release)
	}
	if err != nil {
		return nil, err
	}
	if t.Symvers, err = kernelmodules.ParseSymvers(b); err != nil {
		return nil, fmt.Errorf("headers of %s: %w", t.Kernel.Release, err)
	}
	return t, nil
}

// places are where trees lie below a folder: the root of a system, /lib/modules/RELEASE, /usr/src,
// or the tree itself.
var places = []string{
	".", "build", "*", "*/build",
	"usr/src/*", "usr/src/kernels/*", "usr/src/linux-*-obj/*/*", "linux-*-obj/*/*", "kernels/*", "usr/lib/modules/*/build", "lib/modules/*/build",
}

// Find returns the trees in dir, and why others that are there cannot be used. Each tree is there
// once, whatever links lead to it.
func Find(dir string) (trees []*Tree, unusable []error) {
	seen := make(map[string]bool)
	for _, place := range places {
		found, _ := filepath.Glob(filepath.Join(globQuote(dir), place, releaseFile))
		for _, f := range found {
			d, err := filepath.EvalSymlinks(strings.TrimSuffix(f, "/"+releaseFile))
			if err != nil || seen[d] {
				continue
			}
			seen[d] = true
			t, err := Open(d)
			if err != nil {
				unusable = append(unusable, err)
				continue
			}
			trees = append(trees, t)
		}
	}
	slices.SortFunc(trees, func(a, b *Tree) int { return strings.Compare(a.Dir, b.Dir) })
	return trees, unusable
}

// globQuote escapes what means something in a pattern.
func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// absolute finds the paths by which the Makefiles of some distributions name other parts of their
// headers.
var absolute = regexp.MustCompile(`/usr/(?:src|lib)/[^\s:;"'$()]+`)

// localize makes the Makefile of a tree below root name the parts that lie there too. Only the tree's own
// Makefile does so, in the distributions that were looked at. Both paths are free of links; a tree elsewhere, to which
// a link led, is refused, and so is a Makefile that leads elsewhere.
func localize(tree, root string) error {
	rel, err := filepath.Rel(root, tree)
	if err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("the headers in %s lie outside of %s, into which they were unpacked", tree, root)
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer r.Close()
	name := filepath.Join(rel, "Makefile")
	f, err := r.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := readAtMost(f, maxMakefile)
	if err != nil {
		return err
	}
	out := relocate(data, root)
	if bytes.Equal(out, data) {
		return nil
	}
	return r.WriteFile(name, out, 0o644)
}

// relocate puts root before each absolute path that exists below it.
func relocate(makefile []byte, root string) []byte {
	return absolute.ReplaceAllFunc(makefile, func(p []byte) []byte {
		local := filepath.Join(root, string(p))
		if _, err := os.Stat(local); err != nil {
			return p
		}
		return []byte(local)
	})
}
