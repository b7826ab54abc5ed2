package triage

import (
	"fmt"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// A Comparison is memory beside the live tools.
type Comparison struct {
	// Looked is when the live tools looked before memory was read, by the host's clock.
	Looked time.Time `json:"looked,omitzero"`
	// Both count what both show.
	Both        Counts       `json:"both"`
	Differences []Difference `json:"differences"`
}

// Counts are of each kind.
type Counts struct {
	Processes int `json:"processes"`
	Modules   int `json:"modules"`
	Sockets   int `json:"sockets"`
}

// A Class is why one of the two does not show something, as far as that is known.
type Class string

// The classes. The first three have no innocent reason that is known; of the fourth it is not proved; the others have one.
const (
	Hidden     Class = "hidden"     // memory shows it, and it was there when a live tool that should have shown it looked
	Covered    Class = "covered"    // something lies over its entry in /proc
	Lost       Class = "lost"       // the live tools show it on both sides of the image, and memory's list lacks it: it was taken off the list, or the list changed while it was read
	Unlisted   Class = "unlisted"   // only a scan of all memory finds it; it may have begun after the live tools looked, and nothing proves it
	Started    Class = "started"    // after the live tools looked
	Ended      Class = "ended"      // before memory was read, or while it was
	Ours       Class = "ours"       // of the capture itself, by descent or by name
	Elsewhere  Class = "elsewhere"  // in another network namespace, which the live tools did not look into
	Unowned    Class = "unowned"    // no process holds it: the kernel's own, or its end is waited for; memory's list goes by processes
	Transitory Class = "transitory" // a connection: it may have begun or ended in between
)

// Suspicious says that no innocent reason is known.
func (c Class) Suspicious() bool { return c == Hidden || c == Covered || c == Lost }

// Named says that each is to be told by name: it is suspicious, or may be.
func (c Class) Named() bool { return c.Suspicious() || c == Unlisted }

// A Difference is something that only one side shows.
type Difference struct {
	Kind   string `json:"kind"` // process, module, socket
	Name   string `json:"name"`
	PID    int    `json:"pid,omitempty"`
	In     string `json:"in"` // who shows it: memory, or the live tools
	Class  Class  `json:"class"`
	Detail string `json:"detail"`
}

// Values of Difference.Kind and In.
const (
	kindProcess = "process"
	kindModule  = "module"
	kindSocket  = "socket"
	inMemory    = "memory"
	inLive      = "live tools"
)

// Suspicious are the differences for which no innocent reason is known.
func (c *Comparison) Suspicious() (out []Difference) {
	for _, d := range c.Differences {
		if d.Class.Suspicious() {
			out = append(out, d)
		}
	}
	return out
}

// slack is how far start times of one process may lie apart: /proc counts in hundredths from a boot time
// that is told in seconds.
const slack = 3 * time.Second

// A side is what the live tools said at one stage.
type side struct {
	clock     live.Clock
	processes map[int]live.Process
	order     []int // PIDs as they were listed
	modules   map[string]bool
	sockets   map[string]live.Socket
	has       map[string]bool // items that are there, whole
}

// view reads what the live tools said at a stage.
func (h *Host) view(s live.Stage) side {
	v := side{clock: live.Clock{Ticks: 100}, processes: map[int]live.Process{}, modules: map[string]bool{}, sockets: map[string]live.Socket{}, has: map[string]bool{}}
	for _, it := range h.Items {
		if it.Stage == s && it.File != "" && it.Error == "" {
			v.has[it.Name] = true
		}
	}
	at := func(name string) []byte { return h.Content[string(s)+"/"+name] }
	if v.has["clock"] {
		v.clock = live.ParseClock(at("clock"))
	}
	if v.has["processes"] {
		list, err := live.Processes(at("processes"))
		v.has["processes"] = err == nil
		live.Describe(list, live.Executables(at("executables")))
		for _, p := range list {
			v.processes[p.PID] = p
			v.order = append(v.order, p.PID)
		}
	}
	for _, m := range live.Modules(at("modules")) {
		v.modules[m.Name] = true
	}
	sockets, _ := live.Sockets(at("sockets"))
	for _, x := range sockets {
		if x.Proto == protoUnix {
			v.sockets[unixKey(x.Inode)] = x
		} else {
			v.sockets[key(x.Proto, x.Local.String(), x.Remote.String())] = x
		}
	}
	return v
}

// start is when a process began, by the host's clock.
func (v side) start(p live.Process) time.Time {
	return v.clock.Boot.Add(time.Duration(float64(p.Start) / float64(v.clock.Ticks) * float64(time.Second)))
}

// compare holds memory against the live tools; the flags say which of memory's lists are there.
func (r *Report) compare(h *Host, processes, modules, sockets bool) {
	skip := func(format string, args ...any) { r.NotCompared = append(r.NotCompared, fmt.Sprintf(format, args...)) }
	if h == nil {
		skip("nothing: the capture collected nothing beside memory (--collect)")
		return
	}
	b, a := h.view(live.Before), h.view(live.After)
	c := &Comparison{Looked: b.clock.Now, Differences: []Difference{}}
	r.Comparison = c
	long := func(what, plugin string) bool {
		if r.long[plugin] {
			skip("%s: %s shows more than %d, which are too many", what, plugin, maxCompared)
		}
		return r.long[plugin]
	}
	switch {
	case !processes:
		skip("processes: %s has no result", PsList)
	case long("processes", PsList):
	case !b.has["processes"]:
		skip("processes: the live tools did not list them, or not all")
	default:
		x := &processComparison{report: r, out: c, before: b, after: a}
		x.ps(h)
		x.mounts(h)
		x.run()
		long("processes that only a scan finds, all but the first", PsScan)
	}
	switch {
	case !modules:
		skip("modules: %s has no result", Lsmod)
	case long("modules", Lsmod):
	case !b.has["modules"]:
		skip("modules: the live tools did not list them")
	default:
		r.compareModules(h, b, a)
	}
	switch {
	case !sockets:
		skip("sockets: %s has no result", Sockstat)
	case long("sockets", Sockstat):
	case r.long[PsList]: // who holds them decides
		skip("sockets: the processes that hold them are too many")
	case !b.has["sockets"]:
		skip("sockets: the live tools did not list them")
	default:
		r.compareSockets(b, a)
	}
	if !a.has["processes"] {
		skip("what ended, or was there all the time, cannot be told apart: the live tools did not look again after memory was read")
	}
}

func (c *Comparison) add(d Difference) {
	d.Name, d.Detail = cutText(d.Name, maxDetail), cutText(d.Detail, maxDetail)
	c.Differences = append(c.Differences, d)
}

// compareModules does so for kernel modules.
func (r *Report) compareModules(h *Host, b, a side) {
	c := r.Comparison
	memory := map[string]bool{}
	for _, m := range r.Modules {
		if memory[m.Name] {
			continue
		}
		memory[m.Name] = true
		d := Difference{Kind: kindModule, Name: m.Name, In: inMemory}
		switch {
		case b.modules[m.Name]:
			c.Both.Modules++
			continue
		case m.Name == h.Module:
			d.Class, d.Detail = Ours, "the capture loaded it to read memory, and unloaded it"
		case a.modules[m.Name]:
			d.Class, d.Detail = Started, "it was loaded after the live tools looked"
		case !a.has["modules"]:
			d.Class, d.Detail = Hidden, "/proc/modules did not list it before memory was read; whether it did afterwards is not known"
		default:
			d.Class, d.Detail = Hidden, "/proc/modules listed it neither before nor after memory was read"
		}
		c.add(d)
	}
	for name := range sorted(b.modules) {
		if memory[name] {
			continue
		}
		d := Difference{Kind: kindModule, Name: name, In: inLive, Class: Ended, Detail: "it was unloaded before its place in memory was read"}
		if a.modules[name] {
			d.Class, d.Detail = Lost, "it was loaded all the time, and memory's list lacks it"
		}
		c.add(d)
	}
	for _, name := range live.SysModules(h.Content[string(live.Before)+"/sysmodules"]) {
		if !b.modules[name] && !memory[name] {
			c.add(Difference{Kind: kindModule, Name: name, In: inLive, Class: Hidden, Detail: "/sys/module has it, and neither /proc/modules nor memory's list: it took itself off the list"})
		}
	}
}
