package main

import (
	"fmt"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/ec2connect"
)

// defaultTunnelRate is what a tunnel is expected to carry. AWS says that tunnels are throttled, not how much; with this 13 GiB fit into an hour.
const defaultTunnelRate = "4MB/s"

// lasts holds the time that memory will likely take against what the way allows: a tunnel ends after an hour, a session of Session Manager is
// slow. It is an acquire.Job's CheckPlan.
func (w ec2Way) lasts(s *acquire.Step) (warning string, err error) {
	if w.rate == 0 {
		return "", nil
	}
	bytes := s.Expected
	for _, a := range s.Swap {
		bytes += a.Bytes
	}
	takes := max(time.Duration(float64(bytes)/float64(w.rate)*float64(time.Second)), s.Estimate).Round(time.Second)
	text := fmt.Sprintf("%s at %s take about %s", size(bytes), rate(float64(w.rate)), short(takes))
	switch {
	case w.tunnel == nil:
		return fmt.Sprintf("through Session Manager, which others measured at about %s: %s", rate(float64(w.rate)), text), nil
	case takes <= w.tunnel.Longest:
		return "", nil
	case s.Source == acquire.MethodKcore:
		return fmt.Sprintf("%s, and a tunnel through %s lasts %s: /proc/kcore is read on through new tunnels, each with a login of its own", text, w.Endpoint, short(w.tunnel.Longest)), nil
	}
	return "", &hinted{fmt.Errorf("a tunnel through %s lasts %s, and %s (by --ec2-tunnel-rate): the image would be cut", w.Endpoint, short(w.tunnel.Longest), text),
		"capture from a machine in its VPC, or over a jump host there, with --ec2-connect " + ec2connect.WayPush + "; --method kcore goes on through new tunnels; a higher --ec2-tunnel-rate if you know that this tunnel carries it"}
}
