// Package build compiles LiME for kernels, on a machine that is not the target, from headers that
// package headers got ready. What it returns has been checked against those headers.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
	"github.com/shotglass-ir/shotglass/kernelmodules/internal/proc"
)

// Options are how modules are built.
type Options struct {
	Source *Source
	// Dir is a private folder; every kernel gets one of its own below. It belongs to the caller, who removes it.
	Dir string
	// Host is this machine, in uname -m's words; empty: what this program was compiled for.
	Host string
	// Compiler is the compiler to use in place of the one that is found, by the kernel's machine.
	Compiler map[string]string
	// Signer signs modules for the kernel; nil leaves them unsigned.
	Signer *Signer
	// Tool is this program and its version, for the record.
	Tool string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// HostMachine is the machine that this program was compiled for, in uname -m's words.
func HostMachine() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return runtime.GOARCH
}

// A Result is a module that was built, and how.
type Result struct {
	Module  *kernelmodules.Module
	Record  *kernelmodules.Record
	Warning string // what the user should know; empty: nothing
}

// Build compiles LiME for one kernel. It is safe for concurrent use on different trees. Ended by ctx it leaves
// nothing running, and files only below Options.Dir.
func Build(ctx context.Context, t *headers.Tree, o Options) (*Result, error) {
	r, err := build(ctx, t, o)
	if err != nil {
		return nil, fmt.Errorf("build LiME for %s (%s): %w", t.Kernel.Release, t.Kernel.Machine, err)
	}
	return r, nil
}

func build(ctx context.Context, t *headers.Tree, o Options) (*Result, error) {
	if o.Host == "" {
		o.Host = HostMachine()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := t.CheckTools(o.Host); err != nil {
		return nil, err
	}
	// make knows no way to write such a path.
	if strings.ContainsAny(o.Dir+t.Dir, " \t\n:#$%\\\"'") {
		return nil, fmt.Errorf("make cannot work in %q and %q: give it a path without spaces and signs (TMPDIR)", o.Dir, t.Dir)
	}
	dir, err := os.MkdirTemp(o.Dir, "module")
	if err != nil {
		return nil, err
	}
	tc, err := findToolchain(ctx, t, o.Host, dir, o.Compiler[t.Kernel.Machine])
	if err != nil {
		return nil, err
	}
	src := filepath.Join(dir, "lime")
	if err := o.Source.write(src); err != nil {
		return nil, err
	}
	commands, err := compile(ctx, t, tc, dir, src)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(src, "lime.ko"))
	if err != nil {
		return nil, err
	}
	m, err := kernelmodules.Parse(data, "lime-"+t.Kernel.Release+".ko")
	if err != nil {
		return nil, err
	}
	if err := Check(m, t); err != nil {
		return nil, err
	}
	var signature *kernelmodules.RecordSignature
	if o.Signer != nil {
		if m, signature, err = o.Signer.Sign(m); err != nil {
			return nil, err
		}
	}
	imports, err := m.Imports()
	if err != nil {
		return nil, err
	}
	r := &Result{Module: m, Record: &kernelmodules.Record{
		How: kernelmodules.RecordBuilt, Tool: o.Tool, Time: o.Now().UTC(),
		Release: t.Kernel.Release, Machine: t.Kernel.Machine, Vermagic: m.Vermagic, SHA256: m.SHA256, Size: m.Size,
		Imports: len(imports), Symvers: t.Symvers.SHA256, Headers: t.Inputs, LiME: &o.Source.Input,
		Compiler: tc.version, KernelCompiler: t.Config.Compiler(), Commands: anonymous(commands, o.Dir), Environment: fixedEnvironment, Signature: signature,
	}}
	if tc.differs() {
		r.Warning = fmt.Sprintf("the kernel %s was compiled with %q, the module with %q: it passed every check, but the same major version is safer",
			t.Kernel.Release, t.Config.Compiler(), tc.version)
	}
	return r, nil
}

// compile runs make and strip, and returns the commands.
func compile(ctx context.Context, t *headers.Tree, tc *toolchain, dir, src string) ([][]string, error) {
	ko := filepath.Join(src, "lime.ko")
	argv := append([]string{"make", "-C", t.Dir, "M=" + src}, tc.makeArgs(t.Kernel.Machine)...)
	// Type information (BTF) would want pahole, and debug information; LiME needs none.
	argv = append(argv, "KCFLAGS="+tc.flags(dir), "CONFIG_DEBUG_INFO_BTF_MODULES=", fmt.Sprintf("-j%d", runtime.NumCPU()), "modules")
	commands := [][]string{argv, {tc.strip, "--strip-unneeded", ko}}
	if out, err := proc.Run(ctx, src, environment(dir), argv); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, &CompileError{Kernel: t.Kernel, Err: err, Messages: messages(out, filepath.Dir(dir)), Advice: explain(out, t, tc)}
	}
	if _, err := os.Stat(ko); err != nil {
		return nil, fmt.Errorf("make ended without an error, and without lime.ko: is the source LiME's? %w", err)
	}
	if out, err := proc.Run(ctx, src, environment(dir), commands[1]); err != nil {
		return nil, fmt.Errorf("%s: %w: %.500q", tc.strip, err, out)
	}
	return commands, nil
}

// anonymous replaces the temporary folder in commands by BUILD.
func anonymous(commands [][]string, dir string) [][]string {
	for _, argv := range commands {
		for i := range argv {
			argv[i] = strings.ReplaceAll(argv[i], dir, "BUILD")
		}
	}
	return commands
}

// Check holds a module against the headers of a kernel: name, machine, release, parameters, vermagic, and
// the CRC of every symbol. It returns a *kernelmodules.MismatchError.
func Check(m *kernelmodules.Module, t *headers.Tree) error {
	var reasons []string
	for _, err := range []error{m.Check(t.Kernel), m.CheckImports(t.Symvers)} {
		var mismatch *kernelmodules.MismatchError
		switch {
		case errors.As(err, &mismatch):
			reasons = append(reasons, mismatch.Reasons...)
		case err != nil:
			return err
		}
	}
	if problem := t.Config.VermagicProblem(m.Vermagic); problem != "" {
		reasons = append(reasons, problem)
	}
	if reasons == nil {
		return nil
	}
	return &kernelmodules.MismatchError{Origin: m.Origin, Kernel: t.Kernel, Reasons: reasons}
}
