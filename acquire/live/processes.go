package live

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxProcesses bounds how many are parsed: PIDs end at 2^22.
const maxProcesses = 1 << 22

// A Process is one PID that /proc listed.
type Process struct {
	PID    int      `json:"pid"` // by which /proc lists it
	Parent int      `json:"ppid"`
	Name   string   `json:"name"`
	State  string   `json:"state"`
	Start  uint64   `json:"start_ticks"` // after boot
	Kernel bool     `json:"kernel,omitempty"`
	Args   []string `json:"args,omitempty"`
	// Exe is its program, and UID who owns its entry, where Executables told.
	Exe string `json:"exe,omitempty"`
	UID int    `json:"uid"`

	// Silent says that it is listed and its stat could not be read: it ended meanwhile, or something lies over
	// its entry. Says is the PID in its stat, if that is another: then another one's entry lies over it.
	Silent bool `json:"silent,omitempty"`
	Says   int  `json:"says,omitempty"`
}

// kernelThread is PF_KTHREAD of include/linux/sched.h.
const kernelThread = 0x00200000

// ErrForm says that an item does not look as the script writes it.
var ErrForm = errors.New("not in the form of a collected item")

// Processes reads the item processes. What the host says of one process that cannot be read makes
// that process Silent; only what hides all of them is an error.
func Processes(data []byte) ([]Process, error) {
	first, rest, ok := bytes.Cut(data, []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("processes: %w", ErrForm)
	}
	boot, rest, ok := bytes.Cut(rest, []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("processes: %w", ErrForm)
	}
	shell, rest, ok := bytes.Cut(rest, []byte{'\n'})
	if !ok || len(boot)+len(shell) < 16 {
		return nil, fmt.Errorf("processes: %w", ErrForm)
	}
	mark := append(append(bytes.Clone(boot), '\n'), shell...)
	var pids []int
	for _, f := range bytes.Fields(first) {
		n, err := strconv.Atoi(string(f))
		if err != nil || n < 1 || len(pids) == maxProcesses {
			return nil, fmt.Errorf("processes: %w: PID %.20q", ErrForm, f)
		}
		pids = append(pids, n)
	}
	parts := bytes.Split(rest, mark)
	if len(parts) < 2 || len(parts[0]) != 0 {
		return nil, fmt.Errorf("processes: %w", ErrForm)
	}
	parts = parts[1:]
	if len(parts) != len(pids)+1 {
		err := fmt.Errorf("processes: %d are listed, and %d were read", len(pids), max(0, len(parts)-1))
		pids = pids[:min(len(pids), len(parts))]
		return processes(pids, parts), err
	}
	return processes(pids, parts), nil
}

func processes(pids []int, parts [][]byte) []Process {
	var out []Process
	for i, pid := range pids {
		p := Process{PID: pid, UID: -1, Silent: true}
		if stat, args, ok := cutStat(parts[i]); ok {
			p.stat(stat, args)
		}
		out = append(out, p)
	}
	return out
}

// maxName is the longest name that the kernel prints: of a worker of its own; others have 15 bytes.
const maxName = 63

// cutStat splits what came of a process: one line, in which a name may hold anything, then its arguments,
// which may, too. The fields after the name have no parenthesis and more bytes than a name, so that the last
// one within reach of a name ends it.
func cutStat(b []byte) (stat string, args []byte, ok bool) {
	open := bytes.IndexByte(b, '(')
	if open < 0 || open > 12 {
		return "", nil, false
	}
	end := bytes.LastIndex(b[:min(len(b), open+1+maxName+2)], []byte(") "))
	if end < 0 {
		return "", nil, false
	}
	nl := bytes.IndexByte(b[end:], '\n')
	if nl < 0 {
		return "", nil, false
	}
	return string(b[:end+nl]), b[end+nl+1:], true
}

// stat fills p from its line: Documentation/filesystems/proc.rst, table 1-4.
func (p *Process) stat(line string, args []byte) {
	open, end := strings.IndexByte(line, '('), strings.LastIndex(line, ") ")
	if open < 1 || end < open {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line[:open]))
	f := strings.Fields(line[end+2:])
	if err != nil || len(f) < 20 {
		return
	}
	parent, err1 := strconv.Atoi(f[1])
	flags, err2 := strconv.ParseUint(f[6], 10, 64)
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return
	}
	p.Name, p.State, p.Parent, p.Start, p.Kernel, p.Silent = line[open+1:end], f[0], parent, start, flags&kernelThread != 0, false
	if pid != p.PID {
		p.Says = pid
	}
	if s := strings.TrimRight(string(args), "\x00"); s != "" {
		p.Args = strings.Split(s, "\x00")
	}
}

// An Executable is what a process runs.
type Executable struct {
	Path string
	UID  int
}

// Executables reads the item executables: lines of ls -ln. A path may hold anything but a newline.
func Executables(data []byte) map[int]Executable {
	out := map[int]Executable{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		i := strings.Index(line, " /proc/")
		f := strings.Fields(line)
		if i < 0 || len(f) < 4 {
			continue
		}
		number, rest, _ := strings.Cut(line[i+len(" /proc/"):], "/exe")
		pid, err := strconv.Atoi(number)
		uid, err2 := strconv.Atoi(f[2])
		if err != nil || err2 != nil || pid < 1 {
			continue
		}
		path, ok := strings.CutPrefix(rest, " -> ")
		if ok || rest == "" {
			out[pid] = Executable{path, uid}
		}
	}
	return out
}

// Describe adds what Executables told.
func Describe(list []Process, exes map[int]Executable) {
	for i := range list {
		if x, ok := exes[list[i].PID]; ok {
			list[i].Exe, list[i].UID = x.Path, x.UID
		}
	}
}

// PS reads the item ps: the PIDs that ps shows, with the rest of their lines. Both procps and busybox print
// the PID first.
func PS(data []byte) map[int]string {
	out := map[int]string{}
	for line := range strings.Lines(string(data)) {
		f := strings.TrimSpace(line)
		number, rest, _ := strings.Cut(f, " ")
		if pid, err := strconv.Atoi(number); err == nil && pid > 0 {
			out[pid] = strings.TrimSpace(rest)
		}
	}
	return out
}
