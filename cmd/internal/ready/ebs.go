package ready

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

var ebsEncryption = Check{
	ID: "ebs-encryption", Title: "new volumes are encrypted by default",
	Why:      "A snapshot of a volume that is not encrypted can be copied by anybody who it is shared with, evidence and stolen data alike.",
	Severity: Medium, Prowler: "ec2_ebs_default_encryption",
	Fix:     "aws ec2 enable-ebs-encryption-by-default --region {region}",
	Actions: []string{"ec2:GetEbsEncryptionByDefault"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		out, err := ec2.NewFromConfig(s.Config).GetEbsEncryptionByDefault(ctx, &ec2.GetEbsEncryptionByDefaultInput{})
		switch {
		case err != nil:
			return nil, err
		case out.EbsEncryptionByDefault == nil:
			return nil, errors.New("EC2 did not say")
		case !*out.EbsEncryptionByDefault:
			return []Finding{fail(s.Region, "off")}, nil
		}
		return []Finding{pass(s.Region, "on")}, nil
	},
}

var snapshotPublic = Check{
	ID: "snapshot-public", Title: "snapshots cannot be shared with everybody",
	Why:      "Sharing a snapshot publicly is how volumes are stolen with one call, and how evidence leaks by one slip.",
	Severity: High, Prowler: "ec2_ebs_snapshot_account_block_public_access",
	Fix:     "aws ec2 enable-snapshot-block-public-access --state block-all-sharing --region {region}",
	Actions: []string{"ec2:GetSnapshotBlockPublicAccessState"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		out, err := ec2.NewFromConfig(s.Config).GetSnapshotBlockPublicAccessState(ctx, &ec2.GetSnapshotBlockPublicAccessStateInput{})
		if err != nil {
			return nil, err
		}
		switch out.State {
		case types.SnapshotBlockPublicAccessStateBlockAllSharing:
			return []Finding{pass(s.Region, "blocked")}, nil
		case types.SnapshotBlockPublicAccessStateBlockNewSharing:
			return []Finding{pass(s.Region, "new sharing is blocked; what was public before still is")}, nil
		case types.SnapshotBlockPublicAccessStateUnblocked:
			return []Finding{fail(s.Region, "not blocked")}, nil
		}
		return nil, errors.New("EC2 says " + string(out.State))
	},
}

var imagePublic = Check{
	ID: "ami-public", Title: "AMIs cannot be shared with everybody",
	Why:      "An AMI is a disk: shared publicly, it gives away what is on it.",
	Severity: Low, Prowler: "ec2_ami_account_block_public_access",
	Fix:     "aws ec2 enable-image-block-public-access --image-block-public-access-state block-new-sharing --region {region}",
	Actions: []string{"ec2:GetImageBlockPublicAccessState"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		out, err := ec2.NewFromConfig(s.Config).GetImageBlockPublicAccessState(ctx, &ec2.GetImageBlockPublicAccessStateInput{})
		if err != nil {
			return nil, err
		}
		switch state := aws.ToString(out.ImageBlockPublicAccessState); state {
		case string(types.ImageBlockPublicAccessEnabledStateBlockNewSharing):
			return []Finding{pass(s.Region, "blocked")}, nil
		case string(types.ImageBlockPublicAccessDisabledStateUnblocked):
			return []Finding{fail(s.Region, "not blocked")}, nil
		default:
			return nil, errors.New("EC2 says " + state)
		}
	},
}
