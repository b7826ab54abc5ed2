package main

import (
	"fmt"
	"sync"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/transport"
)

// doors are the targets of which something stands in the group that lets everything pass, as far as their engines told. Who leaves
// at once, at a second Ctrl-C, must know: the first one isolates them before it leaves.
type doors struct {
	mu   sync.Mutex
	open map[string]map[containment.Item]bool // by target
}

// note takes in what an engine tells.
func (d *doors) note(e containment.Event) {
	if e.Err != nil || e.Item.Kind == "" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	name := e.Target.String()
	switch e.Stage {
	case containment.Untrack:
		if d.open == nil {
			d.open = map[string]map[containment.Item]bool{}
		}
		if d.open[name] == nil {
			d.open[name] = map[containment.Item]bool{}
		}
		d.open[name][e.Item] = true
	case containment.Isolate: // or put back
		delete(d.open[name], e.Item)
	}
}

// lines say what is open, and the command that closes it, given the flags that reach it.
func (d *doors) lines(flags string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for name, items := range d.open {
		if len(items) > 0 {
			all = append(all, fmt.Sprintf("shotglass: LEFT OPEN: %s: %s in the group that lets everything pass. At once: shotglass contain --resume --yes %s%s",
				name, plural(len(items), "interface"), flags, transport.Quote(name)))
		}
	}
	return all
}
