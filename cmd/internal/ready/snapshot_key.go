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
				return fail(k.id, "%d volumes are under a key that AWS keeps: their snapshots cannot be shared", k.volumes)
			case key.KeyState != kmstypes.KeyStateEnabled:
				return fail(k.id, "%d volumes are under it, and it is %s", k.volumes, key.KeyState)
			}
			return pass(k.id, "%d volumes; snapshot-key-policy asks who may use it", k.volumes)
		}), err
	},
}
