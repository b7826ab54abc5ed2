package awsfake

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// A LogLine is one of a log group.
type LogLine struct {
	Stream  string
	Time    time.Time
	Message string
}

// describeLogGroups answers groups of a year before the start, kept for ever, unless Region.LogGroups says otherwise.
func describeLogGroups(r *Request) (any, error) {
	var in struct{ LogGroupNamePrefix string }
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return nil, fail("SerializationException", "%v", err)
	}
	all := []map[string]any{}
	for _, name := range sorted(r.Region.Logs) {
		if !strings.HasPrefix(name, in.LogGroupNamePrefix) {
			continue
		}
		g := r.Region.LogGroups[name]
		stored := 0
		for _, l := range r.Region.Logs[name] {
			stored += len(l.Message) + 26
		}
		if g.Made.IsZero() {
			g.Made = Start.AddDate(-1, 0, 0)
		}
		one := map[string]any{"logGroupName": name, "creationTime": g.Made.UnixMilli(), "storedBytes": stored}
		if g.Days > 0 {
			one["retentionInDays"] = g.Days
		}
		all = append(all, one)
	}
	page, next, err := jsonPage(r, all, "limit", "nextToken")
	if err != nil {
		return nil, err
	}
	out := map[string]any{"logGroups": page}
	if next != "" {
		out["nextToken"] = next
	}
	return out, nil
}

// A LogGroup is what is set of a log group.
type LogGroup struct {
	Made time.Time // zero: a year before the start
	Days int       // that lines are kept; 0: for ever
}

// logsService is CloudWatch Logs.
func logsService() *service {
	return &service{prefix: "logs", proto: targetJSON, ops: map[string]operation{"DescribeLogGroups": {do: describeLogGroups}, "FilterLogEvents": {do: filterLogEvents, on: func(r *Request) []string {
		var in struct{ LogGroupName string }
		json.Unmarshal(r.Body, &in) //nolint:errcheck // the operation says so
		return []string{"arn:" + r.Account.partition() + ":logs:" + r.Region.Name + ":" + r.Account.ID + ":log-group:" + in.LogGroupName + ":*"}
	}}}}
}

// filterLogEvents gives pages, some of which are empty though more follow, as the real one's.
func filterLogEvents(r *Request) (any, error) {
	var in struct {
		LogGroupName, LogStreamNamePrefix, NextToken string
		StartTime, EndTime                           int64
	}
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return nil, fail("SerializationException", "%v", err)
	}
	lines, ok := r.Region.Logs[in.LogGroupName]
	if !ok {
		return nil, fail("ResourceNotFoundException", "The specified log group does not exist.")
	}
	events := []map[string]any{}
	for _, l := range lines {
		if at := l.Time.UnixMilli(); strings.HasPrefix(l.Stream, in.LogStreamNamePrefix) && at >= in.StartTime && (in.EndTime == 0 || at < in.EndTime) {
			events = append(events, map[string]any{"logStreamName": l.Stream, "timestamp": at, "message": l.Message})
		}
	}
	if n := r.Cloud.PageSize; n > 0 {
		from := -n // the first page is empty
		if in.NextToken != "" {
			from, _ = strconv.Atoi(in.NextToken)
		}
		to := min(max(from+n, 0), len(events))
		out := map[string]any{"events": events[max(from, 0):to]}
		if to < len(events) {
			out["nextToken"] = strconv.Itoa(from + n)
		}
		return out, nil
	}
	return map[string]any{"events": events}, nil
}
