// Package keytrail follows an access key, a user or a role: whose it is, what it may do, and, by CloudTrail, what it did and which other
// identities it made or took, and what those did in turn. It only reads.
//
//	t := &keytrail.Tracer{Config: accounts.Config, Since: time.Now().Add(-trail.Kept)}
//	found, err := t.Trace(ctx, target)
//
// What could not be looked at is a Gap, never left out in silence. What CloudTrail does not have is said by Blind.
package keytrail

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
)

// A Tracer follows keys. Its fields are set before the first call; it is then safe for concurrent use.
type Tracer struct {
	// Config gives the configuration for calls in an account and region: awsconfig.Accounts has one.
	Config func(context.Context, containment.Target) (aws.Config, error)
	// Regions are those whose event history is read; none, or hosts.AllRegions: all that the account has enabled.
	Regions []string
	// Since and Until bound the time of events. Until may be zero.
	Since, Until time.Time
	// Pages bounds what is read of each identity in each region, in pages of 50 events; 0: 200.
	Pages int
	// Depth is how many steps are followed from the first identity; below 0: none.
	Depth int
	// Most bounds the identities that are followed; 0: 60.
	Most int
	// Events bounds the events that are kept, and Bytes what they are as CloudTrail has them; 0: 50000 and 256 MiB.
	Events int
	Bytes  int64
	// Accounts are those that are entered, beside the target's. Others, which the events name, are a Gap.
	Accounts []string
	// Logs, if set, is a folder of CloudTrail's log files, which is read too; LogsName is what it is called in messages.
	Logs     fs.FS
	LogsName string
	// History is who asks the event history; nil: one of its own.
	History *trail.History
	// Tell, if set, is told what is about to be done, from one goroutine.
	Tell func(text string)
}

const (
	defaultPages  = 200
	defaultMost   = 60
	defaultEvents = 50000
	defaultBytes  = 256 << 20
	// parallel bounds the questions under way at once: most of them wait for their turn in their region.
	parallel = 64
)

// Found is what became known of an identity.
type Found struct {
	Target  containment.Target `json:"-"`
	Name    string             `json:"target"`
	Account string             `json:"account,omitempty"` // that the target is in
	Since   time.Time          `json:"since"`
	Until   time.Time          `json:"until"`
	Owner   Owner              `json:"owner"`
	// Maker is the call that issued the target, of a temporary key.
	Maker *trail.Event `json:"issued_by,omitempty"`
	// Subjects are the identities that were followed, the target itself first.
	Subjects []*Subject `json:"identities"`
	// Left are those that were not followed, since a bound was met.
	Left []*Subject `json:"not_followed,omitempty"`
	// Use sums up all of them.
	Use    Use               `json:"use"`
	Places []inventory.Place `json:"searched"`
	Logs   *trail.Read       `json:"log_files,omitempty"`
	Gaps   []Gap             `json:"gaps,omitempty"`
	// Events are those of all identities, each once, the earliest first.
	Events []Act `json:"-"`
}

// An Act is an event with the identity whose it is.
type Act struct {
	trail.Event
	Of string `json:"of"`
}

// A Gap is something that could not be looked at.
type Gap struct {
	inventory.Place
	What string `json:"what"`
	Why  string `json:"why"`
	// Off says that the account has not enabled the region.
	Off bool `json:"not_enabled,omitempty"`
}

func (g Gap) String() string {
	where := ""
	switch {
	case g.Region != "":
		where = " in " + g.Place.String()
	case g.Account != "":
		where = " in account " + g.Account
	}
	return g.What + where + ": " + g.Why
}

// Blind says what no look at CloudTrail and IAM shows.
var Blind = []string{
	"management events only: what was read of or written to S3 objects, DynamoDB items and other data, and which functions were invoked, is not in the event history (log files may have it: --trail)",
	"the event history has 90 days, and events come up to 15 minutes late",
	"service and resource control policies, resource policies and session policies were not read: they give and take permissions too",
	"a session that was assumed in an account that could not be searched shows only where it began",
	"the console (ConsoleLogin, GetSigninToken, SwitchRole) and services that call on someone's behalf have access keys of their own, which no event ties to the first: ask for the user or role, too",
}

// Blindness is how many gaps are about what was asked for.
func (f *Found) Blindness() (n int) {
	for _, g := range f.Gaps {
		if !g.Off {
			n++
		}
	}
	return n
}

// Unheard reports whether there may be events that were not looked at: no event then is no proof that nothing was done.
func (f *Found) Unheard() bool {
	return slices.ContainsFunc(f.Gaps, func(g Gap) bool {
		return !g.Off && (strings.HasPrefix(g.What, "events") || strings.HasPrefix(g.What, "the call that issued") || strings.HasPrefix(g.What, "the account") || g.What == "the caller's account" || g.What == "log files")
	})
}

// Known reports whether anything became known of the target: an owner that is there, or a call.
func (f *Found) Known() bool {
	return f.Owner.ARN != "" && !f.Owner.Gone || f.Use.Events > 0 || f.Maker != nil
}

// Looked says when and where events were looked for.
func (f *Found) Looked() string {
	since := f.Since
	if kept := f.Until.Add(-trail.Kept); f.Logs == nil && since.Before(kept) {
		since = kept
	}
	var regions []string
	for _, p := range f.Places {
		if !slices.Contains(regions, p.Region) {
			regions = append(regions, p.Region)
		}
	}
	slices.Sort(regions)
	where := "in no region"
	switch n := len(regions); {
	case n > shownRegions:
		where = fmt.Sprintf("in %s and %d more regions", strings.Join(regions[:shownRegions], ", "), n-shownRegions)
	case n > 0:
		where = "in " + strings.Join(regions, ", ")
	}
	return fmt.Sprintf("from %s to %s %s", since.Format(time.RFC3339), f.Until.Format(time.RFC3339), where)
}

// shownRegions bounds the regions that are named in a line.
const shownRegions = 20

// Made are the identities that the target made, or took, followed or not, without the target's own; and in words those that nothing is known
// to contain them by, such as sessions of root.
func (f *Found) Made() (list []containment.Target, unnamed []string) {
	own, _ := containment.PrincipalOf(f.Owner.ARN)
	name := func(t containment.Target) string {
		return strings.ToLower(strings.Join([]string{t.Account, t.Region, t.Short()}, " "))
	}
	seen := map[string]bool{name(own): true, name(f.Target): true}
	for _, s := range slices.Concat(f.Subjects, f.Left) {
		if s.Via == nil {
			continue
		}
		if t, ok := s.Target(); !ok {
			unnamed = append(unnamed, s.words())
		} else if !seen[name(t)] {
			seen[name(t)] = true
			list = append(list, t)
		}
	}
	return list, unnamed
}

// Trace follows the target. The error is only that ctx ended.
func (t *Tracer) Trace(ctx context.Context, target containment.Target) (*Found, error) {
	r := &run{Tracer: t, found: &Found{Target: target, Name: target.String(), Since: t.Since.UTC(), Until: t.Until.UTC()}, seen: map[string]*Subject{}, known: map[string]bool{}, places: map[string][]inventory.Place{}}
	if t.Until.IsZero() {
		r.found.Until = time.Now().UTC()
	}
	if r.history = t.History; r.history == nil {
		r.history = &trail.History{Config: t.Config}
	}
	r.tell("whose it is")
	r.account(ctx)
	r.begin(ctx)
	r.chain(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.tell("what it may do")
	r.owner(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.finish()
	return r.found, nil
}

// finish sums up and sorts.
func (r *run) finish() {
	f := r.found
	slices.SortStableFunc(f.Events, func(a, b Act) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	var all []*trail.Event
	by := map[string][]*trail.Event{}
	for i := range f.Events {
		e := &f.Events[i].Event
		all, by[f.Events[i].Of] = append(all, e), append(by[f.Events[i].Of], e)
	}
	f.Use = sum(all)
	for _, s := range f.Subjects {
		s.Use = sum(by[s.Label()])
	}
	slices.SortFunc(f.Places, func(a, b inventory.Place) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region))
	})
	slices.SortStableFunc(f.Gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.What, b.What))
	})
}
