package awsfake

import "encoding/json"

// A TrailEvent is what CloudTrail knows of a call, in the region where it was made.
type TrailEvent struct {
	AccessKey string // that it was made with
	Resource  string // that it is about, such as the access key that it made
	JSON      string
}

func trailService() *service {
	return &service{prefix: "cloudtrail", proto: targetJSON, ops: map[string]operation{"LookupEvents": {do: lookupEvents}}}
}

func lookupEvents(r *Request) (any, error) {
	var in struct {
		LookupAttributes []struct{ AttributeKey, AttributeValue string }
		MaxResults       int
	}
	if err := json.Unmarshal(r.Body, &in); err != nil || len(in.LookupAttributes) != 1 {
		return nil, fail("InvalidLookupAttributesException", "one attribute must be given")
	}
	events := []map[string]string{}
	for _, e := range r.Region.Trail {
		value := map[string]string{"AccessKeyId": e.AccessKey, "ResourceName": e.Resource}[in.LookupAttributes[0].AttributeKey]
		if value == in.LookupAttributes[0].AttributeValue && (in.MaxResults == 0 || len(events) < in.MaxResults) {
			events = append(events, map[string]string{"CloudTrailEvent": e.JSON})
		}
	}
	return map[string]any{"Events": events}, nil
}
