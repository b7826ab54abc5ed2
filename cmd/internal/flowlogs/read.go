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
	// Bytes bounds what is read of all logs together, as text; 0: DefaultBytes. Time bounds how long it is read; 0: five minutes for each GiB
	// of Bytes, and no less.
	Bytes int64
	Time  time.Duration
	// Before, if it is set, is told what reading a log takes, before it is read.
	Before func(Cost)
}

// A Cost is what reading a log takes.
type Cost struct {
	ID, To string
	Files  int   // that are fetched; 0: it is in CloudWatch Logs
	Stored int64 // bytes of the files, compressed, as the network has them; of a log group, all that it stores, of which some is read
	Most   int64 // bytes of text that are read at most
}

// DefaultBytes is what is read of logs if Reader.Bytes does not say: some 8 million lines.
const DefaultBytes = 1 << 30

const defaultTime = 5 * time.Minute

// bounds are what may be read, and for how long.
func (r *Reader) bounds() (int64, time.Duration) {
	n := cmp.Or(r.Bytes, DefaultBytes)
	return n, cmp.Or(r.Time, max(defaultTime, time.Duration(float64(defaultTime)*float64(n)/(1<<30))))
}

// before tells what reading a log takes.
func (w *work) before(s *scan, files int, stored int64) {
	if w.Before != nil {
		w.Before(Cost{ID: s.ID, To: s.To, Files: files, Stored: stored, Most: w.left})
	}
}

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
	// Of the lines: those that stand for flows that AWS lost, those without a flow whose format does not tell whether it lost some, those of its
	// interfaces without an address that the instance has now, those that are none.
	Skipped int `json:"skipdata,omitempty"`
	Silent  int `json:"silent,omitempty"`
	Others  int `json:"other_addresses,omitempty"`
	Bad     int `json:"unreadable,omitempty"`
}

// An ec2API and a logsAPI are what is called: reads, and nothing else.
type ec2API interface {
	DescribeFlowLogs(context.Context, *ec2.DescribeFlowLogsInput, ...func(*ec2.Options)) (*ec2.DescribeFlowLogsOutput, error)
	DescribeTransitGatewayAttachments(context.Context, *ec2.DescribeTransitGatewayAttachmentsInput, ...func(*ec2.Options)) (*ec2.DescribeTransitGatewayAttachmentsOutput, error)
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
	api := ec2.NewFromConfig(cfg)
	found, err := logsOf(ctx, api, i)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		t.missed("which flow logs there are: %v", awsconfig.Explain(err))
		return t, nil
	}
	most, long := r.bounds()
	w := &work{Reader: r, Talk: t, i: i, cfg: cfg, left: most, since: r.Since}
	if len(found) == 0 {
		t.missed("there is no flow log of %s, its subnets or its interfaces in account %s: who talked to it is on record only if one was deleted and its bucket or log group is still there "+
			"(DeleteFlowLogs in CloudTrail), or if another account shares the VPC with this one and has one", i.VPC, i.Account)
	}
	if i.Created.After(w.since) {
		w.since = i.Created // before, there was nothing to record
	}
	for _, a := range slices.Concat(i.Private, i.Public, i.IPv6) {
		if addr, err := netip.ParseAddr(a); err == nil {
			w.own = append(w.own, addr)
		}
	}
	lctx, cancel := context.WithTimeoutCause(ctx, long, fmt.Errorf("reading took more than %s", long))
	defer cancel()
	for _, l := range found {
		w.read(lctx, l)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	w.finish()
	if !w.told() {
		w.transits(ctx, api)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return t, nil
}

func (t *Talk) missed(format string, v ...any) {
	t.Missing = append(t.Missing, fmt.Sprintf(format, v...))
}

// logsOf are the flow logs that record an instance's traffic: those of the VPC first, then of subnets, of one thing the oldest first.
func logsOf(ctx context.Context, api ec2API, i *inventory.Instance) (list []types.FlowLog, err error) {
	on := slices.Concat([]string{i.VPC}, i.Subnets, i.Interfaces)
	if list, err = logsOn(ctx, api, on); err != nil {
		return nil, err
	}
	rank := func(l types.FlowLog) int { return slices.Index(on, aws.ToString(l.ResourceId)) }
	slices.SortStableFunc(list, func(a, b types.FlowLog) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), aws.ToTime(a.CreationTime).Compare(aws.ToTime(b.CreationTime)))
	})
	return list, nil
}

// logsOn are the flow logs of resources.
func logsOn(ctx context.Context, api ec2API, on []string) (list []types.FlowLog, err error) {
	pages := ec2.NewDescribeFlowLogsPaginator(api, &ec2.DescribeFlowLogsInput{Filter: []types.Filter{{Name: aws.String("resource-id"), Values: on}}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, page.FlowLogs...)
	}
	return list, nil
}
