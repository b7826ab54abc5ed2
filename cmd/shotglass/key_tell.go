package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
)

// What a person is shown at most of each kind; --json and the record have more.
const (
	shownActs   = 40
	shownCounts = 12
)

// tell says what was found. Nothing of it is by the tool's own word: names, agents and messages are those that callers sent.
func (o *keyRun) tell(c *console, f *keytrail.Found) error {
	for _, g := range f.Gaps {
		c.warn("not looked at: %s", printable(g.String()))
	}
	if c.json {
		if err := c.message("key", struct {
			*keytrail.Found
			NotSeen []string `json:"not_seen"`
		}{f, keytrail.Blind}); err != nil {
			return err
		}
		for i := range f.Events {
			if err := c.message("key_event", &f.Events[i]); err != nil {
				return err
			}
		}
		return nil
	}
	fmt.Fprintln(c, printable(headline(f)))
	printOwner(c, f)
	printUse(c, f)
	if o.timeline {
		printActs(c, "EVERY EVENT", f.Events, len(f.Events))
	} else {
		printActs(c, "WORST FIRST", worst(f.Events), shownActs)
	}
	printSubjects(c, f)
	printCounts(c, "DENIED", f.Use.Denied, "%s")
	printCounts(c, "FAILED OTHERWISE", f.Use.Failed, "%s")
	printCounts(c, "FROM", f.Use.Addresses, "%s")
	printCounts(c, "BY", f.Use.Agents, "%q")
	fmt.Fprintln(c, "NOT SEEN")
	for _, b := range keytrail.Blind {
		fmt.Fprintln(c, "  "+b)
	}
	return nil
}

func headline(f *keytrail.Found) string {
	what := "access key"
	if t, err := containment.ParseTarget(f.Name); err == nil && t.Kind != containment.AccessKey {
		return fmt.Sprintf("%s: %s %s", f.Name, t.Kind, cmp.Or(f.Owner.ARN, "of account "+cmp.Or(f.Account, "?")))
	}
	if strings.HasPrefix(f.Name, "ASIA") {
		what = "temporary key"
	}
	return fmt.Sprintf("%s: %s of %s", f.Name, what, cmp.Or(f.Owner.ARN, "an owner that is not known, in account "+cmp.Or(f.Account, "?")))
}

// printOwner prints whose it is and what that may do.
func printOwner(out io.Writer, f *keytrail.Found) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, cell(fmt.Sprintf(format, args...)))
	}
	o := f.Owner
	r := o.Rights
	if r.Admin {
		row("CAN", "EVERYTHING: %s", r.AdminBy)
	}
	if len(r.Denied) > 0 {
		row("denied", "everything, by %s", strings.Join(r.Denied, ", "))
	}
	can, simulated := abilities(r)
	if can != "" && !r.Admin {
		row("CAN", "%s", can)
	}
	if simulated != "" && !r.Admin {
		row("CAN", "by IAM's simulation alone: %s", simulated)
	}
	if r.Boundary != "" {
		row("boundary", "%s", r.Boundary)
	}
	if k := o.Key; k != nil {
		row("state", "%s", credentialText(*k))
	}
	if o.Gone {
		row("gone", "%s", goneText(f))
	}
	if o.How != "" {
		row("known by", "%s", o.How)
	}
	if !o.Created.IsZero() {
		row("owner", "%s, made %s%s", o.Kind, clock(o.Created), agoText(o.Created))
	}
	if e := f.Maker; e != nil {
		row("issued by", "%s of %s at %s from %s by %q", e.Name, cmp.Or(e.By.Key, e.By.ARN, e.By.Service), clock(e.Time), e.Address, e.Agent)
	}
	if len(o.Groups) > 0 {
		row("groups", "%q", o.Groups)
	}
	if len(r.Policies) > 0 {
		row("policies", "%s", strings.Join(r.Policies, ", "))
	}
	if len(o.Trusts) > 0 {
		row("trusts", "%s", strings.Join(o.Trusts, ", "))
	}
	for _, x := range o.Credentials {
		if o.Key == nil || x.ID != o.Key.ID {
			row("also has", "%s", strings.TrimSpace(x.Kind+" "+x.ID+" "+credentialText(x)))
		}
	}
}

// goneText says what is not there. That it ever was, only an event tells.
func goneText(f *keytrail.Found) string {
	what := "user"
	switch {
	case f.Target.Kind == containment.AccessKey:
		what = "key"
	case f.Target.Kind == containment.Role:
		what = "role"
	}
	if f.Known() {
		return "IAM has no such " + what + " any more"
	}
	calls := "CloudTrail no call of it"
	if f.Unheard() {
		calls = "no call of it was found, though not all could be looked at"
	}
	return "IAM HAS NO SUCH " + strings.ToUpper(what) + ", and " + calls + ": it is gone, or never was; look at how it is written"
}

// abilities are the actions in a line: those that policies allow, and those that only IAM's simulation knows of.
func abilities(r keytrail.Rights) (can, simulated string) {
	var texts, others []string
	for _, a := range r.Can {
		text := a.Action
		switch {
		case len(a.By) == 0:
			others = append(others, text)
			continue
		case !slices.Contains(a.On, "*"):
			text += " on " + strings.Join(a.On[:min(len(a.On), 3)], ", ")
			if n := len(a.On) - 3; n > 0 {
				text += fmt.Sprintf(" and %d more", n)
			}
		}
		if a.If {
			text += " (on conditions)"
		}
		if a.Simulated != "" && a.Simulated != "allowed" && slices.Contains(a.On, "*") && !a.If {
			text += " (IAM's simulation says " + a.Simulated + ")"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", "), strings.Join(others, ", ")
}

func credentialText(k keytrail.Credential) string {
	var parts []string
	if k.Status != "" {
		parts = append(parts, k.Status)
	}
	if !k.Created.IsZero() {
		parts = append(parts, "made "+clock(k.Created)+agoText(k.Created))
	}
	switch {
	case !k.Used.IsZero():
		parts = append(parts, "last used "+clock(k.Used))
		if k.For != "" {
			parts[len(parts)-1] += " for " + k.For
		}
	case k.For != "":
		parts = append(parts, "for "+k.For)
	}
	return strings.Join(parts, ", ")
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func agoText(t time.Time) string {
	if d := time.Since(t); d > 0 {
		return " (" + ageText(d) + " ago)"
	}
	return ""
}

// printUse prints the sums.
func printUse(out io.Writer, f *keytrail.Found) {
	u := f.Use
	if u.Events == 0 && f.Blindness() > 0 {
		fmt.Fprintf(out, "  WHAT IT DID IS NOT KNOWN: no event was found %s, and not all could be looked at\n", f.Looked())
		return
	}
	if u.Events == 0 {
		fmt.Fprintf(out, "  did nothing that CloudTrail's management events have %s\n", f.Looked())
		return
	}
	fmt.Fprintf(out, "  looked %s\n", f.Looked())
	fmt.Fprintf(out, "  did %s, from %s to %s: %d denied, %d failed otherwise; addresses: %d, user agents: %d, regions: %d, identities made or taken: %d\n",
		plural(u.Events, "call"), clock(u.First), clock(u.Last), u.DeniedIn, u.FailedIn, len(u.Addresses), len(u.Agents), len(u.Regions), len(f.Subjects)-1)
	var parts []string
	for _, class := range trail.Classes {
		if n := u.Classes[class]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", class.Meaning(), n))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(out, "  %s\n", strings.Join(parts, "; "))
	}
}

// worst are the calls that did something, or were to, the worst class first; reads say little, and are left out.
func worst(all []keytrail.Act) (list []keytrail.Act) {
	for _, a := range all {
		if a.Class != trail.Reads {
			list = append(list, a)
		}
	}
	rank := func(a keytrail.Act) int {
		n := 2 * slices.Index(trail.Classes, a.Class)
		if a.Error != "" {
			n += 2 * len(trail.Classes) // what was only tried comes after what was done
		}
		return n
	}
	slices.SortStableFunc(list, func(a, b keytrail.Act) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

func printActs(out io.Writer, title string, list []keytrail.Act, most int) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(out, title)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, a := range list[:min(len(list), most)] {
		cells := []string{clock(a.Time), string(a.Class), a.Service + ":" + a.Call(), a.Error, strings.Join(a.About, " "), a.Region, a.Address, a.Of}
		for i := range cells {
			cells[i] = dash(cells[i])
		}
		fmt.Fprintf(w, "  %s\n", strings.Join(cells, "\t"))
	}
	w.Flush()
	if n := len(list) - most; n > 0 {
		fmt.Fprintf(out, "  and %d more: --timeline prints all\n", n)
	}
}

// printSubjects prints the identities that were made or taken.
func printSubjects(out io.Writer, f *keytrail.Found) {
	if len(f.Subjects) < 2 {
		return
	}
	fmt.Fprintln(out, "IDENTITIES MADE OR TAKEN")
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, s := range f.Subjects[1:] {
		how := "taken by "
		if s.Made {
			how = "made by "
		}
		fmt.Fprintf(w, "  %s%s\t%s\t%s\t%s\n", strings.Repeat("  ", s.Depth-1), cell(s.Label()), dash(s.Owner), cell(how+s.Via.Event+" of "+s.Via.Of+" at "+clock(s.Via.Time)), plural(s.Use.Events, "call"))
	}
	w.Flush()
}

func printCounts(out io.Writer, title string, list []keytrail.Count, format string) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(out, title)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, n := range list[:min(len(list), shownCounts)] {
		fmt.Fprintf(w, "  %d\t%s\t%s to %s\n", n.Times, cell(fmt.Sprintf(format, n.Value)), clock(n.First), clock(n.Last))
	}
	w.Flush()
	if n := len(list) - shownCounts; n > 0 {
		fmt.Fprintf(out, "  and %d more\n", n)
	}
}

// end says how it ended.
func (o *keyRun) end(c *console, code int, f *keytrail.Found) error {
	if c.json {
		if err := c.message("summary", struct {
			Code       int `json:"code"`
			Events     int `json:"events"`
			Denied     int `json:"denied"`
			Identities int `json:"identities"`
			NotLooked  int `json:"not_looked_at"`
		}{code, f.Use.Events, f.Use.DeniedIn, len(f.Subjects), f.Blindness()}); err != nil {
			return err
		}
	}
	return exitWith(code)
}
