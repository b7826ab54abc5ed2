package ready

import (
	"context"
	"slices"
)

// manyShare is from how many instances on a role is shared widely.
const manyShare = 10

var sharedRole = Check{
	ID: "shared-role", Title: "no role is shared by many instances",
	Why:      "What one instance's role did cannot be told apart by role alone, and who denies the role to contain one instance stops all of them. shotglass contain denies by instance; other tools do not.",
	Severity: Low,
	Fix:      "aws ec2 describe-instances --filters Name=iam-instance-profile.arn,Values={resource} --region {region} lists them; give services roles of their own",
	Actions:  []string{"ec2:DescribeInstances"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		all, err := s.instances(ctx)
		count := map[string]int{}
		var profiles []string
		for _, i := range all {
			if i.Profile != "" {
				if count[i.Profile]++; count[i.Profile] == 1 {
					profiles = append(profiles, i.Profile)
				}
			}
		}
		slices.Sort(profiles)
		for _, p := range profiles {
			if count[p] >= manyShare {
				list = append(list, fail(p, "%d instances share it", count[p]))
			} else {
				list = append(list, pass(p, "%d instances", count[p]))
			}
		}
		return list, err
	},
}
