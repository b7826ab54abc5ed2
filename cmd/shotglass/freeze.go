package main

import (
	"fmt"
	"path"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/freeze"
)

// printFreeze prints what --freeze would stop on a host, and what not, and why. The host's words
// are quoted where they could be taken for ours.
func printFreeze(f *freeze.Selection, row func(name, format string, args ...any)) {
	if f == nil {
		return
	}
	row("freeze", "%s in %s, through %s", counted(freeze.Processes(f.Cgroups), "process", "processes"), counted(len(f.Cgroups), "cgroup", "cgroups"), f.Hierarchy)
	for _, c := range f.Cgroups {
		row("", "%s: %s", c.Path, processWords(c))
	}
	row("goes on", "%s in %s", counted(freeze.Processes(f.Kept), "process", "processes"), counted(len(f.Kept), "cgroup", "cgroups"))
	for _, c := range f.Kept {
		why := strings.Join(c.Why[:min(len(c.Why), 3)], "; ")
		if n := len(c.Why) - 3; n > 0 {
			why += fmt.Sprintf("; and %d more reasons", n)
		}
		row("", "%s: %s (%s)", c.Path, why, processWords(c))
	}
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// processWords names the processes of a cgroup.
func processWords(c freeze.Cgroup) string {
	if c.Processes == 1 && len(c.Names) == 1 {
		if c.Names[0] == strings.TrimSuffix(path.Base(c.Path), ".service") {
			return "1 process"
		}
		return fmt.Sprintf("1 process, %q", c.Names[0])
	}
	return fmt.Sprintf("%d processes, %q", c.Processes, c.Names)
}
