// Package freeze decides which cgroups of a host can be frozen while its memory is read.
//
// [Parse] reads what a host looks like: its processes, their cgroups, and what hangs on them.
// [View.Choose] takes every cgroup that holds nothing which the capture, the host's logins or its
// survival depend on, and says of all others why not. Nothing is moved between cgroups, so
// what shares a cgroup with something that must go on goes on too.
//
// What a host says of itself is foreign: a hostile one can hide what it likes. Nothing here writes.
package freeze

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Process is one of the host's.
type Process struct {
	PID, Parent int
	Kernel      bool // a thread of the kernel, which no cgroup freezes
	Zombie      bool
	Frozen      bool // its cgroup is frozen already
	Name        string
	Cgroup      string // path in the hierarchy, "/" the root
}

// A View is what a host looks like.
type View struct {
	Version   int    // of the cgroup hierarchy, 1 or 2; 0 where no cgroup can be frozen
	Root      string // where it is mounted
	ReadOnly  bool
	Self      int // the process that looked, in our own session
	Processes []Process
	Holds     map[int][]string  // what processes have open that others wait for
	Watched   map[string]string // cgroups of services that systemd ends when they fall silent, and after how long
}

// A Selection is what a freeze stops, and what not.
type Selection struct {
	Hierarchy string `json:"hierarchy"` // "cgroup v2 at /sys/fs/cgroup"
	Version   int    `json:"-"`
	Root      string `json:"-"`
	// Cgroups are frozen, with all below them.
	Cgroups []Cgroup `json:"cgroups"`
	// Kept are those whose processes go on.
	Kept []Cgroup `json:"kept"`
	// Unused are exemptions that no process of the host matches.
	Unused []string `json:"unused_exemptions,omitempty"`
}

// A Cgroup is one with its processes, those below it included if it is frozen.
type Cgroup struct {
	Path      string   `json:"path"`
	Processes int      `json:"processes"`
	Names     []string `json:"names,omitempty"` // of processes, each once, the first 8
	Why       []string `json:"why,omitempty"`   // it is not frozen
}

// Processes counts those of a list.
func Processes(list []Cgroup) (n int) {
	for _, c := range list {
		n += c.Processes
	}
	return n
}

// A WatchdogError says that a freeze would let the host be reset.
type WatchdogError struct {
	Process string
	PID     int
	Cgroup  string
}

func (e *WatchdogError) Error() string {
	return fmt.Sprintf("process %q (%d) in %q holds a watchdog device: frozen, it would let the host be reset", e.Process, e.PID, e.Cgroup)
}

// Hint says what to do.
func (e *WatchdogError) Hint() string {
	return fmt.Sprintf("keep it running with --freeze-exempt '%s', if it needs nothing that would freeze to feed the device; or leave --freeze out", path.Base(e.Cgroup))
}

// ErrNone is of a host on which no process can be frozen.
type ErrNone struct{ Why string }

func (e *ErrNone) Error() string { return "no process can be frozen: " + e.Why }

// Hint says what to do.
func (e *ErrNone) Hint() string { return "leave --freeze out: memory is then read while all goes on" }

// Choose selects what to freeze. The error is an *ErrNone where nothing can be, with what must go
// on beside it if that is why, or a *WatchdogError.
func (v *View) Choose(exempt []Exemption) (*Selection, error) {
	switch {
	case v.Version == 0:
		return nil, &ErrNone{"there is no cgroup hierarchy with a freezer (cgroup v2 since Linux 5.2, or v1's freezer controller)"}
	case v.ReadOnly:
		return nil, &ErrNone{fmt.Sprintf("the cgroup hierarchy at %q is mounted read-only", v.Root)}
	}
	s := &Selection{Hierarchy: fmt.Sprintf("cgroup v%d at %s", v.Version, v.Root), Version: v.Version, Root: v.Root, Cgroups: []Cgroup{}, Kept: []Cgroup{}}
	why, used := v.reasons(exempt)
	for i, e := range exempt {
		if !used[i] {
			s.Unused = append(s.Unused, e.String())
		}
	}
	pinned := map[string][]string{} // cgroups that cannot be frozen, and why; those above them for no reason of their own
	for i, p := range v.Processes {
		if why[i] == "" {
			continue
		}
		if text := p.Name + ": " + why[i]; !slices.Contains(pinned[p.Cgroup], text) {
			pinned[p.Cgroup] = append(pinned[p.Cgroup], text)
		}
		for c := path.Dir(p.Cgroup); ; c = path.Dir(c) {
			pinned[c] = append(pinned[c], []string{}...)
			if c == "/" || c == "." {
				break
			}
		}
	}
	frozen, kept := map[string]*Cgroup{}, map[string]*Cgroup{}
	for _, p := range v.Processes {
		if p.Kernel || p.Zombie {
			continue
		}
		at, why := unit(p, pinned)
		list := frozen
		if at == "" {
			at, list = p.Cgroup, kept
		} else if v.watchdog(p.PID) {
			return nil, &WatchdogError{p.Name, p.PID, at}
		}
		c := list[at]
		if c == nil {
			c = &Cgroup{Path: at, Why: why}
			list[at] = c
		}
		c.Processes++
		if len(c.Names) < maxNames && !slices.Contains(c.Names, p.Name) {
			c.Names = append(c.Names, p.Name)
		}
	}
	s.Cgroups, s.Kept = sorted(frozen), sorted(kept)
	if len(s.Cgroups) == 0 {
		return s, &ErrNone{none(s)}
	}
	return s, nil
}

// maxNames bounds the names of a cgroup's processes that are listed.
const maxNames = 8

func sorted(m map[string]*Cgroup) []Cgroup {
	out := []Cgroup{}
	for _, c := range m {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Cgroup) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// none says why there is nothing to freeze.
func none(s *Selection) string {
	for _, c := range s.Kept {
		if c.Path == "/" {
			return fmt.Sprintf("%d of %d processes are in the root of %s, which cannot be frozen, and the others must go on", c.Processes, Processes(s.Kept), s.Hierarchy)
		}
	}
	return "each of them must go on, or shares its cgroup with one that must"
}

// unit is the cgroup to freeze for a process: the highest above it that holds nothing which must go
// on, and is no slice. Slices stay: what systemd starts in them meanwhile would be frozen before it has
// begun, and systemd, which waits for that, with it.
func unit(p Process, pinned map[string][]string) (at string, why []string) {
	switch {
	case p.Cgroup == "" || strings.HasPrefix(p.Cgroup, "/.."):
		return "", []string{"its cgroup lies outside of what can be seen"}
	case p.Frozen:
		return "", []string{"somebody froze it before, and it stays so"}
	case p.Cgroup == "/":
		return "", []string{"the root cgroup cannot be frozen"}
	}
	at = "/"
	for _, name := range strings.Split(p.Cgroup[1:], "/") {
		at = path.Join(at, name)
		if _, no := pinned[at]; !no && !strings.HasSuffix(name, ".slice") {
			return at, nil
		}
	}
	if why, no := pinned[at]; no && len(why) > 0 {
		return "", why
	} else if no {
		return "", []string{"what must go on is below it"}
	}
	return "", []string{"a slice is not frozen: what starts in it would be"}
}

// watchdog says whether a process holds a watchdog device.
func (v *View) watchdog(pid int) bool {
	return slices.ContainsFunc(v.Holds[pid], func(s string) bool { return strings.HasPrefix(s, holdsWatchdog) })
}
