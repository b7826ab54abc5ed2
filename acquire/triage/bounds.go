package triage

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Bounds on what an image can make a Report hold. The files of the plugins have everything.
const (
	// maxListed bounds each list of a Report, once it has been compared.
	maxListed = 20000
	// maxText bounds arguments and commands, maxName names, maxDetail what is said of a difference; all in bytes.
	maxText   = 4 << 10
	maxName   = 256
	maxDetail = 2 << 10
	// maxParsed bounds each list of a Report that somebody else may have written.
	maxParsed = 5 * maxListed
)

// maxCompared bounds a table that is compared, in rows that matter: no host has as many. A variable for tests.
var maxCompared = 500_000

// cutText keeps the first bytes of a text, and says so.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + fmt.Sprintf("... (%d bytes)", len(s))
}

// encode encodes the report with as much of its lists as fits into so many bytes; Cut says what is left out.
func (r *Report) encode(room int) ([]byte, error) {
	for most := maxListed; ; most /= 2 {
		listed := *r
		listed.cut(most)
		data, err := json.MarshalIndent(&listed, "", "  ")
		if err != nil {
			return nil, err
		}
		if len(data) < room || most == 0 {
			*r = listed
			return append(data, '\n'), nil
		}
	}
}

// cut keeps the first of each list, and the suspicious of the differences before the others.
func (r *Report) cut(most int) {
	r.Cut = nil
	r.Processes = cutList(r, r.Processes, most, "processes", r.long[PsList] || r.long[PsScan])
	r.Modules = cutList(r, r.Modules, most, "modules", r.long[Lsmod])
	r.Sockets = cutList(r, r.Sockets, most, "sockets", r.long[Sockstat])
	r.History = cutList(r, r.History, most, "commands of shells", r.long[Bash])
	if c := r.Comparison; c != nil && len(c.Differences) > most {
		all := slices.Clone(c.Differences)
		slices.SortStableFunc(all, func(a, b Difference) int { return rank(a) - rank(b) })
		short := *c
		short.Differences = cutList(r, all, most, "differences", false)
		r.Comparison = &short
	}
}

func rank(d Difference) int {
	switch {
	case d.Class.Suspicious():
		return 0
	case d.Class.Named():
		return 1
	}
	return 2
}

// cutList keeps the first of a list; more says that it was not whole before.
func cutList[T any](r *Report, list []T, most int, what string, more bool) []T {
	kept := list[:min(len(list), most)]
	switch {
	case more:
		r.Cut = append(r.Cut, fmt.Sprintf("the first %d of at least %d %s are listed", len(kept), len(list), what))
	case len(kept) < len(list):
		r.Cut = append(r.Cut, fmt.Sprintf("the first %d of %d %s are listed", len(kept), len(list), what))
	}
	return kept
}
