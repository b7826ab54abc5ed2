package build

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
)

// A CompileError is about a build that failed.
type CompileError struct {
	Kernel   kernelmodules.Kernel
	Err      error    // of make
	Messages []string // of the compiler: its errors, or else the last lines
	Advice   string   // what that means; empty: not known
}

func (e *CompileError) Error() string {
	return fmt.Sprintf("make: %v:\n%s", e.Err, strings.Join(e.Messages, "\n"))
}

func (e *CompileError) Unwrap() error { return e.Err }

// Hint says what the failure means, as far as it is known.
func (e *CompileError) Hint() string { return e.Advice }

const (
	maxMessages = 12
	maxLine     = 300
)

var complaint = regexp.MustCompile(`(?i)\b(fatal )?error\b|\*\*\*|modpost:|not found|No such file|Exec format|unrecognized`)

// messages picks the lines that say why a build failed.
func messages(out []byte, dir string) []string {
	var picked, all []string
	for line := range bytes.Lines(out) {
		l := strings.TrimRight(string(line), "\r\n")
		l = strings.ReplaceAll(l, dir+"/", "")
		if len(l) > maxLine {
			l = l[:maxLine] + "..."
		}
		if l == "" {
			continue
		}
		all = append(all, l)
		if complaint.MatchString(l) && !strings.HasPrefix(l, "make") && !slices.Contains(picked, l) {
			picked = append(picked, l)
		}
	}
	if len(picked) == 0 { // make's own lines say where it was, and what it lacked
		return all[max(0, len(all)-maxMessages):]
	}
	return picked[:min(len(picked), maxMessages)]
}

// explain says what a failed build means, for the failures that have been seen.
func explain(out []byte, t *headers.Tree, tc *toolchain) string {
	other := ""
	if tc.differs() {
		other = fmt.Sprintf("the kernel was compiled with %q, here %q compiles: install that major version, or build on the kernel's own distribution (a container will do), or name it with --compiler",
			t.Config.Compiler(), tc.version)
	}
	has := func(words ...string) bool {
		for _, w := range words {
			if bytes.Contains(out, []byte(w)) {
				return true
			}
		}
		return false
	}
	switch {
	case has("cannot load plugin", "incompatible gcc/plugin versions", "gcc-plugins"):
		return "the kernel was compiled with plugins of gcc, which fit one version of it only" + colon(other)
	case has("Exec format error", "cannot execute binary file"):
		return "the headers bring programs for another machine: compile there"
	case has("error while loading shared libraries"):
		return "a program of the headers wants a library that this machine lacks: install it (on Debian: libelf1, libssl3), or compile on the kernel's own distribution"
	case has("unrecognized command-line option", "unrecognized command line option", "unknown argument", "not supported by", "Compiler lacks"):
		if other == "" {
			other = fmt.Sprintf("the compiler, %q, does not know a flag of the kernel's: use the version that the kernel was compiled with", tc.version)
		}
		return other
	case has("scripts/basic/fixdep: not found", "modpost: not found", "recordmcount: not found", "objtool: not found"):
		return "the headers lack programs: they were not prepared, or a part of them is in another package"
	case has("/lime/") && has("implicit declaration", "incompatible pointer", "has no member", "too few arguments", "too many arguments", "undeclared"):
		s := "this LiME is not made for this kernel: newer kernels want a newer LiME (the tests of 1.12.0 go up to 6.19); see --lime"
		if other != "" {
			s += "; or else " + other
		}
		return s
	}
	return other
}

func colon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
