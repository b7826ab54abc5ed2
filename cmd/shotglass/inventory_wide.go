package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// printInstance prints all about one instance. What others called things is quoted.
func printInstance(out io.Writer, m instanceMessage) {
	i := m.Instance
	fmt.Fprintln(out, printable(i.ARN))
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, cell(fmt.Sprintf(format, args...)))
	}
	if i.Name != "" {
		row("name", "%q", i.Name)
	}
	if len(m.Shares) > 0 {
		row("shares", "with %s: %s", m.Related, strings.Join(m.Shares, ", "))
	}
	row("state", "%s, %s in %s, started %s", i.State, i.Type, i.Zone, i.Launched.Format(time.RFC3339))
	if !i.Created.IsZero() {
		row("made", "%s, %s ago", i.Created.Format(time.RFC3339), ageText(m.Age))
	}
	if m.LeftOut != "" {
		row("capture", "no: %s", m.LeftOut)
	}
	row("platform", "%s, %s, on %s", i.Platform, i.Architecture, cmp.Or(runsOn(i), "what is not known"))
	row("image", "%s %q of %q", i.Image.ID, i.Image.Name, i.Image.Owner)
	row("module", "%s", i.Module)
	row("login", "%s: %s", cmp.Or(i.Login.User, "not known"), i.Login.Why)
	row("ways in", "%s", cmp.Or(waysIn(i), "none that AWS knows of"))
	row("role", "%s", cmp.Or(i.Profile, "none"))
	imds := "off"
	if i.IMDS.On {
		imds = "on, also without a token (IMDSv1)"
		if i.IMDS.V2Only {
			imds = "on, with a token only (IMDSv2)"
		}
	}
	row("metadata", "%s", imds)
	row("network", "%s, %s", i.VPC, strings.Join(i.Subnets, ", "))
	row("addresses", "private %s; public %s; IPv6 %s", list(i.Private), list(i.Public), list(i.IPv6))
	for _, g := range i.Groups {
		row("group", "%s %q", g.ID, g.Name)
	}
	for _, r := range i.OpenSSH {
		row("OPEN", "%s lets %s in on ports %s", r.Group, r.From, r.Ports)
	}
	if s := i.Scaling; s != nil {
		protected := ""
		if s.Protected {
			protected = ", protected from scale-in"
		}
		row("scaling", "%q, %s%s", s.Group, cmp.Or(s.State, "state not known"), protected)
	}
	for _, k := range slices.Sorted(maps.Keys(i.Tags)) {
		row("tag", "%q = %q", k, i.Tags[k])
	}
	for _, u := range i.Unknown {
		row("UNKNOWN", "%s", u)
	}
}

func list(s []string) string { return cmp.Or(strings.Join(s, ", "), "none") }
