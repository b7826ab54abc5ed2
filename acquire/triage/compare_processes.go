package triage

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// sorted gives the keys of a set in order.
func sorted[V any](m map[string]V) iter.Seq[string] {
	return slices.Values(slices.Sorted(maps.Keys(m)))
}

// A processComparison compares processes.
type processComparison struct {
	report        *Report
	out           *Comparison
	before, after side
	shown         map[int]string // by ps; nil: not known
	covers        map[int]string // what is mounted over a process's entry, or in it
	memory        map[int]Process
	running       map[int]Process // those that only the scan of all memory finds, and that have not ended
	session       map[int]bool    // the capture's own SSH session: the processes above our shell
}

// ps reads what ps showed.
func (x *processComparison) ps(h *Host) {
	if x.before.has["ps"] {
		x.shown = live.PS(h.Content[string(live.Before)+"/ps"])
	}
}

// mounts finds what lies over entries of /proc.
func (x *processComparison) mounts(h *Host) {
	x.covers = map[int]string{}
	for _, m := range live.Mounts(h.Content[string(live.Before)+"/mounts"]) {
		rest, ok := strings.CutPrefix(m.Point, "/proc/")
		number, _, _ := strings.Cut(rest, "/")
		if pid, err := strconv.Atoi(number); ok && err == nil {
			x.covers[pid] = fmt.Sprintf("%s of %s (%s) is mounted over %s", m.Root, m.Source, m.Type, m.Point)
		}
	}
}

// ownSession finds the processes that the capture's own SSH session consists of, from the shell that
// listed the processes up to the child of the SSH server. The host says which shell that is, and may lie:
// what descends from it is told as ours, never left out.
func (x *processComparison) ownSession() {
	x.session = map[int]bool{}
	p, ok := x.before.processes[x.before.clock.Shell]
	for range 16 { // sh, sudo, sh, sshd, sshd
		if !ok || p.PID <= 1 || p.Parent <= 1 && strings.HasPrefix(p.Name, "sshd") {
			return
		}
		x.session[p.PID] = true
		p, ok = x.before.processes[p.Parent]
	}
}

// ours reports whether a process of memory descends from our session.
func (x *processComparison) ours(p Process) bool {
	for range 32 {
		if x.session[p.PID] {
			return true
		}
		parent, ok := x.memory[p.Parent]
		if !ok {
			parent, ok = x.running[p.Parent]
		}
		if !ok || parent.PID == p.PID {
			return x.session[p.Parent]
		}
		p = parent
	}
	return false
}

func (x *processComparison) run() {
	x.memory, x.running = map[int]Process{}, map[int]Process{}
	for _, p := range x.report.Processes {
		if !p.Scanned {
			x.memory[p.PID] = p
		} else if p.State == "TASK_RUNNING" {
			x.running[p.PID] = p
		}
	}
	x.ownSession()
	for _, p := range x.report.Processes {
		d := Difference{Kind: kindProcess, Name: p.Name, PID: p.PID, In: inMemory}
		var differs bool
		if p.Scanned {
			differs = x.scanned(p, &d)
		} else {
			differs = x.inMemory(p, &d)
		}
		if differs {
			x.out.add(d)
		}
	}
	for _, pid := range x.before.order {
		if p := x.before.processes[pid]; !p.Silent && p.Says == 0 {
			x.inLive(p)
		}
	}
	for pid, text := range x.shown {
		if _, ok := x.memory[pid]; ok {
			continue
		}
		if p, ok := x.before.processes[pid]; !ok || p.Silent {
			x.out.add(Difference{Kind: kindProcess, Name: text, PID: pid, In: inLive, Class: Ended, Detail: "ps showed it, and /proc did not list it right before: it ran for a moment, or was ps itself"})
		}
	}
}

// began says that a process of memory began after the live tools looked.
func (x *processComparison) began(p Process) bool {
	return !p.Created.IsZero() && !x.before.clock.Now.IsZero() && p.Created.After(x.before.clock.Now.Add(-slack/2))
}

// inMemory fills d for a process of memory's list, and reports whether the live tools lack it.
func (x *processComparison) inMemory(p Process, d *Difference) bool {
	l, listed := x.before.processes[p.PID]
	kernel := ""
	if p.Parent == 2 || p.PID == 2 {
		kernel = ", a thread of the kernel by its parent"
	}
	since := func() string {
		if p.Created.IsZero() {
			return "it began at a time that is not known"
		}
		return fmt.Sprintf("it began at %s", p.Created.Format("2006-01-02T15:04:05Z"))
	}
	switch {
	case listed && !l.Silent && l.Says == 0 && !x.other(l, p):
		if x.shown == nil || x.shown[p.PID] != "" {
			x.out.Both.Processes++
			return false
		}
		d.Class, d.Detail = Hidden, fmt.Sprintf("ps did not show it, and it was there: /proc lists it and memory shows it; %s%s", since(), kernel)
	case x.began(p) && x.ours(p):
		d.Class, d.Detail = Ours, "it belongs to the capture's own SSH session, and began after the live tools looked"
	case x.began(p):
		d.Class, d.Detail = Started, since()+", after the live tools looked"+kernel
	case listed && l.Says != 0:
		d.Class, d.Detail = Covered, fmt.Sprintf("/proc/%d shows process %d in its place%s; %s", p.PID, l.Says, x.mounted(p.PID), since())
	case listed && l.Silent:
		d.Class, d.Detail = Covered, fmt.Sprintf("/proc/%d was listed and could not be read, and the process was there%s; %s", p.PID, x.mounted(p.PID), since())
	case x.ours(p):
		d.Class, d.Detail = Ours, "it belongs to the capture's own SSH session"
	case x.after.processes[p.PID].Name == p.Name && p.Created.IsZero() && p.Name != "":
		d.Class, d.Detail = Started, "/proc lists it after memory was read and did not before; when it began is not known"
	default:
		where := "/proc did not list it"
		if _, ok := x.after.processes[p.PID]; ok {
			where += " before memory was read, and did afterwards"
		} else if x.after.has["processes"] {
			where += ", neither before memory was read nor afterwards"
		}
		if x.shown[p.PID] != "" {
			where += "; ps showed it"
		}
		d.Class, d.Detail = Hidden, fmt.Sprintf("%s; %s%s", where, since(), kernel)
	}
	return true
}

func (x *processComparison) mounted(pid int) string {
	if text := x.covers[pid]; text != "" {
		return ": " + text
	}
	return ""
}

// between says that a PID lies between those of the shells of the two looks of the live tools: PIDs ascend. A scan knows no start
// times. It proves nothing: PIDs begin anew, root can choose them, and the host says which those of the shells are.
func (x *processComparison) between(pid int) bool {
	b, a := x.before.clock.Shell, x.after.clock.Shell
	return b > 0 && b < pid && pid < a
}

// other says that a PID was another process's when the live tools looked: it began at another time.
func (x *processComparison) other(l live.Process, p Process) bool {
	if p.Created.IsZero() || x.before.clock.Boot.IsZero() {
		return false
	}
	return x.began(p) && p.Created.Sub(x.before.start(l)).Abs() > slack
}

// scanned fills d for a process that only the scan of all memory shows.
func (x *processComparison) scanned(p Process, d *Difference) bool {
	if p.State != "TASK_RUNNING" {
		return false // it has ended: memory remembers it
	}
	l, listed := x.before.processes[p.PID]
	_, later := x.after.processes[p.PID]
	switch {
	case listed && l.Name == p.Name && later:
		d.Class, d.Detail = Lost, "a scan of all memory finds it running, and so did the live tools; it is not on the kernel's list"
	case !listed && later:
		d.Class, d.Detail = Started, "a scan of all memory finds it, not on the kernel's list; /proc lists it after memory was read and did not before"
	case !listed && x.ours(p):
		d.Class, d.Detail = Ours, "a scan of all memory finds it, not on the kernel's list; it belongs to the capture's own SSH session"
	case !listed && !x.after.has["processes"]:
		d.Class, d.Detail = Unlisted, "a scan of all memory finds it running; it is not on the kernel's list, and /proc did not list it before memory was read; nobody looked afterwards"
	case !listed && x.between(p.PID):
		d.Class, d.Detail = Unlisted, "a scan of all memory finds it running; it is neither on the kernel's list nor did /proc list it; by its PID it may have begun after the live tools looked, but PIDs can be chosen"
	case !listed:
		d.Class, d.Detail = Hidden, "a scan of all memory finds it running; it is neither on the kernel's list nor did /proc list it"
	default:
		d.Class, d.Detail = Ended, "a scan of all memory finds it, not on the kernel's list: it began or ended while memory was read"
	}
	return true
}

// inLive looks whether memory shows a process that the live tools listed before.
func (x *processComparison) inLive(l live.Process) {
	p, ok := x.memory[l.PID]
	if ok && !x.other(l, p) {
		return
	}
	d := Difference{Kind: kindProcess, Name: l.Name, PID: l.PID, In: inLive}
	a, later := x.after.processes[l.PID]
	later = later && !a.Silent && x.after.start(a).Sub(x.before.start(l)).Abs() <= slack
	switch {
	case x.session[l.PID] || x.session[l.Parent]:
		d.Class, d.Detail = Ours, "it belongs to the capture's own SSH session"
	case later && x.running[l.PID].PID != 0:
		return // told as what the scan finds
	case later:
		d.Class, d.Detail = Lost, "/proc listed it before and after memory was read, and memory's list lacks it"
	case !x.after.has["processes"]:
		d.Class, d.Detail = Ended, "it may have ended before its place in memory was read; nobody looked afterwards"
	default:
		d.Class, d.Detail = Ended, "it had ended when the live tools looked again"
	}
	x.out.add(d)
}
