package flowlogs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// lineStep is how exactly it is kept when a log had lines.
const lineStep = 5 * time.Minute

// readGroup reads a log group: the streams of the instance's interfaces, whose names are theirs with what traffic the log records. An
// interface has a line in each ten minutes, if only one of no traffic: what has none is a gap.
func (w *work) readGroup(ctx context.Context, api logsAPI, s *scan) error {
	g, err := describeGroup(ctx, api, s.group)
	if g != nil {
		w.before(s, 0, aws.ToInt64(g.StoredBytes))
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		w.missed("how long %s keeps lines: %v", s.group, awsconfig.Explain(err))
	case g != nil:
		s.notBefore(time.UnixMilli(aws.ToInt64(g.CreationTime)))
		if days := aws.ToInt32(g.RetentionInDays); days > 0 {
			s.notBefore(time.Now().AddDate(0, 0, -int(days)))
		}
	}
	until := w.Until
	if until.IsZero() {
		until = time.Now()
	}
	t := w.tally(s, s.form)
	for _, e := range w.i.Interfaces {
		had := map[time.Time]bool{} // of each some minutes
		in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &s.group, LogStreamNamePrefix: aws.String(e + "-" + s.traffic), StartTime: aws.Int64(w.Since.Add(-aggregated).UnixMilli())}
		if !w.Until.IsZero() {
			in.EndTime = aws.Int64(w.Until.UnixMilli())
		}
		for pages := cloudwatchlogs.NewFilterLogEventsPaginator(api, in); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if ctx.Err() != nil {
				return fmt.Errorf("after %d lines: %w", s.Lines, context.Cause(ctx))
			}
			if err != nil {
				return fmt.Errorf("after %d lines: %w", s.Lines, err)
			}
			for _, event := range page.Events {
				at := time.UnixMilli(aws.ToInt64(event.Timestamp)).UTC()
				had[at.Truncate(lineStep)] = true
				if err := t.event(aws.ToString(event.Message), at); err != nil {
					return err
				}
			}
		}
		w.pauses(s, "line of "+e, slices.SortedFunc(maps.Keys(had), time.Time.Compare), until)
	}
	return t.flush()
}

// describeGroup describes a log group; nil if there is none of that name.
func describeGroup(ctx context.Context, api logsAPI, name string) (*types.LogGroup, error) {
	pages := cloudwatchlogs.NewDescribeLogGroupsPaginator(api, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, g := range page.LogGroups {
			if aws.ToString(g.LogGroupName) == name {
				return &g, nil
			}
		}
	}
	return nil, nil
}

// notBefore says that a log has no line of before a time.
func (s *scan) notBefore(t time.Time) {
	if t.After(s.From) {
		s.From = t.UTC().Truncate(time.Second)
	}
}
