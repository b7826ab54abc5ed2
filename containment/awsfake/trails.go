package awsfake

import (
	"encoding/json"
	"strings"
	"time"
)

// A Trail is one of CloudTrail, in its home region.
type Trail struct {
	Name, Bucket                   string
	AllRegions, Global, Validation bool
	Logging                        bool
	Delivered, Digest              time.Time // zero: never
	Error                          string    // of delivery
	// Selectors is what it records, as GetEventSelectors answers; empty: all management events.
	Selectors string

	arn, home string
}

// AddTrail makes a trail that is at home in the region.
func (r *Region) AddTrail(t Trail) *Trail {
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	t.arn, t.home = "arn:aws:cloudtrail:"+r.Name+":"+r.account.ID+":trail/"+t.Name, r.Name
	r.Posture.Trails = append(r.Posture.Trails, &t)
	return &t
}

// trailOps are the calls about trails.
var trailOps = map[string]operation{
	"DescribeTrails": {do: func(r *Request) (any, error) {
		list := []map[string]any{}
		for _, t := range r.trails() {
			list = append(list, map[string]any{"Name": t.Name, "TrailARN": t.arn, "S3BucketName": t.Bucket, "HomeRegion": t.home, "IsMultiRegionTrail": t.AllRegions,
				"IncludeGlobalServiceEvents": t.Global, "LogFileValidationEnabled": t.Validation})
		}
		return map[string]any{"trailList": list}, nil
	}},
	"GetTrailStatus": {do: func(r *Request) (any, error) {
		t, err := r.trail("Name")
		if err != nil {
			return nil, err
		}
		out := map[string]any{"IsLogging": t.Logging}
		for name, at := range map[string]time.Time{"LatestDeliveryTime": t.Delivered, "LatestDigestDeliveryTime": t.Digest} {
			if !at.IsZero() {
				out[name] = at.Unix()
			}
		}
		if t.Error != "" {
			out["LatestDeliveryError"] = t.Error
		}
		return out, nil
	}},
	"GetEventSelectors": {do: func(r *Request) (any, error) {
		t, err := r.trail("TrailName")
		if err != nil {
			return nil, err
		}
		if t.home != r.Region.Name {
			return nil, fail("InvalidHomeRegionException", "This operation is only allowed in the home region of the trail.")
		}
		out := map[string]any{"TrailARN": t.arn}
		text := t.Selectors
		if text == "" {
			text = `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[]}]}`
		}
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			return nil, fail("InternalError", "%v", err)
		}
		return out, nil
	}},
}

// trails are those that the region shows: its own, and the shadows of others.
func (r *Request) trails() (list []*Trail) {
	for _, name := range sorted(r.Account.regions) {
		for _, t := range r.Account.regions[name].Posture.Trails {
			if t.home == r.Region.Name || t.AllRegions {
				list = append(list, t)
			}
		}
	}
	return list
}

// trail is that of a request, by name at home, by ARN anywhere that it is shown.
func (r *Request) trail(field string) (*Trail, error) {
	var in map[string]any
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return nil, fail("SerializationException", "%v", err)
	}
	name, _ := in[field].(string)
	for _, t := range r.trails() {
		if t.arn == name || t.home == r.Region.Name && t.Name == name {
			return t, nil
		}
	}
	return nil, fail("TrailNotFoundException", "Unknown trail: %s", strings.TrimSpace(name))
}
