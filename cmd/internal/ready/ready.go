// Package ready says whether an incident in AWS accounts could be investigated tonight: whether what an investigator
// will ask for is being recorded, kept and within reach. It only reads.
//
//	a := &ready.Auditor{Config: accounts.Config, Regions: []string{"eu-west-1"}, Checks: ready.Checks}
//	report, err := a.Run(ctx)
//
// A check is one small file of this package with a variable of type [Check], and a line in the table [Checks]. Nothing passes
// because it could not be read: an error is the state Unknown, with its cause.
package ready

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

// A State is what a check says of a resource.
type State string

// The states. The zero value is none of them, and counts as Unknown.
const (
	Pass          State = "PASS"
	Fail          State = "FAIL"
	Unknown       State = "UNKNOWN" // it could not be read
	NotApplicable State = "NOT APPLICABLE"
)

// A Severity is how much an investigation suffers if a check fails.
type Severity string

// The severities, the worst first.
const (
	High   Severity = "high"   // evidence is not there, can be altered, or cannot be reached
	Medium Severity = "medium" // work takes longer, or an attacker is helped
	Low    Severity = "low"    // good to have
)

// Severities are all of them, the worst first.
var Severities = []Severity{High, Medium, Low}

// A Check is one thing that should hold.
type Check struct {
	ID       string   // "trail-validation"
	Title    string   // what holds when it passes
	Why      string   // why an investigator wants it
	Severity Severity // how much an investigation suffers without it
	// Fix is a command. {resource}, {region} and {account} stand for those of a result, quoted for a shell.
	Fix string
	// Actions are those of IAM that it needs, all of them and no others: a test compares them with the calls that are seen.
	Actions []string
	// Prowler is the id of the check of Prowler that looks at much the same; empty: it has none.
	Prowler string
	// Account says that it is made once in each account, not in each region.
	Account bool
	// Look looks at one site. Each resource is one finding; none at all means that there is nothing that the check is
	// about. An error is about the site as a whole, and does not hide the findings that come with it. It is called from many
	// goroutines, once for each site, and ends when ctx does.
	Look func(ctx context.Context, s *Site) ([]Finding, error)
}

// A Finding is what a check says of one resource: see pass, fail, unknown and without.
type Finding struct {
	State    State
	Resource string // an id, a name or an ARN: quote it
	Detail   string
	Cause    Cause // of Unknown
}

func pass(resource, format string, args ...any) Finding {
	return Finding{State: Pass, Resource: resource, Detail: fmt.Sprintf(format, args...)}
}

func fail(resource, format string, args ...any) Finding {
	return Finding{State: Fail, Resource: resource, Detail: fmt.Sprintf(format, args...)}
}

// unknown is for what could not be read.
func unknown(resource string, err error) Finding {
	return Finding{State: Unknown, Resource: resource, Detail: explain(err), Cause: causeOf(err)}
}

// without is for a resource that the check is not about.
func without(resource, format string, args ...any) Finding {
	return Finding{State: NotApplicable, Resource: resource, Detail: fmt.Sprintf(format, args...)}
}

// oneOf is for what one of several things suffices: it passes if one does, and fails only if all that there is was read.
func oneOf(resource, none string, list []Finding) Finding {
	var details []string
	for _, state := range []State{Pass, Unknown, Fail} {
		for _, f := range list {
			if f.State != state {
				continue
			}
			if state != Fail {
				f.Resource, f.Detail = resource, f.Resource+": "+f.Detail
				return f
			}
			details = append(details, f.Resource+": "+f.Detail)
		}
	}
	if len(details) == 0 {
		return fail(resource, "%s", none)
	}
	return fail(resource, "%s", strings.Join(details, "; "))
}

// A Result is a finding with where it was made.
type Result struct {
	Check *Check
	inventory.Place
	Finding
}

// Fix is the command that mends it, with its own resource, region and account.
func (r Result) Fix() string {
	return strings.NewReplacer("{resource}", word(r.Resource), "{region}", word(r.Region), "{account}", word(r.Account)).Replace(r.Check.Fix)
}

// word makes a word of a shell out of a name.
func word(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-+=@/:,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// A Report is what an audit found.
type Report struct {
	Time    time.Time
	Checks  []*Check          // that were made
	Places  []inventory.Place // that were looked at
	Gaps    []inventory.Gap   // that could not be: nothing is known of them
	Results []Result          // the worst first
}

// Count is how many results have a state.
func (r *Report) Count(s State) (n int) {
	for _, x := range r.Results {
		if x.State == s {
			n++
		}
	}
	return n
}

// Blind are the gaps that matter: regions that an account has not enabled do not.
func (r *Report) Blind() (list []inventory.Gap) {
	return slices.DeleteFunc(slices.Clone(r.Gaps), func(g inventory.Gap) bool { return g.Off && !g.Named })
}

var order = []State{Fail, Unknown, Pass, NotApplicable}

// sort puts the worst first.
func (r *Report) sort() {
	slices.SortStableFunc(r.Results, func(a, b Result) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)),
			cmp.Compare(slices.Index(Severities, a.Check.Severity), slices.Index(Severities, b.Check.Severity)),
			cmp.Compare(a.Check.ID, b.Check.ID), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Resource, b.Resource))
	})
}
