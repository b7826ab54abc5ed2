package flowlogs

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A Reader reads flow logs. Its fields are set before the first call.
type Reader struct {
	// Config gives the configuration for calls in an account and region, as an inventory.Finder's does.
	Config func(context.Context, containment.Target) (aws.Config, error)
	// Since and Until bound the time.
	Since, Until time.Time
	// Bytes bounds what is read of all logs together, as text; 0: 256 MiB. Time bounds how long it is read; 0: five minutes.
	Bytes int64
	Time  time.Duration
}

const (
	defaultBytes = 256 << 20
	defaultTime  = 5 * time.Minute
)

// Talk is what flow logs say of an instance.
type Talk struct {
	Logs  []Log  `json:"flow_logs,omitempty"` // that were found
	Peers []Peer `json:"peers,omitempty"`     // who moved the most bytes first
	// Missing says what is not known, and why.
	Missing []string `json:"missing,omitempty"`
}

// A Log is a flow log that records an instance's traffic.
type Log struct {
	ID string `json:"id"`
	On string `json:"on"` // the VPC, subnet or interface
	To string `json:"to"` // the log group or the bucket
	// From is since when it can have lines: when it or its log group was made, or as far back as that keeps them.
	From  time.Time `json:"from,omitzero"`
	Lines int       `json:"lines"` // that were read
	// Of the lines: those that stand for flows that AWS lost, those without a flow whose format does not tell whether it lost some, those that are none.
	Skipped int `json:"skipdata,omitempty"`
	Silent  int `json:"silent,omitempty"`
	Bad     int `json:"unreadable,omitempty"`
}

// An ec2API and a logsAPI are what is called: reads, and nothing else.
type ec2API interface {
	DescribeFlowLogs(context.Context, *ec2.DescribeFlowLogsInput, ...func(*ec2.Options)) (*ec2.DescribeFlowLogsOutput, error)
}

type logsAPI interface {
	FilterLogEvents(context.Context, *cloudwatchlogs.FilterLogEventsInput, ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.FilterLogEventsOutput, error)
	DescribeLogGroups(context.Context, *cloudwatchlogs.DescribeLogGroupsInput, ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.DescribeLogGroupsOutput, error)
}

var (
	_ ec2API  = (*ec2.Client)(nil)
	_ logsAPI = (*cloudwatchlogs.Client)(nil)
)

// Of says who talked to an instance. An error is only that ctx ended.
func (r *Reader) Of(ctx context.Context, i *inventory.Instance) (*Talk, error) {
	t := &Talk{}
	if i.VPC == "" {
		t.missed("the VPC of %s is not known (it is %s): its flow logs may well be there, and were not looked for; its event RunInstances in CloudTrail names its subnet and interfaces", i.ID, cmp.Or(i.State, "in no known state"))
		return t, nil
	}
	cfg, err := r.Config(ctx, inventory.Place{Account: i.Account, Region: i.Region}.Target())
	if err != nil {
		t.missed("flow logs: %v", err)
		return t, nil
	}
	found, err := logsOf(ctx, ec2.NewFromConfig(cfg), i)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		t.missed("which flow logs there are: %v", awsconfig.Explain(err))
		return t, nil
	}
	if len(found) == 0 {
		t.missed("there is no flow log of %s, its subnets or its interfaces: who talked to it is on record nowhere", i.VPC)
		return t, nil
	}
	w := &work{Reader: r, Talk: t, i: i, cfg: cfg, left: cmp.Or(r.Bytes, defaultBytes), since: r.Since}
	if i.Created.After(w.since) {
		w.since = i.Created // before, there was nothing to record
	}
	for _, a := range slices.Concat(i.Private, i.Public, i.IPv6) {
		if addr, err := netip.ParseAddr(a); err == nil {
			w.own = append(w.own, addr)
		}
	}
	lctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(r.Time, defaultTime), fmt.Errorf("reading took more than %s", cmp.Or(r.Time, defaultTime)))
	defer cancel()
	for _, l := range found {
		w.read(lctx, l)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	w.finish()
	return t, nil
}

func (t *Talk) missed(format string, v ...any) {
	t.Missing = append(t.Missing, fmt.Sprintf(format, v...))
}

// logsOf are the flow logs that record an instance's traffic: those of the VPC first, then of subnets, of one thing the oldest first.
func logsOf(ctx context.Context, api ec2API, i *inventory.Instance) (list []types.FlowLog, err error) {
	on := slices.Concat([]string{i.VPC}, i.Subnets, i.Interfaces)
	pages := ec2.NewDescribeFlowLogsPaginator(api, &ec2.DescribeFlowLogsInput{Filter: []types.Filter{{Name: aws.String("resource-id"), Values: on}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, page.FlowLogs...)
	}
	rank := func(l types.FlowLog) int { return slices.Index(on, aws.ToString(l.ResourceId)) }
	slices.SortStableFunc(list, func(a, b types.FlowLog) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), aws.ToTime(a.CreationTime).Compare(aws.ToTime(b.CreationTime)))
	})
	return list, nil
}
