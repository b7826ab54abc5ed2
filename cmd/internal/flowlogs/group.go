package flowlogs

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// readGroup reads a log group: the streams of the instance's interfaces, whose names begin with theirs.
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
	t := w.tally(s, s.form)
	for _, e := range w.i.Interfaces {
		in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &s.group, LogStreamNamePrefix: aws.String(e + "-"), StartTime: aws.Int64(w.Since.Add(-aggregated).UnixMilli())}
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
				if err := t.event(aws.ToString(event.Message), time.UnixMilli(aws.ToInt64(event.Timestamp))); err != nil {
					return err
				}
			}
		}
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
