package evidencebucket

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// ruleID is the name of our rule.
const ruleID = "shotglass-stale-uploads"

func rules(s *settings) []types.LifecycleRule {
	if s.lifecycle.v == nil {
		return nil
	}
	return *s.lifecycle.v
}

// whole reports whether a rule is about all objects.
func whole(r types.LifecycleRule) bool {
	if r.Prefix != nil && *r.Prefix != "" { //nolint:staticcheck // old rules have it
		return false
	}
	f := r.Filter
	return f == nil || aws.ToString(f.Prefix) == "" && f.Tag == nil && f.And == nil && f.ObjectSizeGreaterThan == nil && f.ObjectSizeLessThan == nil
}

// endsUploads are the days after which enabled rules end unfinished uploads: the fewest of any rule, and whether one is about all
// of the bucket. 0: none does.
func endsUploads(list []types.LifecycleRule) (days int32, all bool) {
	for _, r := range list {
		if a := r.AbortIncompleteMultipartUpload; r.Status == types.ExpirationStatusEnabled && a != nil && a.DaysAfterInitiation != nil {
			if days == 0 || *a.DaysAfterInitiation < days {
				days = *a.DaysAfterInitiation
			}
			all = all || whole(r)
		}
	}
	return days, all
}

func uploadsText(list []types.LifecycleRule) (bool, string) {
	days, all := endsUploads(list)
	switch {
	case days == 0:
		return false, "unfinished uploads stay for ever"
	case days < LeastDays:
		return false, fmt.Sprintf("a rule ends unfinished uploads after %d days, fewer than the %d in which shotglass upload may still have to finish one", days, LeastDays)
	case !all:
		return false, "unfinished uploads are ended in a part of the bucket only"
	}
	return true, fmt.Sprintf("unfinished uploads are ended after %d days", days)
}

func expiryText(list []types.LifecycleRule) (bool, string) {
	var bad []string
	for _, r := range list {
		e := r.Expiration
		if r.Status == types.ExpirationStatusEnabled && (e != nil && (e.Days != nil || e.Date != nil) || r.NoncurrentVersionExpiration != nil) {
			bad = append(bad, fmt.Sprintf("%q", aws.ToString(r.ID)))
		}
	}
	if len(bad) > 0 {
		return false, "objects expire by the rules " + strings.Join(bad, ", ")
	}
	return true, "no rule expires objects"
}
