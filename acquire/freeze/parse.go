package freeze

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kernelThread is PF_KTHREAD of include/linux/sched.h.
const kernelThread = 0x00200000

// Parse reads the sections of freezelook.sh. Only what no decision can be made without is an error.
func Parse(sections map[string]string) (*View, error) {
	v := &View{Holds: map[int][]string{}, Watched: watched(sections["units"])}
	if f := strings.SplitN(strings.TrimSpace(sections["hierarchy"]), " ", 3); len(f) == 3 {
		v.Version, _ = strconv.Atoi(f[0])
		v.ReadOnly, v.Root = f[1] == "ro", f[2]
	}
	if v.Version < 0 || v.Version > 2 || v.Version != 0 && (!strings.HasPrefix(v.Root, "/") || strings.ContainsAny(v.Root, "'\\\n")) {
		return nil, fmt.Errorf("the target told a cgroup hierarchy that is none: %q", sections["hierarchy"])
	}
	var err error
	if v.Self, err = strconv.Atoi(strings.TrimSpace(sections["self"])); err != nil {
		return nil, errors.New("the target did not tell which process looked")
	}
	if err := v.processes(sections["processes"]); err != nil {
		return nil, err
	}
	if !v.ancestors()[1] {
		return nil, errors.New("the target's processes do not lead from ours to PID 1")
	}
	// A listing that failed must not look like one in which nobody holds anything.
	if !strings.Contains("\n"+sections["fds"], "\n/proc/1/fd:\n") {
		return nil, errors.New("the target did not tell what its processes have open")
	}
	v.holds(sections["fds"], sockets(sections))
	// Nor one that failed like one of services without a watchdog.
	if v.systemd(sections["booted"]) && !strings.Contains("\n"+sections["units"], "\nId=") {
		return nil, &ErrNone{"systemd did not tell its services (systemctl show): it would end one that has a watchdog (WatchdogSec)"}
	}
	return v, nil
}

// systemd says whether it is what runs the host; booted is what systemd leaves behind to tell.
func (v *View) systemd(booted string) bool {
	return strings.TrimSpace(booted) != "" || slices.ContainsFunc(v.Processes, func(p Process) bool { return p.PID == 1 && p.Name == "systemd" })
}

// processes reads two lines for each.
func (v *View) processes(text string) error {
	var p *Process
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		kind, rest, _ := strings.Cut(line, " ")
		switch {
		case kind == "p" && p == nil:
			v.Processes = append(v.Processes, Process{})
			p = &v.Processes[len(v.Processes)-1]
			f := strings.SplitN(rest, " ", 6)
			var err error
			if len(f) == 6 {
				*p, err = process(f)
			}
			if len(f) != 6 || err != nil {
				return fmt.Errorf("the target told of a process what cannot be read: %q", line)
			}
		case kind == "c" && p != nil && (rest == "" || strings.HasPrefix(rest, "/")):
			p.Cgroup = rest
			p.Zombie = p.Zombie || rest == "" // it ended meanwhile
			p = nil
		case line != "":
			return fmt.Errorf("the target told of a process what cannot be read: %q", line)
		}
	}
	if p != nil {
		return fmt.Errorf("the target did not tell the cgroup of process %d", p.PID)
	}
	return nil
}

func process(f []string) (p Process, err error) {
	if p.PID, err = strconv.Atoi(f[0]); err != nil {
		return p, err
	}
	if p.Parent, err = strconv.Atoi(f[1]); err != nil {
		return p, err
	}
	flags, err := strconv.ParseUint(f[3], 10, 64)
	p.Zombie, p.Kernel, p.Frozen = f[2] == "Z" || f[2] == "X", flags&kernelThread != 0, f[4] == "1"
	p.Name = f[5]
	return p, err
}

// sockets maps inodes to why those who hold them go on.
func sockets(sections map[string]string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(sections["unix"]) {
		f := strings.Fields(line)
		if len(f) != 8 {
			continue
		}
		switch name := f[7]; {
		case name == "/dev/log" || strings.Contains(name, "/systemd/journal/"):
			out[f[6]] = "logins and sudo wait until it has logged them"
		case strings.Contains(name, "/systemd/resolve/"):
			out[f[6]] = "the network needs it"
		default:
			out[f[6]] = "logins and sudo ask it"
		}
	}
	// The other end of a connection of our SSH server: swapped addresses. Ports are in the
	// low digits, and addresses differ in form where one is IPv6 for IPv4.
	type end struct{ local, remote string }
	ours := map[end]bool{}
	for line := range strings.Lines(sections["near"]) {
		if f := strings.Fields(line); len(f) >= 10 {
			ours[end{plain(f[1]), plain(f[2])}] = true
		}
	}
	for line := range strings.Lines(sections["far"]) {
		if f := strings.Fields(line); len(f) >= 10 && ours[end{plain(f[2]), plain(f[1])}] {
			out[f[9]] = holdsConnection
		}
	}
	delete(out, "0")
	return out
}

// plain makes an IPv4 address out of one that IPv6 carries.
func plain(addr string) string { return strings.TrimPrefix(addr, "0000000000000000FFFF0000") }

var link = regexp.MustCompile(` -> (?:.*/(watchdog)[0-9]*|(/dev/net/tun)|(/dev/fuse)|anon_inode:\[?(fanotify)\]?|socket:\[([0-9]+)\]|(/dev/ipmi).*)$`)

// holds reads the listing of what processes have open.
func (v *View) holds(text string, sockets map[string]string) {
	pid := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "/proc/"); ok && strings.HasSuffix(rest, "/fd:") {
			pid, _ = strconv.Atoi(strings.TrimSuffix(rest, "/fd:"))
			continue
		}
		m := link.FindStringSubmatch(line)
		if m == nil || pid == 0 {
			continue
		}
		what := ""
		switch {
		case m[1] != "":
			what = holdsWatchdog
		case m[2] != "":
			what = "holds a tunnel's device, which may carry our connection"
		case m[3] != "":
			what = "serves a file system"
		case m[4] != "":
			what = "programs may wait until it lets them open files"
		case m[6] != "":
			what = "it may feed a watchdog of the host's controller (IPMI)"
		default:
			what = sockets[m[5]]
		}
		if what != "" {
			v.Holds[pid] = append(v.Holds[pid], what)
		}
	}
}

// watched reads what systemctl show says of services: blocks of KEY=VALUE.
func watched(text string) map[string]string {
	out := map[string]string{}
	for block := range strings.SplitSeq(text, "\n\n") {
		value := map[string]string{}
		for line := range strings.Lines(block) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
			value[k] = v
		}
		if w := value["WatchdogUSec"]; w != "" && w != "0" && w != "infinity" && value["ControlGroup"] != "" && value["ControlGroup"] != "/" {
			out[value["ControlGroup"]] = w
		}
	}
	return out
}
