package main

import (
	"fmt"
	"math"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/ec2connect"
)

// defaultTunnelRate is what a tunnel is expected to carry. AWS says that tunnels are throttled, not how much; with this 13 GiB fit into an hour.
const defaultTunnelRate = "4MB/s"

// beforeStream is what a tunnel has behind it, at most, when memory begins to come through it.
const beforeStream = time.Minute

// lasts holds the time that memory will likely take against what the way allows: a tunnel ends after an hour, a session of Session Manager is
// slow. It is an acquire.Job's CheckPlan. An error is of memory alone: swap comes after it, over a new tunnel if need be.
func (w ec2Way) lasts(s *acquire.Step) (warning string, err error) {
	if w.rate == 0 {
		return "", nil
	}
	takes := func(bytes, perSecond int64) time.Duration {
		return max(time.Duration(float64(bytes)/float64(perSecond)*float64(time.Second)), s.Estimate).Round(time.Second)
	}
	text := func(bytes, perSecond int64) string {
		return fmt.Sprintf("%s at %s take about %s", size(bytes), rate(float64(perSecond)), short(takes(bytes, perSecond)))
	}
	all, share := s.Expected, w.rate
	for _, a := range s.Swap {
		all += a.Bytes
	}
	if w.share > 0 {
		share = min(share, w.share)
	}
	if w.tunnel == nil {
		return fmt.Sprintf("through Session Manager, which others measured at about %s: %s", rate(float64(w.rate)), text(all, share)), nil
	}
	fits := w.tunnel.Longest - beforeStream
	tunnel := fmt.Sprintf("a tunnel through %s lasts %s", w.Endpoint, short(w.tunnel.Longest))
	switch {
	case s.Source == acquire.MethodKcore && takes(s.Expected, share) > fits:
		warning = fmt.Sprintf("%s, and %s: /proc/kcore is read on through new tunnels, each with a login of its own", text(s.Expected, share), tunnel)
		if s.Freeze != nil {
			warning += "; what is frozen thaws when the first of them ends"
		}
		return warning, nil
	case takes(s.Expected, w.rate) > fits:
		return "", &hinted{fmt.Errorf("%s, and %s (by --ec2-tunnel-rate): the image would be cut", tunnel, text(s.Expected, w.rate)),
			"capture from a machine in its VPC, or over a jump host there, with --ec2-connect " + ec2connect.WayPush + "; --method kcore goes on through new tunnels; a higher --ec2-tunnel-rate if you know that this tunnel carries it"}
	case takes(s.Expected, share) > fits: // fitsShare has the last word, when it is known what the others have
	case takes(all, share) > fits:
		return fmt.Sprintf("with swap %s, and %s: swap comes after memory, over a new tunnel if need be, and what the end of a tunnel cuts of it is partial", text(all, share), tunnel), nil
	}
	return "", nil
}

// fitsShare refuses what does not fit into a tunnel because all hosts share a rate. It is an acquire.Job's CheckShare.
func (w ec2Way) fitsShare(s *acquire.Step, most func(limit time.Duration) int) error {
	if w.tunnel == nil || s.Source == acquire.MethodKcore {
		return nil
	}
	fits := w.tunnel.Longest - beforeStream
	if s.Shared <= fits {
		return nil
	}
	// In MB, rounded up: what is named is to be enough.
	hint := fmt.Sprintf("it fits at no number at once, but alone at --limit-total-rate %dMB/s", int64(math.Ceil(float64(s.Expected)/fits.Seconds()/1e6)))
	if n := most(fits); n > 0 {
		hint = fmt.Sprintf("it fits with --parallel %d, or with a higher --limit-total-rate", n)
	}
	return &hinted{fmt.Errorf("a tunnel through %s lasts %s, and %s take about %s in turns with the others, by --limit-total-rate: the image would be cut", w.Endpoint, short(w.tunnel.Longest), size(s.Expected), short(s.Shared.Round(time.Second))),
		hint + "; --method kcore goes on through new tunnels"}
}

// shareRates tells the ways to instances what each host has of --limit-total-rate while as many are read as may be at once.
func (o *captureOptions) shareRates() {
	atOnce := len(o.Jobs)
	if n := o.Engine.Parallel; n > 0 {
		atOnce = min(atOnce, n)
	}
	for i := range o.Jobs {
		j := &o.Jobs[i]
		if e := o.ec2[hostOf(*j)]; e != nil && j.CheckPlan != nil && o.Engine.LimitTotalRate > 0 {
			e.share = max(o.Engine.LimitTotalRate/int64(atOnce), 1)
			j.CheckPlan, j.CheckShare = e.lasts, e.fitsShare
		}
	}
}
