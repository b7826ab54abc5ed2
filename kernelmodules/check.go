package kernelmodules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// required are the parameters that a capture cannot do without. Without
// localhostonly LiME listens on every address of the target; without timeout it
// replaces memory by zeros when the reader is slow.
var required = []string{"path", "format", "localhostonly", "timeout"}

// Check returns a *MismatchError with every reason why m is not a LiME module
// for k, or nil.
func (m *Module) Check(k Kernel) error {
	var reasons []string
	no := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	if m.Name != "lime" {
		no("it is the module %q, not lime", m.Name)
	}
	switch {
	case k.Machine == "":
		no("the kernel's machine is not known")
	case !MachineFits(m.Machine, k.Machine):
		no("it is built for %s, not for %s", printable(m.Machine), printable(k.Machine))
	}
	switch release := m.Release(); {
	case k.Release == "":
		no("the kernel's release is not known")
	case m.Vermagic == "":
		no("it has no vermagic")
	case release != k.Release:
		// modprobe compares less when modversions are on; insmod of a module that
		// was built for other headers still ends in unknown symbols, or worse.
		no("it is built for the release %q (vermagic %q), not for %q", release, m.Vermagic, k.Release)
	}
	var missing []string
	for _, p := range required {
		if !slices.Contains(m.Params, p) {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		no("it lacks the parameters %s", strings.Join(missing, ", "))
	}
	if reasons == nil {
		return nil
	}
	return &MismatchError{Origin: m.Origin, Kernel: k, Reasons: reasons}
}

// Release returns the kernel release that m was built for: the first word of
// its vermagic.
func (m *Module) Release() string {
	release, _, _ := strings.Cut(m.Vermagic, " ")
	return release
}

// MachineFits compares what ELF says with what uname -m says. 32-bit kernels
// name the processor they run on: i586, i686; armv6l, armv7l.
func MachineFits(module, kernel string) bool {
	switch module {
	case "i686":
		return len(kernel) == 4 && kernel[0] == 'i' && kernel[2:] == "86"
	case "armv7l":
		return strings.HasPrefix(kernel, "armv") && strings.HasSuffix(kernel, "l")
	}
	return module == kernel
}

// printable returns s, quoted if it holds anything that could fool a terminal
// or a reader: it may come from a target or from a strange file.
func printable(s string) string {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}
