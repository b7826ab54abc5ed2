package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
)

// tellTotals tells what the plan comes to, and what to know about all of it.
func tellTotals(c *console, p *acquire.Plan) error {
	for _, w := range p.Warnings {
		c.warn("%s", w)
	}
	if c.json {
		return c.message("totals", p.Totals())
	}
	return nil
}

// totalsLine is the plan in a line.
func totalsLine(t acquire.Totals) string {
	parts := []string{fmt.Sprintf("%d of %d hosts can be captured", t.Take, t.Hosts)}
	if t.Take > 0 {
		parts[0] += ", " + size(t.Bytes) + " of memory"
		if t.Least > 0 {
			parts[0] += ", in " + short(t.Least) + " or more"
		}
	}
	if t.Keep > 0 {
		parts = append(parts, fmt.Sprintf("%d have an image that is read again", t.Keep))
	}
	if t.Refused > 0 {
		var why []string
		for _, r := range slices.Sorted(maps.Keys(t.Reasons)) {
			why = append(why, fmt.Sprintf("%d %s", t.Reasons[r], r))
		}
		parts = append(parts, fmt.Sprintf("%d cannot: %s", t.Refused, strings.Join(why, ", ")))
	}
	for _, s := range t.Space {
		parts = append(parts, fmt.Sprintf("%s: at most %s needed, %s free", s.Place, size(s.Need), size(s.Free)))
	}
	return strings.Join(parts, "; ")
}

// refuseAll are the results of a capture that ended before its first byte, since --require-all
// wants every host and the plan refuses some.
func refuseAll(c *console, p *acquire.Plan, t acquire.Totals) []acquire.Result {
	all := usagef("--require-all: %d of %d hosts cannot be captured; no host was touched", t.Refused, t.Hosts).
		fix("mend or leave out those hosts, or leave --require-all out to capture the others")
	c.fail("", all)
	return p.Refuse(all)
}
