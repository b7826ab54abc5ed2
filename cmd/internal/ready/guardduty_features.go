package ready

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/guardduty"
	"github.com/aws/aws-sdk-go-v2/service/guardduty/types"
)

// watched are what GuardDuty can look at beside its own sources: each is a feature that costs, and that is named by what it sees.
var watched = []types.DetectorFeatureResult{
	types.DetectorFeatureResultRuntimeMonitoring, types.DetectorFeatureResultEbsMalwareProtection, types.DetectorFeatureResultS3DataEvents,
	types.DetectorFeatureResultEksAuditLogs, types.DetectorFeatureResultLambdaNetworkLogs,
}

var guardDutyFeatures = Check{
	ID: "guardduty-features", Title: "GuardDuty looks at processes, volumes, S3, EKS and Lambda too",
	Why:      "Without these it sees the network and the API alone: a process that runs, a file on a volume, an object that is read leave no finding. Each costs, and some may not be used in the account.",
	Severity: Low, Prowler: "guardduty_ec2_malware_protection_enabled",
	Fix: `aws guardduty update-detector --detector-id {resource} --features '[{"Name":"RUNTIME_MONITORING","Status":"ENABLED"},{"Name":"EBS_MALWARE_PROTECTION","Status":"ENABLED"},{"Name":"S3_DATA_EVENTS","Status":"ENABLED"},` +
		`{"Name":"EKS_AUDIT_LOGS","Status":"ENABLED"},{"Name":"LAMBDA_NETWORK_LOGS","Status":"ENABLED"}]' --region {region}`,
	Actions: []string{"guardduty:ListDetectors", "guardduty:GetDetector"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		ids, err := s.detectors(ctx)
		return each(ctx, ids, func(ctx context.Context, id string) Finding {
			out, err := s.detector(ctx, id)
			switch {
			case err != nil:
				return unknown(id, err)
			case out.Status != types.DetectorStatusEnabled:
				return without(id, "GuardDuty is suspended")
			}
			var off []string
			for _, name := range watched {
				if !slices.ContainsFunc(out.Features, func(f types.DetectorFeatureConfigurationResult) bool {
					return f.Name == name && f.Status == types.FeatureStatusEnabled
				}) {
					off = append(off, string(name))
				}
			}
			if len(off) > 0 {
				return fail(id, "off: %s", strings.Join(off, ", "))
			}
			return pass(id, "all %d are on", len(watched))
		}), err
	},
}

// detectors are the ids of those of GuardDuty: one, or none where it is not on.
func (s *Site) detectors(ctx context.Context) ([]string, error) {
	return read(ctx, s, "detectors", func(ctx context.Context) ([]string, error) {
		pager := guardduty.NewListDetectorsPaginator(guardduty.NewFromConfig(s.Config), &guardduty.ListDetectorsInput{})
		return pages(ctx, pager, func(o *guardduty.ListDetectorsOutput) []string { return o.DetectorIds })
	})
}

func (s *Site) detector(ctx context.Context, id string) (*guardduty.GetDetectorOutput, error) {
	return read(ctx, s, "detector "+id, func(ctx context.Context) (*guardduty.GetDetectorOutput, error) {
		return guardduty.NewFromConfig(s.Config).GetDetector(ctx, &guardduty.GetDetectorInput{DetectorId: aws.String(id)})
	})
}
