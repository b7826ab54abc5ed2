package keytrail

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
)

// A Use sums up events.
type Use struct {
	Events    int                 `json:"events"`
	First     time.Time           `json:"first,omitzero"`
	Last      time.Time           `json:"last,omitzero"`
	Classes   map[trail.Class]int `json:"classes,omitempty"` // of calls that succeeded
	Addresses []Count             `json:"addresses,omitempty"`
	Agents    []Count             `json:"user_agents,omitempty"`
	Regions   []Count             `json:"regions,omitempty"`
	Services  []Count             `json:"services,omitempty"`
	// Denied are the calls that a permission was missing for, and Failed those that failed otherwise: "iam:CreateUser AccessDenied".
	Denied   []Count `json:"denied,omitempty"`
	Failed   []Count `json:"failed,omitempty"`
	DeniedIn int     `json:"denied_events,omitempty"`
	FailedIn int     `json:"failed_events,omitempty"`
}

// A Count is a value with how often and when it occurred.
type Count struct {
	Value string    `json:"value"`
	Times int       `json:"times"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// maxCounts bounds each list of a Use; the last entry then stands for all others.
const maxCounts = 200

// sum sums up events, which are in order of time.
func sum(events []*trail.Event) (u Use) {
	u.Classes = map[trail.Class]int{}
	var addresses, agents, regions, services, denied, failed counts
	for _, e := range events {
		if u.Events++; u.Events == 1 {
			u.First = e.Time
		}
		u.Last = e.Time
		addresses.add(e.Address, e.Time)
		agents.add(e.Agent, e.Time)
		regions.add(strings.Trim(e.Account+" "+e.Region, " "), e.Time)
		services.add(e.Service, e.Time)
		switch what := e.Service + ":" + e.Call() + " " + e.Error; {
		case e.Error == "":
			u.Classes[e.Class]++
		case e.Denied():
			u.DeniedIn++
			denied.add(what, e.Time)
		default:
			u.FailedIn++
			failed.add(what, e.Time)
		}
	}
	u.Addresses, u.Agents, u.Regions, u.Services = addresses.most(), agents.most(), regions.most(), services.most()
	u.Denied, u.Failed = denied.most(), failed.most()
	return u
}

// counts count values.
type counts struct{ by map[string]*Count }

func (c *counts) add(value string, at time.Time) {
	if value == "" {
		return
	}
	if c.by == nil {
		c.by = map[string]*Count{}
	}
	n := c.by[value]
	if n == nil {
		n = &Count{Value: value, First: at}
		c.by[value] = n
	}
	n.Times++
	n.Last = at
}

// most are the values, the most frequent first.
func (c *counts) most() (list []Count) {
	for _, n := range c.by {
		list = append(list, *n)
	}
	slices.SortFunc(list, func(a, b Count) int { return cmp.Or(b.Times-a.Times, cmp.Compare(a.Value, b.Value)) })
	if len(list) <= maxCounts {
		return list
	}
	rest := Count{Value: "others", First: list[maxCounts].First}
	for _, n := range list[maxCounts:] {
		rest.Times += n.Times
		if n.First.Before(rest.First) {
			rest.First = n.First
		}
		if n.Last.After(rest.Last) {
			rest.Last = n.Last
		}
	}
	return append(list[:maxCounts:maxCounts], rest)
}
