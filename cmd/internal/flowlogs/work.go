package flowlogs

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A work is the reading of the logs of an instance.
type work struct {
	*Reader
	*Talk
	i     *inventory.Instance
	cfg   aws.Config
	own   []netip.Addr
	since time.Time // from then on a log should have lines
	scans []*scan   // that were read
	gaps  []gap

	mu   sync.Mutex // guards what follows, and a scan's lines and sums, while files are read
	left int64      // bytes that may still be read
}

// A stopError ends the reading of a log.
type stopError struct{ why string }

func (e *stopError) Error() string { return e.why }

// A scan is a log as it is read.
type scan struct {
	*Log
	group   string // of CloudWatch Logs
	traffic string // all or accept: how the names of its streams end
	form    *format
	sums    *peers
	whole   bool // all that it should have was read, and nothing is missing
}

// A gap is what a log does not have. It does not matter if another log that was read whole has it.
type gap struct{ on, why string }

// read reads a log, as far as it tells anything.
func (w *work) read(ctx context.Context, l types.FlowLog) {
	s := &scan{Log: logOf(l), group: aws.ToString(l.LogGroupName), traffic: strings.ToLower(string(l.TrafficType)), form: parseFormat(aws.ToString(l.LogFormat)), sums: &peers{own: w.own, by: map[netip.Addr]*Peer{}}}
	defer func() { w.Logs = append(w.Logs, *s.Log) }()
	before, gaps := len(w.Missing), len(w.gaps)
	if e := aws.ToString(l.DeliverLogsErrorMessage); e != "" {
		w.missed("%s is not delivered whole: %s", s.ID, e)
	}
	switch {
	case s.form == nil:
		w.gap(s, "%s does not record who talked to whom: its format is %q", s.ID, aws.ToString(l.LogFormat))
		return
	case l.TrafficType == types.TrafficTypeReject:
		w.gap(s, "%s records what was rejected alone", s.ID)
		return
	}
	p, inS3 := w.placeOf(l)
	inS3 = inS3 && l.LogDestinationType == types.LogDestinationTypeS3
	if !inS3 && s.group == "" {
		w.gap(s, "%s", notRead(s, l))
		return
	}
	if k := slices.IndexFunc(w.scans, func(have *scan) bool { return !inS3 && have.group == s.group && have.traffic == s.traffic }); k >= 0 {
		w.missed("%s and %s write to the same streams of %s: lines of both were counted, and bytes and flows may be twice what they were", w.scans[k].ID, s.ID, s.group)
		return
	}
	if slices.ContainsFunc(w.scans, func(have *scan) bool { return have.whole && w.covers(have, s.On) && have.form.hasAll(s.form) }) {
		return // it has nothing more
	}
	w.scans = append(w.scans, s)
	var err error
	if inS3 {
		err = w.readBucket(ctx, s, p)
		w.tellOther(s)
	} else {
		err = w.readGroup(ctx, cloudwatchlogs.NewFromConfig(w.cfg), s)
	}
	if err != nil {
		w.missed("%s: %v", s.ID, awsconfig.Explain(err))
	}
	w.tell(s, l)
	s.whole = len(w.Missing) == before && len(w.gaps) == gaps
}

// tell says what the lines of a log leave open.
func (w *work) tell(s *scan, l types.FlowLog) {
	if s.From.After(w.since) {
		w.gap(s, "%s has nothing of before %s", s.ID, s.From.Format(time.RFC3339))
	}
	if s.Skipped > 0 {
		w.missed("%s: of %d lines %d are SKIPDATA: AWS lost flows", s.ID, s.Lines, s.Skipped)
	}
	if s.Silent > 0 {
		w.missed("%s: of %d lines %d have no flow, and its format has no log-status: there was no traffic, or AWS lost flows", s.ID, s.Lines, s.Silent)
	}
	if s.Others > 0 {
		w.missed("%s: of %d lines of the instance's interfaces %d have none of the addresses that it has now: who talked to those that it had before is not among the peers", s.ID, s.Lines, s.Others)
	}
	if s.Bad > 0 {
		w.missed("%s: of %d lines %d cannot be read by its format", s.ID, s.Lines, s.Bad)
	}
	if !s.form.has(startField) && !s.form.has(endField) && s.group == "" {
		w.missed("%s does not record when: flows of some minutes before and after the time may be counted", s.ID)
	}
	if !s.form.has(actionField) && l.TrafficType != types.TrafficTypeAccept {
		w.missed("%s does not record what was rejected: its flows were counted as if they had been let through", s.ID)
	}
}

// covers reports whether a log of one thing records all traffic of another.
func (w *work) covers(s *scan, on string) bool { return s.On == on || s.On == w.i.VPC }

// gap keeps what a log does not have until it is known whether another has it.
func (w *work) gap(s *scan, format string, v ...any) {
	w.gaps = append(w.gaps, gap{s.On, fmt.Sprintf(format, v...)})
}

// tellOther says if the lines of a file cannot be told from those of who was talked to.
func (w *work) tellOther(s *scan) {
	if !s.form.has(interfaceID) && !s.form.has(instanceID) && !slices.Contains(w.i.Interfaces, s.On) {
		w.missed("%s records neither interface-id nor instance-id: flows within %s were recorded at both ends, and may be counted twice", s.ID, s.On)
	}
}

// told reports whether logs that were read whole have all traffic of the instance: that of its VPC, those of all its subnets, or of all its interfaces.
func (w *work) told() bool {
	whole := func(on string) bool {
		return slices.ContainsFunc(w.scans, func(s *scan) bool { return s.whole && s.On == on })
	}
	all := func(on []string) bool {
		return len(on) > 0 && !slices.ContainsFunc(on, func(on string) bool { return !whole(on) })
	}
	return whole(w.i.VPC) || all(w.i.Subnets) || all(w.i.Interfaces)
}

// finish adds the logs up. Those of the VPC, its subnets and its interfaces record the same flows, as do two of one thing; those of two subnets, or two interfaces, do not.
func (w *work) finish() {
	for _, g := range w.gaps {
		if !slices.ContainsFunc(w.scans, func(s *scan) bool { return s.whole && w.covers(s, g.on) }) {
			w.missed("%s", g.why)
		}
	}
	on := map[string]*peers{}
	for _, s := range w.scans {
		sumOf(on, s.On).join(s.sums, false)
	}
	levels := map[string]*peers{}
	for name, p := range on {
		level := "interfaces"
		switch {
		case name == w.i.VPC:
			level = "VPC"
		case slices.Contains(w.i.Subnets, name):
			level = "subnets"
		}
		sumOf(levels, level).join(p, true)
	}
	all := sumOf(map[string]*peers{}, "")
	for _, p := range levels {
		all.join(p, false)
	}
	if all.cut {
		w.missed("there are more than %d peers", maxPeers)
	}
	for _, p := range all.by {
		w.Peers = append(w.Peers, *p)
	}
	slices.SortFunc(w.Peers, func(a, b Peer) int { return cmp.Or(cmp.Compare(b.In+b.Out, a.In+a.Out), a.Address.Compare(b.Address)) })
}

func sumOf(by map[string]*peers, name string) *peers {
	if by[name] == nil {
		by[name] = &peers{by: map[netip.Addr]*Peer{}}
	}
	return by[name]
}

func logOf(l types.FlowLog) *Log {
	return &Log{
		ID: aws.ToString(l.FlowLogId), On: aws.ToString(l.ResourceId), From: aws.ToTime(l.CreationTime).UTC(),
		To: cmp.Or(aws.ToString(l.LogGroupName), aws.ToString(l.LogDestination), string(l.LogDestinationType)),
	}
}
