package flowlogs

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
	ID    string `json:"id"`
	On    string `json:"on"` // the VPC, subnet or interface
	To    string `json:"to"` // the log group or the bucket
	Lines int    `json:"lines"`
}

// An ec2API and a logsAPI are what is called: reads, and nothing else.
type ec2API interface {
	DescribeFlowLogs(context.Context, *ec2.DescribeFlowLogsInput, ...func(*ec2.Options)) (*ec2.DescribeFlowLogsOutput, error)
}

type logsAPI interface {
	FilterLogEvents(context.Context, *cloudwatchlogs.FilterLogEventsInput, ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.FilterLogEventsOutput, error)
}

var (
	_ ec2API  = (*ec2.Client)(nil)
	_ logsAPI = (*cloudwatchlogs.Client)(nil)
)

// Of says who talked to an instance. An error is only that ctx ended.
func (r *Reader) Of(ctx context.Context, i *inventory.Instance) (*Talk, error) {
	t := &Talk{}
	missed := func(format string, v ...any) { t.Missing = append(t.Missing, fmt.Sprintf(format, v...)) }
	cfg, err := r.Config(ctx, inventory.Place{Account: i.Account, Region: i.Region}.Target())
	if err != nil {
		missed("flow logs: %v", err)
		return t, nil
	}
	found, err := logsOf(ctx, ec2.NewFromConfig(cfg), i)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		missed("which flow logs there are: %v", awsconfig.Explain(err))
		return t, nil
	}
	if len(found) == 0 {
		missed("there is no flow log of %s, its subnets or its interfaces: who talked to it is on record nowhere", i.VPC)
		return t, nil
	}
	sums := &peers{by: map[netip.Addr]*Peer{}}
	for _, a := range slices.Concat(i.Private, i.Public, i.IPv6) {
		if addr, err := netip.ParseAddr(a); err == nil {
			sums.own = append(sums.own, addr)
		}
	}
	lctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(r.Time, defaultTime), fmt.Errorf("reading took more than %s", cmp.Or(r.Time, defaultTime)))
	defer cancel()
	left := cmp.Or(r.Bytes, defaultBytes)
	read := false
	for _, l := range found {
		one := Log{ID: aws.ToString(l.FlowLogId), On: aws.ToString(l.ResourceId), To: cmp.Or(aws.ToString(l.LogGroupName), aws.ToString(l.LogDestination), string(l.LogDestinationType))}
		f := parseFormat(aws.ToString(l.LogFormat))
		switch {
		case l.TrafficType == types.TrafficTypeReject:
			missed("%s records what was rejected alone", one.ID)
		case f == nil:
			missed("%s does not record who talked to whom: its format is %q", one.ID, aws.ToString(l.LogFormat))
		case read && len(sums.own) > 0 && covered(t.Logs, one):
			missed("%s was not read: another on %s records the same", one.ID, one.On)
		case l.LogDestinationType != types.LogDestinationTypeCloudWatchLogs && l.LogDestinationType != "":
			missed("%s was not read: it goes to %s (%s), and only those in CloudWatch Logs are read", one.ID, l.LogDestinationType, one.To)
		default:
			err := r.group(lctx, cloudwatchlogs.NewFromConfig(cfg), aws.ToString(l.LogGroupName), i.Interfaces, f, sums, &one, &left)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				missed("%s: %v", one.ID, awsconfig.Explain(err))
			}
			read = true
		}
		if e := aws.ToString(l.DeliverLogsErrorMessage); e != "" {
			missed("%s is not delivered whole: %s", one.ID, e)
		}
		t.Logs = append(t.Logs, one)
	}
	if sums.cut {
		missed("there are more than %d peers", maxPeers)
	}
	for _, p := range sums.by {
		t.Peers = append(t.Peers, *p)
	}
	slices.SortFunc(t.Peers, func(a, b Peer) int { return cmp.Or(cmp.Compare(b.In+b.Out, a.In+a.Out), a.Address.Compare(b.Address)) })
	return t, nil
}

// covered reports whether a log on the same thing was read.
func covered(logs []Log, l Log) bool {
	return slices.ContainsFunc(logs, func(have Log) bool { return have.On == l.On && have.Lines > 0 })
}

// logsOf are the flow logs that record an instance's traffic.
func logsOf(ctx context.Context, api ec2API, i *inventory.Instance) (list []types.FlowLog, err error) {
	on := slices.Concat([]string{i.VPC}, i.Subnets, i.Interfaces)
	on = slices.DeleteFunc(on, func(s string) bool { return s == "" })
	if len(on) == 0 {
		return nil, nil
	}
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

// group reads a log group: the streams of the instance's interfaces, whose names begin with theirs.
func (r *Reader) group(ctx context.Context, api logsAPI, group string, interfaces []string, f format, sums *peers, l *Log, left *int64) error {
	for _, e := range interfaces {
		in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group, LogStreamNamePrefix: aws.String(e + "-"), StartTime: aws.Int64(r.Since.UnixMilli())}
		if !r.Until.IsZero() {
			in.EndTime = aws.Int64(r.Until.UnixMilli())
		}
		for pages := cloudwatchlogs.NewFilterLogEventsPaginator(api, in); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if ctx.Err() != nil {
				return fmt.Errorf("after %d lines: %w", l.Lines, context.Cause(ctx))
			}
			if err != nil {
				return err
			}
			for _, event := range page.Events {
				line := aws.ToString(event.Message)
				if *left -= int64(len(line)); *left < 0 {
					return fmt.Errorf("more than %d bytes: the rest was not read, after %d lines", cmp.Or(r.Bytes, defaultBytes), l.Lines)
				}
				l.Lines++
				if x, ok := f.parse(strings.TrimSpace(line)); ok {
					sums.add(x)
				}
			}
		}
	}
	return nil
}
