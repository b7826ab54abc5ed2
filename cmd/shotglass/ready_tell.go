package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
)

// readyMessage is a "ready" line: what one check says of one resource.
type readyMessage struct {
	readyCheck
	State    ready.State `json:"state"`
	Cause    ready.Cause `json:"cause,omitempty"` // of UNKNOWN
	Account  string      `json:"account"`
	Region   string      `json:"region,omitempty"`
	Resource string      `json:"resource,omitempty"`
	Detail   string      `json:"detail"`
	Fix      string      `json:"fix,omitempty"` // of FAIL
}

func (o *readyRun) tell(c *console, r *ready.Report) error {
	for _, g := range r.Gaps {
		c.warn("not looked at: %s: %s", g.Place, g.Why)
		if c.json {
			if err := c.message("not_searched", g); err != nil {
				return err
			}
		}
	}
	code := o.code(r)
	if c.json {
		for _, x := range r.Results {
			m := readyMessage{aboutCheck(x.Check), x.State, x.Cause, x.Account, x.Region, x.Resource, x.Detail, ""}
			if x.State == ready.Fail {
				m.Fix = x.Fix()
			}
			if err := c.message("ready", m); err != nil {
				return err
			}
		}
		if err := c.message("summary", struct {
			Code          int `json:"code"`
			Pass          int `json:"pass"`
			Fail          int `json:"fail"`
			Unknown       int `json:"unknown"`
			NotApplicable int `json:"not_applicable"`
			Places        int `json:"places"`
			NotSearched   int `json:"not_searched"`
		}{code, r.Count(ready.Pass), r.Count(ready.Fail), r.Count(ready.Unknown), r.Count(ready.NotApplicable), len(r.Places), len(r.Gaps)}); err != nil {
			return err
		}
		return exitWith(code)
	}
	o.printResults(c, r)
	printFixes(c, r)
	fmt.Fprintln(c, readyTotals(r))
	return exitWith(code)
}

func readyTotals(r *ready.Report) string {
	text := fmt.Sprintf("%d fail, %d unknown, %d pass, %d do not apply; %s, %s", r.Count(ready.Fail), r.Count(ready.Unknown), r.Count(ready.Pass), r.Count(ready.NotApplicable),
		plural(len(r.Checks), "check"), plural(len(r.Places), "place"))
	if n := len(r.Blind()); n > 0 {
		text += fmt.Sprintf("; %s NOT LOOKED AT", plural(n, "place"))
	}
	return text
}

// manyAlike is how many lines of one check and state are printed; --all and --json have all.
const manyAlike = 10

// printResults prints a line for each finding. What a check says of many resources is cut short.
func (o *readyRun) printResults(c *console, r *ready.Report) {
	rows := [][]string{{"STATE", "SEVERITY", "CHECK", "PLACE", "RESOURCE", "FOUND"}}
	alike := map[string]int{}
	for _, x := range r.Results {
		if !o.all && x.State != ready.Fail && x.State != ready.Unknown {
			continue
		}
		key := string(x.State) + x.Check.ID
		if alike[key]++; alike[key] > manyAlike && !o.all {
			continue
		}
		rows = append(rows, []string{string(x.State), string(x.Check.Severity), x.Check.ID, placeText(x.Place), resourceText(x.Resource), words(string(x.Cause), x.Detail)})
	}
	if len(rows) == 1 {
		return
	}
	printColumns(c, rows)
	cut := 0
	for _, n := range alike {
		cut += max(n-manyAlike, 0)
	}
	if cut > 0 && !o.all {
		fmt.Fprintf(c, "and %d more of the same kinds: --all, or --json, has them\n", cut)
	}
	fmt.Fprintln(c)
}

func placeText(p inventory.Place) string {
	if p.Region == "" {
		return p.Account
	}
	return p.Region + "/" + p.Account
}

// resourceText quotes what may be anything but plain.
func resourceText(s string) string {
	if s == "" || strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0 {
		return dash(s)
	}
	return fmt.Sprintf("%q", s)
}

// printFixes says once for each check that fails why it matters and what to do, with the first resource's own command.
func printFixes(c *console, r *ready.Report) {
	for _, k := range r.Checks {
		n := slices.IndexFunc(r.Results, func(x ready.Result) bool { return x.Check == k && x.State == ready.Fail })
		if n < 0 {
			continue
		}
		fmt.Fprintf(c, "%s: %s\n    %s\n", k.ID, printable(k.Why), printable(r.Results[n].Fix()))
	}
}

// printColumns prints rows as a table, each text kept in its cell.
func printColumns(out io.Writer, rows [][]string) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for n, s := range row {
			cells[n] = dash(s)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush()
}

// stateClass is the colour of a state on a page.
var stateClass = map[ready.State]string{ready.Pass: "good", ready.Fail: "bad", ready.Unknown: "warn", ready.NotApplicable: ""}

// readySheet is the report as a page: a group for each check and state, the worst first.
func readySheet(r *ready.Report) report.Sheet {
	s := report.Sheet{
		Kicker: "Readiness for an incident", Title: "Ready?", Class: "good", Lead: "Everything that was looked at is as it should be.",
		Made: "Made " + r.Time.Format("2006-01-02 15:04:05") + " UTC with " + toolInfo().Name + " " + toolInfo().Version + ". " + placesText(r.Places) + ".",
		Tiles: []report.Tile{
			{Label: "Fail", Value: fmt.Sprint(r.Count(ready.Fail))}, {Label: "Unknown", Value: fmt.Sprint(r.Count(ready.Unknown))}, {Label: "Pass", Value: fmt.Sprint(r.Count(ready.Pass))},
			{Label: "Do not apply", Value: fmt.Sprint(r.Count(ready.NotApplicable))}, {Label: "Places", Value: fmt.Sprint(len(r.Places)), Note: plural(len(r.Blind()), "place") + " not looked at"},
		},
	}
	switch {
	case r.Count(ready.Fail) > 0:
		s.Class, s.Lead = "bad", fmt.Sprintf("An investigation that began on %s would miss something: %d findings.", r.Time.Format(time.DateOnly), r.Count(ready.Fail))
	case r.Count(ready.Unknown) > 0 || len(r.Blind()) > 0:
		s.Class, s.Lead = "warn", "Nothing that could be read is wrong, but not all could be read."
	}
	for _, g := range r.Gaps {
		s.Notes = append(s.Notes, "Not looked at: "+g.Place.String()+": "+g.Why)
	}
	for at := 0; at < len(r.Results); {
		first, end := r.Results[at], at
		g := report.Group{State: string(first.State), Class: stateClass[first.State], Title: first.Check.Title, Text: first.Check.Why, Open: first.State == ready.Fail}
		for ; end < len(r.Results) && r.Results[end].Check == first.Check && r.Results[end].State == first.State; end++ {
			x := r.Results[end]
			row := report.Row{Name: x.Resource, Where: placeText(x.Place), Text: words(string(x.Cause), x.Detail)}
			if x.State == ready.Fail && end-at < manyAlike {
				row.Fix = x.Fix()
			}
			g.Rows = append(g.Rows, row)
		}
		g.Summary = fmt.Sprintf("%s, %s, %s", first.Check.ID, first.Check.Severity, plural(end-at, "finding"))
		s.Groups = append(s.Groups, g)
		at = end
	}
	return s
}
