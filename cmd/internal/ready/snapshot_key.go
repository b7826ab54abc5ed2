package ready

import (
	"context"

	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
)

var snapshotKey = Check{
	ID: "snapshot-key", Title: "the keys of volumes are your own, so that snapshots can go to a forensic account",
	Why:      "A snapshot under the key that AWS keeps for EBS (aws/ebs) can be shared with no other account. To find that out during a case costs a copy under another key, of every volume.",
	Severity: Medium,
	Fix:      "aws ec2 modify-ebs-default-kms-key-id --kms-key-id KEY --region {region}, for new volumes; those that are there need a snapshot, a copy of it with --kms-key-id, and a new volume",
	Actions:  []string{"ec2:DescribeVolumes", "kms:DescribeKey"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		keys, err := s.volumeKeys(ctx)
		return each(ctx, keys, func(ctx context.Context, k volumeKey) Finding {
			key, err := s.describeKey(ctx, k.id)
			switch {
			case err != nil:
				return unknown(k.id, err)
			case key.KeyManager == kmstypes.KeyManagerTypeAws:
				return fail(k.id, "it is a key that AWS keeps, under which no snapshot can be shared; %s", k.under())
			case key.KeyState != kmstypes.KeyStateEnabled:
				return fail(k.id, "it is %s; %s", key.KeyState, k.under())
			}
			return pass(k.id, "%s; who may use it is asked by snapshot-key-policy", k.under())
		}), err
	},
}
