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

// refuseAll ends a capture before its first byte, since --require-all wants every host and not
// every host can be captured.
func refuseAll(c *console, p *acquire.Plan, t acquire.Totals) error {
	var results []acquire.Result
	for _, s := range p.Steps {
		r := acquire.Result{Host: s.Host, State: acquire.StateFailed, Err: s.Err, Notes: s.Notes}
		if s.Err != nil && s.Prior == nil {
			c.fail(s.Host, s.Err)
		}
		if c.json {
			if err := c.message("result", resultMessageOf(&r)); err != nil {
				return err
			}
		}
		results = append(results, r)
	}
	c.fail("", usagef("--require-all: %d of %d hosts cannot be captured; no host was touched", t.Refused, t.Hosts).
		fix("mend or leave out those hosts, or leave --require-all out to capture the others"))
	if err := printResults(c, results, exitFailed); err != nil {
		return err
	}
	return exitWith(exitFailed)
}
