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

// logsService is CloudWatch Logs.
func logsService() *service {
	return &service{prefix: "logs", proto: targetJSON, ops: map[string]operation{"FilterLogEvents": {do: filterLogEvents, on: func(r *Request) []string {
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
