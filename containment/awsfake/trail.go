package awsfake

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A TrailEvent is what CloudTrail knows of a call, in the region where it was made. What the fields leave out is read from
// the JSON.
type TrailEvent struct {
	AccessKey string   // that it was made with
	Resource  string   // that it is about, such as the access key that it made
	Resources []string // more of them
	User      string   // that made it: a user's name, or a session's
	JSON      string
}

// TrailThrottled is how CloudTrail refuses a third look-up within a second in a region.
var TrailThrottled = &Error{Code: "ThrottlingException", Message: "Rate exceeded", Status: http.StatusBadRequest}

// What CloudTrail keeps, and gives at once.
const (
	trailKeeps = 90 * 24 * time.Hour
	trailPage  = 50
)

func trailService() *service {
	return &service{prefix: "cloudtrail", proto: targetJSON, ops: map[string]operation{"LookupEvents": {do: lookupEvents}}}
}

// lookup is a request of LookupEvents. Times are seconds.
type lookup struct {
	LookupAttributes   []struct{ AttributeKey, AttributeValue string }
	MaxResults         int
	NextToken          string
	StartTime, EndTime float64
}

// token names the place to go on at, and holds for the same question alone.
func (l lookup) token(at int) string {
	l.NextToken, l.MaxResults = "", 0
	return strconv.Itoa(at) + "." + string(mustJSON(l))
}

// lookupEvents answers as CloudTrail does: one attribute at most, the latest first, 50 at a time, nothing older than 90 days.
func lookupEvents(r *Request) (any, error) {
	var in lookup
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return nil, fail("SerializationException", "%v", err)
	}
	if len(in.LookupAttributes) > 1 {
		return nil, fail("InvalidLookupAttributesException", "You can specify only one attribute")
	}
	if in.MaxResults < 0 || in.MaxResults > trailPage {
		return nil, fail("InvalidMaxResultsException", "A maximum results value of %d is invalid. Specify a value between 1 and 50.", in.MaxResults)
	}
	if in.EndTime != 0 && in.StartTime > in.EndTime {
		return nil, fail("InvalidTimeRangeException", "The start time is after the end time")
	}
	var found []map[string]any
	for _, e := range r.Region.Trail {
		k := e.read()
		seconds := float64(k.at.UnixNano()) / 1e9
		switch {
		case !k.at.IsZero() && (seconds < in.StartTime || in.EndTime != 0 && seconds > in.EndTime || k.at.Before(r.Cloud.now.Add(-trailKeeps))):
			continue
		case len(in.LookupAttributes) == 1 && !slices.Contains(k.attributes[in.LookupAttributes[0].AttributeKey], in.LookupAttributes[0].AttributeValue):
			continue
		}
		one := map[string]any{"CloudTrailEvent": e.JSON, "EventId": k.id, "EventName": k.name, "AccessKeyId": k.key, "Username": k.user}
		if !k.at.IsZero() {
			one["EventTime"] = seconds
		}
		found = append(found, one)
	}
	from := 0
	if in.NextToken != "" {
		text, _, _ := strings.Cut(in.NextToken, ".")
		var err error
		if from, err = strconv.Atoi(text); err != nil || in.NextToken != in.token(from) || from > len(found) {
			return nil, fail("InvalidNextTokenException", "A token from a previous call that was used in a different request")
		}
	}
	n := trailPage
	for _, limit := range []int{in.MaxResults, r.Cloud.PageSize} {
		if limit > 0 {
			n = min(n, limit)
		}
	}
	out := map[string]any{"Events": append([]map[string]any{}, found[from:min(from+n, len(found))]...)}
	if from+n < len(found) {
		out["NextToken"] = in.token(from + n)
	}
	return out, nil
}

// known is what CloudTrail says of an event beside its JSON.
type known struct {
	id, name, key, user string
	at                  time.Time
	attributes          map[string][]string
}

func (e TrailEvent) read() known {
	var j struct {
		EventID, EventName, EventSource string
		EventTime                       time.Time
		ReadOnly                        bool
		UserIdentity                    struct{ UserName, AccessKeyID, ARN string }
	}
	json.Unmarshal([]byte(e.JSON), &j) //nolint:errcheck // a test may have it hold anything
	k := known{id: j.EventID, name: j.EventName, key: e.AccessKey, user: e.User, at: j.EventTime}
	if k.key == "" {
		k.key = j.UserIdentity.AccessKeyID
	}
	if k.user == "" {
		k.user = j.UserIdentity.UserName
	}
	if _, session, ok := strings.Cut(j.UserIdentity.ARN, ":assumed-role/"); ok && k.user == "" {
		_, k.user, _ = strings.Cut(session, "/")
	}
	k.attributes = map[string][]string{
		"AccessKeyId": {k.key}, "EventId": {k.id}, "EventName": {k.name}, "EventSource": {j.EventSource}, "Username": {k.user},
		"ReadOnly": {strconv.FormatBool(j.ReadOnly)}, "ResourceName": append([]string{e.Resource}, e.Resources...),
	}
	return k
}
