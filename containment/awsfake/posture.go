package awsfake

import (
	"encoding/json"
	"maps"
	"strconv"
	"time"
)

// A Posture is what a region records and lets be shared, beside its instances. Its zero value is a region where nobody has
// set anything.
type Posture struct {
	Trails           []*Trail // that are at home in the region
	FlowLogs         []FlowLog
	EncryptByDefault bool
	SnapshotSharing  string                       // "block-all-sharing", "block-new-sharing"; empty: unblocked
	ImageSharing     string                       // "block-new-sharing"; empty: unblocked
	VolumeKeys       map[string]string            // ARNs of keys by volume; a volume without is not encrypted
	Keys             map[string]KMSKey            // by ARN
	Documents        map[string]string            // of Systems Manager, by name
	Detectors        map[string]string            // of GuardDuty: "ENABLED", "DISABLED"
	Features         map[string]string            // of those detectors: "ENABLED", "DISABLED"
	Recorders        []Recorder                   // of AWS Config
	QueryLogs        map[string]string            // of the resolver: "ACTIVE", "FAILED", by VPC
	Firewalls        map[string]string            // of the resolver: "COMPLETE", "UPDATING", by VPC
	Clusters         map[string][]string          // of EKS: the kinds of its logs that are on
	NetworkFirewalls map[string][]string          // the kinds of their logs that go somewhere: "FLOW", "ALERT"
	WebACLs          map[string]bool              // of WAF: whether they are logged
	GlobalWebACLs    map[string]bool              // those of CloudFront, in us-east-1
	Balancers        map[string]map[string]string // attributes by the name of an application load balancer
	Classic          map[string]bool              // Classic Load Balancers, with whether they write access logs
	Databases        map[string]Database          // of RDS: instances
	DatabaseClusters map[string]Database
}

// A FlowLog is one of a VPC, a subnet or an interface.
type FlowLog struct {
	ID, On, Traffic string
	Status          string // default "ACTIVE"
	Error           string // of delivery
	Format          string
	Group, Bucket   string    // where it goes: a log group, or the ARN of a bucket
	Made            time.Time // zero: a year before the start
	// Of a log in a bucket.
	Parquet, Hive, Hourly bool
}

// A KMSKey is a key of KMS.
type KMSKey struct {
	Manager string // "AWS" or "CUSTOMER"
	State   string // default "Enabled"
	Policy  string // empty: the one that AWS gives a new key
}

// A Recorder is one of AWS Config.
type Recorder struct {
	Name      string
	Recording bool
	Status    string // "SUCCESS", "FAILURE", "PENDING"
}

// with adds operations to a service.
func with(s *service, more map[string]operation) *service {
	maps.Copy(s.ops, more)
	return s
}

// jsonPage is the part of a list that a call of a JSON service asks for, and the token of the next; names are what the service calls the two.
func jsonPage[T any](r *Request, all []T, max, token string) (page []T, next string, err error) {
	var in map[string]any
	if len(r.Body) > 0 {
		if err := json.Unmarshal(r.Body, &in); err != nil {
			return nil, "", fail("SerializationException", "%v", err)
		}
	}
	size := r.Cloud.PageSize
	if n, ok := in[max].(float64); ok && n > 0 && (size == 0 || int(n) < size) {
		size = int(n)
	}
	from := 0
	if t, ok := in[token].(string); ok && t != "" {
		if from, err = strconv.Atoi(t); err != nil || from > len(all) {
			return nil, "", fail("InvalidNextTokenException", "The token %q is invalid", t)
		}
	}
	page = append([]T{}, all[from:]...)
	if size > 0 && size < len(page) {
		return page[:size], strconv.Itoa(from + size), nil
	}
	return page, "", nil
}
