package trail

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// Kept is how far back the event history goes.
const Kept = 90 * 24 * time.Hour

// A History asks CloudTrail's event history. Its fields are set before the first call; it is then safe for concurrent use, and all who
// share one share the rate at which a region may be asked.
type History struct {
	// Config gives the configuration for calls in an account and region, as an inventory.Finder's does.
	Config func(context.Context, containment.Target) (aws.Config, error)
	// Pace is the time between two calls to a place; 0: half a second, which is what CloudTrail takes.
	Pace time.Duration

	mu    sync.Mutex
	doors map[inventory.Place]*door
}

const (
	pace = 500 * time.Millisecond
	// attempts are how often a call is tried: others of the account ask too, and CloudTrail counts all together.
	attempts  = 8
	perLookup = 50 // events: the most that a call brings
)

// A door lets calls to one place pass, one after the other.
type door struct {
	mu   sync.Mutex
	next time.Time
}

// wait takes the next turn, and waits for it. Who is cancelled has used it up.
func (d *door) wait(ctx context.Context, pace time.Duration) error {
	d.mu.Lock()
	now := time.Now()
	turn := d.next
	if turn.Before(now) {
		turn = now
	}
	d.next = turn.Add(pace)
	d.mu.Unlock()
	t := time.NewTimer(time.Until(turn))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A Query is what to look for in one place: events with one attribute, of a time.
type Query struct {
	By           types.LookupAttributeKey
	Value        string
	Since, Until time.Time // zero: no bound but CloudTrail's
	Pages        int       // at most, of 50 events; 0: all
	// Take, if set, gets the events of each page, the latest first, and the answer has none of them: there may be more than memory holds.
	Take func([]Event)
}

// An Answer is what was found, the latest first. Of a query that failed it is what came before.
type Answer struct {
	Events []Event
	Read   int       // events, whether Take got them or not
	Oldest time.Time // when the last of them was; zero: there is none
	Pages  int
	// More says that the bound of pages was met: what is older than the last event was not read.
	More bool
	// Bad are events that could not be read, and Why the first reason.
	Bad int
	Why error
}

// Look asks one question in one place.
func (h *History) Look(ctx context.Context, p inventory.Place, q Query) (a Answer, err error) {
	cfg, err := h.Config(ctx, p.Target())
	if err != nil {
		return a, err
	}
	api := cloudtrail.NewFromConfig(cfg, func(o *cloudtrail.Options) { o.RetryMaxAttempts = attempts })
	in := &cloudtrail.LookupEventsInput{
		LookupAttributes: []types.LookupAttribute{{AttributeKey: q.By, AttributeValue: &q.Value}}, MaxResults: aws.Int32(perLookup),
	}
	if !q.Since.IsZero() {
		in.StartTime = &q.Since
	}
	if !q.Until.IsZero() {
		in.EndTime = &q.Until
	}
	d := h.door(p)
	for pages := cloudtrail.NewLookupEventsPaginator(api, in); pages.HasMorePages(); {
		if q.Pages > 0 && a.Pages == q.Pages {
			a.More = true
			return a, nil
		}
		if err := d.wait(ctx, cmp.Or(h.Pace, pace)); err != nil {
			return a, err
		}
		page, err := pages.NextPage(ctx)
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		if err != nil {
			return a, after(a, awsconfig.Explain(err))
		}
		a.Pages++
		var list []Event
		for _, e := range page.Events {
			one, err := Parse([]byte(aws.ToString(e.CloudTrailEvent)))
			if err != nil {
				if a.Bad++; a.Bad == 1 {
					a.Why = err
				}
				continue
			}
			list = append(list, one)
			a.Oldest = one.Time
		}
		a.Read += len(list)
		if q.Take != nil {
			q.Take(list)
		} else {
			a.Events = append(a.Events, list...)
		}
	}
	return a, nil
}

// after says how far a question got.
func after(a Answer, err error) error {
	if a.Read == 0 {
		return err
	}
	return fmt.Errorf("after %d events, back to %s: %w", a.Read, a.Oldest.Format(time.RFC3339), err)
}

func (h *History) door(p inventory.Place) *door {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.doors == nil {
		h.doors = map[inventory.Place]*door{}
	}
	d := h.doors[p]
	if d == nil {
		d = &door{}
		h.doors[p] = d
	}
	return d
}
