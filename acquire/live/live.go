// Package live is about what a capture takes from a host beside its memory: what the live tools show
// there, to compare with what memory says later, and what an analysis of the image needs to know of
// the kernel.
//
// [Kinds] lists what can be taken. One shell script, [Script], prints it all over one connection; a
// [Receiver] takes it apart and keeps each [Item] with its digest, compressed in memory, until
// [Collection.WriteTo] makes a tar archive of it. [ReadArchive] reads one. The parsers ([Processes],
// [PS], [Sockets], [Modules], [Mounts]) turn items into what can be compared.
//
// All that comes from the host is the word of whoever is root there: it is bounded, in size and in
// time, and parsed as foreign.
package live

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Script prints the items that are named in its arguments, after a nonce that marks their ends. It is
// run by sh as root and writes nothing.
//
//go:embed collect.sh
var Script string

// A Stage is when an item is read: right before memory is, or once the image is stored.
type Stage string

// The stages.
const (
	Before Stage = "before"
	After  Stage = "after"
)

// A Kind is something that can be taken.
type Kind struct {
	Name   string
	State  bool // of what goes on; otherwise of the kernel
	Stages []Stage
	File   string // in the archive; state lies in a folder named for its stage
	How    string // what is run or read
	Limit  int64  // bytes that are kept, at most
	Guess  int64  // bytes to expect where nobody can say
	// Extra says that reading it changes more than memory: it is taken only if it is asked for by its name.
	Extra bool
}

var (
	both   = []Stage{Before, After}
	before = []Stage{Before}
	after  = []Stage{After}
)

// kinds, in the order in which they are read. What changes fastest comes first. What the comparison rests
// on is read on both sides of the image. What does not change while the host runs comes last: it is by far the
// most, and reading it before would push out of the page cache, and out of free memory, what the image
// should show.
var kinds = []Kind{
	{"clock", true, both, "clock", "date, /proc/uptime, /proc/stat", 4 << 10, 100, false},
	{"processes", true, both, "processes", "/proc/[0-9]*/stat, cmdline", 16 << 20, 32 << 10, false},
	{"executables", true, both, "executables", "ls -ln /proc/[0-9]*/exe", 8 << 20, 16 << 10, false},
	{"sockets", true, both, "sockets", "/proc/net/tcp, udp, raw, unix, ...", 16 << 20, 32 << 10, false},
	{"modules", true, both, "modules", "/proc/modules", 1 << 20, 8 << 10, false},
	{"ps", true, before, "ps", "ps", 16 << 20, 16 << 10, false},
	{"ss", true, before, "ss", "ss -anpe", 16 << 20, 32 << 10, true},
	{"sysmodules", true, before, "sysmodules", "ls /sys/module/*/initstate", 1 << 20, 8 << 10, false},
	{"mounts", true, before, "mounts", "/proc/self/mountinfo", 4 << 20, 8 << 10, false},
	{"routes", true, before, "routes", "/proc/net/route, ipv6_route, arp, dev, if_inet6", 4 << 20, 4 << 10, false},
	{"ip", true, before, "ip", "ip address, route, neighbour", 4 << 20, 4 << 10, false},
	{"logins", true, before, "logins", "who -a", 1 << 20, 1 << 10, false},
	{"utmp", true, before, "utmp", "/run/utmp", 4 << 20, 4 << 10, false},

	{"version", false, after, "proc/version", "/proc/version", 4 << 10, 200, false},
	{"cmdline", false, after, "proc/cmdline", "/proc/cmdline", 64 << 10, 200, false},
	{"os-release", false, after, "etc/os-release", "/etc/os-release", 64 << 10, 400, false},
	{"iomem", false, after, "proc/iomem", "/proc/iomem", 1 << 20, 4 << 10, false},
	{"vmcoreinfo", false, after, "vmcoreinfo", "the note in the head of /proc/kcore", 1 << 20, 64 << 10, false},
	{"vmcoreinfo-address", false, after, "sys/kernel/vmcoreinfo", "/sys/kernel/vmcoreinfo", 4 << 10, 30, false},
	{"config", false, after, "boot/config", "/boot/config-RELEASE or /proc/config.gz", 4 << 20, 250 << 10, false},
	{"system-map", false, after, "boot/System.map", "/boot/System.map-RELEASE", 32 << 20, 0, false},
	{"btf", false, after, "sys/kernel/btf/vmlinux", "/sys/kernel/btf/vmlinux", 48 << 20, 0, false},
	{"kallsyms", false, after, "proc/kallsyms", "/proc/kallsyms", 64 << 20, 12 << 20, false},
	// The last, so that many modules leave room for the kernel.
	{"btf-modules", false, after, "sys/kernel/btf-modules.tar", "/sys/kernel/btf/MODULE", 16 << 20, 0, false},
}

// Kinds returns everything that can be taken, in the order in which it is read.
func Kinds() []Kind { return slices.Clone(kinds) }

// Names returns the names of kinds, as Parse takes them.
func Names() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	return names
}

// Words that Parse takes in place of names.
const (
	All    = "all"
	None   = "none"
	State  = "state"  // what goes on
	Kernel = "kernel" // what the kernel says of itself
)

// Parse returns the kinds that words name, in the order in which they are read: names of kinds, all,
// none, state, kernel. Of the groups those that are Extra are no part.
func Parse(words []string) ([]Kind, error) {
	want, none := map[string]bool{}, false
	for _, w := range words {
		known := false
		for _, k := range kinds {
			if w == k.Name || !k.Extra && (w == All || w == State && k.State || w == Kernel && !k.State) {
				want[k.Name], known = true, true
			}
		}
		none = none || w == None
		if !known && w != None {
			return nil, fmt.Errorf("%q is nothing that can be collected: want all, none, state, kernel, or some of %s", w, strings.Join(Names(), ", "))
		}
	}
	if none && len(want) > 0 {
		return nil, fmt.Errorf("none excludes everything else: %s", strings.Join(words, ", "))
	}
	var out []Kind
	for _, k := range kinds {
		if want[k.Name] {
			out = append(out, k)
		}
	}
	return out, nil
}

// At returns those of kinds that are read at a stage.
func At(kinds []Kind, s Stage) (out []Kind) {
	for _, k := range kinds {
		if slices.Contains(k.Stages, s) {
			out = append(out, k)
		}
	}
	return out
}

// path is where the item of a kind lies in the archive.
func (k Kind) path(s Stage) string {
	if k.State {
		return string(s) + "/" + k.File
	}
	return k.File
}

// An Item is what came of one kind at one stage.
type Item struct {
	Name  string `json:"name"`
	Stage Stage  `json:"stage"`
	File  string `json:"file,omitempty"` // in the archive; empty: nothing is kept
	How   string `json:"how"`            // what was run or read

	Begun  time.Time     `json:"begun,omitzero"` // examiner's clock, UTC
	Took   time.Duration `json:"took_ns"`
	Bytes  int64         `json:"bytes"`
	SHA256 string        `json:"sha256,omitempty"` // of those bytes
	// Error says why it is not there, or not all of it.
	Error string   `json:"error,omitempty"`
	Notes []string `json:"notes,omitempty"`
}
