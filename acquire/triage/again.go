package triage

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// pidFlags are the flags by which plugins are told which processes to look at.
var pidFlags = map[string]string{
	Bash: "--pid", PsAux: "--pid", "linux.lsof.Lsof": "--pid", Sockstat: "--pids", "linux.mountinfo.MountInfo": "--pids",
}

// again runs plugins that failed once more, without the processes that began or ended while memory was read. Of such
// a process an image has one structure from before and another from after, and a plugin that meets it gives up on all the
// others: linux.bash does so on every busy host, and where the capture's own shells read /proc/kcore.
func (r *Report) again(ctx context.Context, v *volatility) {
	var keep []string
	var without string
	var lacks int
	for i, p := range r.Plugins {
		flag := pidFlags[p.Name]
		if flag == "" || !p.crashed || ctx.Err() != nil {
			continue
		}
		if keep == nil {
			if keep, without, lacks = r.steady(v.o); without == "" {
				return
			}
		}
		v.o.Event(fmt.Sprintf("%s: %s; again, without %s", p.Name, p.Error, without))
		n := v.runAs(ctx, p.Name, p.Name+".again", false, append([]string{flag}, keep...)...)
		if v.o.Event(tell(n)); n.Error != "" {
			continue
		}
		n.Without = fmt.Sprintf("without %s: with them it failed: %s", without, p.Error)
		n.Lacks = lacks
		r.Plugins[i] = n
	}
}

// steady are the PIDs of memory's list that can be expected to be whole in the image. without tells of the others, and is empty if
// there are none or they are not known; lacks counts those of them that were there when the live tools looked before: what began later is
// mostly the capture's own, of which not every connection is known.
func (r *Report) steady(o Options) (pids []string, without string, lacks int) {
	list, ok := r.result(PsList)
	if !ok || o.Host == nil {
		return nil, "", 0
	}
	x := &processComparison{before: o.Host.view(live.Before), after: o.Host.view(live.After), memory: map[int]Process{}}
	if !x.before.has["processes"] || !x.after.has["processes"] {
		return nil, "", 0
	}
	var order []int
	err := eachRow(filepath.Join(o.Folder, list.File), func(row row) error {
		p := row.process()
		if _, twice := x.memory[p.PID]; !twice && p.PID > 0 {
			order = append(order, p.PID)
			x.memory[p.PID] = p
		}
		if len(order) > maxAgain {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, "", 0
	}
	x.ownSession()
	var left []string
	for _, pid := range order {
		p := x.memory[pid]
		_, before := x.before.processes[pid]
		_, after := x.after.processes[pid]
		if !x.began(p) && (after || !before) { // what neither lists may be hidden, and is looked at
			pids = append(pids, strconv.Itoa(pid))
			continue
		}
		if left = append(left, fmt.Sprintf("%d %s", pid, p.Name)); !x.began(p) && !x.ours(p) && p.Parent != 2 {
			lacks++
		}
	}
	if len(left) == 0 || len(pids) == 0 {
		return nil, "", 0
	}
	n := len(left)
	if n > 20 {
		left = append(left[:20], "...")
	}
	return pids, fmt.Sprintf("%d processes that began or ended while memory was read (%s)", n, cutText(strings.Join(left, ", "), maxDetail)), lacks
}

// maxAgain bounds how many PIDs a plugin is told: its arguments are.
const maxAgain = 50_000
