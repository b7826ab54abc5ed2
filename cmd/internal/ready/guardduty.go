package ready

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/guardduty"
	"github.com/aws/aws-sdk-go-v2/service/guardduty/types"
)

var guardDuty = Check{
	ID: "guardduty", Title: "GuardDuty is on",
	Why:      "It sees DNS, flow and CloudTrail data that is kept nowhere else, and its findings say which host and key to begin with. An attacker who turns it off is seen by what is missing.",
	Severity: Medium, Prowler: "guardduty_is_enabled",
	Fix:     "aws guardduty create-detector --enable --region {region}",
	Actions: []string{"guardduty:ListDetectors", "guardduty:GetDetector"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		api := guardduty.NewFromConfig(s.Config)
		ids, err := pages(ctx, guardduty.NewListDetectorsPaginator(api, &guardduty.ListDetectorsInput{}), func(o *guardduty.ListDetectorsOutput) []string { return o.DetectorIds })
		if err != nil {
			return nil, err
		}
		list := each(ctx, ids, func(ctx context.Context, id string) Finding {
			out, err := api.GetDetector(ctx, &guardduty.GetDetectorInput{DetectorId: aws.String(id)})
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
