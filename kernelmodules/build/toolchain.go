package build

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
	"github.com/shotglass-ir/shotglass/kernelmodules/internal/proc"
)

// A toolchain compiles for one kernel.
type toolchain struct {
	cc      string // the compiler
	prefix  string // CROSS_COMPILE; empty for the machine's own
	strip   string
	version string // the first line of cc --version
	major   int    // 0: not known
	clang   bool
	want    int // the kernel's compiler's major version; 0: not known
}

// triplets are how GNU names the machines, in cross compilers.
var triplets = map[string]string{"x86_64": "x86_64-linux-gnu-", "aarch64": "aarch64-linux-gnu-"}

// arches are how kbuild names the machines.
var arches = map[string]string{"x86_64": "x86_64", "aarch64": "arm64"}

// A CompilerError is about a machine that lacks the compiler for a kernel.
type CompilerError struct {
	Machine  string   // of the kernel
	Tried    []string // programs
	Compiler string   // the kernel's, in its own words; empty: not known
}

func (e *CompilerError) Error() string {
	s := fmt.Sprintf("no compiler for %s here: %s", e.Machine, strings.Join(e.Tried, ", "))
	if e.Compiler != "" {
		s += fmt.Sprintf(" (the kernel was compiled with %q)", e.Compiler)
	}
	return s
}

// Hint says where a compiler comes from.
func (e *CompilerError) Hint() string {
	name := e.Tried[0]
	if i := strings.LastIndex(name, "gcc"); i > 0 {
		return fmt.Sprintf("on Debian and Ubuntu: apt-get install gcc-%s; elsewhere name one with --compiler %s=PROGRAM", strings.ReplaceAll(strings.TrimSuffix(name[:i], "-"), "_", "-"), e.Machine)
	}
	return fmt.Sprintf("install %s, or name another with --compiler %s=PROGRAM", name, e.Machine)
}

// findToolchain looks for the compiler that a tree's kernel was built with, or else for another of its
// kind. given is the user's choice.
func findToolchain(ctx context.Context, t *headers.Tree, host, dir, given string) (*toolchain, error) {
	tc := &toolchain{clang: t.Config.Has("CC_IS_CLANG")}
	if t.Kernel.Machine != host {
		tc.prefix = triplets[t.Kernel.Machine]
	}
	kind, option := "gcc", "GCC_VERSION"
	if tc.clang {
		kind, option = "clang", "CLANG_VERSION"
	}
	if v, err := strconv.Atoi(t.Config[option]); err == nil {
		tc.want = v / 10000
	}
	var names []string
	switch prefix := tc.prefix; {
	case given != "":
		names = []string{given}
	default:
		if tc.clang {
			prefix = "" // clang compiles for any machine
		}
		if tc.want > 0 {
			names = append(names, fmt.Sprintf("%s%s-%d", prefix, kind, tc.want))
		}
		names = append(names, prefix+kind)
	}
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if tc.cc, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		break
	}
	if tc.cc == "" {
		return nil, &CompilerError{Machine: t.Kernel.Machine, Tried: names, Compiler: t.Config.Compiler()}
	}
	if given != "" && !tc.clang {
		// /usr/bin/aarch64-linux-gnu-gcc-12 comes with /usr/bin/aarch64-linux-gnu-strip.
		if i := strings.LastIndex(filepath.Base(tc.cc), "gcc"); i > 0 {
			tc.prefix = strings.TrimSuffix(tc.cc, filepath.Base(tc.cc)) + filepath.Base(tc.cc)[:i]
		}
	}
	strip := tc.prefix + "strip"
	if tc.clang {
		strip = "llvm-strip"
	}
	var err error
	if tc.strip, err = exec.LookPath(strip); err != nil {
		return nil, fmt.Errorf("%s is missing: %w", strip, err)
	}
	return tc, tc.ask(ctx, dir)
}

var versionNumber = regexp.MustCompile(`\b(\d+)\.\d+\.\d+`)

// ask asks the compiler for its version.
func (tc *toolchain) ask(ctx context.Context, dir string) error {
	out, err := proc.Run(ctx, dir, environment(dir), []string{tc.cc, "--version"})
	if err != nil {
		return fmt.Errorf("%s --version: %w: %.200q", tc.cc, err, out)
	}
	tc.version, _, _ = strings.Cut(string(out), "\n")
	if tc.version == "" {
		return errors.New(tc.cc + " --version prints nothing")
	}
	// The distribution's name can hold numbers, too: "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0".
	if m := versionNumber.FindAllStringSubmatch(tc.version, -1); m != nil {
		tc.major, _ = strconv.Atoi(m[len(m)-1][1])
	}
	return nil
}

// differs reports whether the kernel was certainly built with another version.
func (tc *toolchain) differs() bool { return tc.want > 0 && tc.major > 0 && tc.want != tc.major }

// makeArgs are the arguments of make that choose the tools.
func (tc *toolchain) makeArgs(machine string) []string {
	args := []string{"ARCH=" + arches[machine], "CC=" + tc.cc}
	if tc.prefix != "" {
		args = append(args, "CROSS_COMPILE="+tc.prefix)
	}
	if tc.clang {
		args = append(args, "LLVM=1")
	}
	return args
}

// fixedEnvironment makes the result depend on nothing but what it is made of.
var fixedEnvironment = []string{
	"TZ=UTC", "SOURCE_DATE_EPOCH=0",
	"KBUILD_BUILD_USER=shotglass", "KBUILD_BUILD_HOST=shotglass", "KBUILD_BUILD_TIMESTAMP=1970-01-01",
}

func environment(dir string) []string { return proc.Environment(dir, fixedEnvironment...) }

// flags are the compiler's flags that make the same input give the same module, wherever it is compiled: no
// debug information, which is stripped anyway, but changes the build id; and paths without the folder.
func (tc *toolchain) flags(dir string) string {
	flags := "-g0"
	if tc.major >= 8 {
		flags += " -ffile-prefix-map=" + dir + "/="
	}
	return flags
}
