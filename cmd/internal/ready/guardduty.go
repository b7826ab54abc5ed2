package ready

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/guardduty/types"
)

var guardDuty = Check{
	ID: "guardduty", Title: "GuardDuty is on",
	Why:      "It sees DNS, flow and CloudTrail data that is kept nowhere else, and its findings say which host and key to begin with. An attacker who turns it off is seen by what is missing.",
	Severity: Medium, Prowler: "guardduty_is_enabled",
	Fix:     "aws guardduty create-detector --enable --region {region}",
	Actions: []string{"guardduty:ListDetectors", "guardduty:GetDetector"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		ids, err := s.detectors(ctx)
		if err != nil {
			return nil, err
		}
		list := each(ctx, ids, func(ctx context.Context, id string) Finding {
			out, err := s.detector(ctx, id)
			switch {
			case err != nil:
				return unknown(id, err)
			case out.Status != types.DetectorStatusEnabled:
				return fail(id, "it is suspended")
			}
			return pass(id, "it is on")
		})
		return []Finding{oneOf(s.Region, "there is no detector", list)}, nil
	},
}
