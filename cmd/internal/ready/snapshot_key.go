package ready

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
)

var snapshotKey = Check{
	ID: "snapshot-key", Title: "the keys of volumes are your own, so that snapshots can go to a forensic account",
	Why:      "A snapshot under the key that AWS keeps for EBS (aws/ebs) can be shared with no other account. To find that out during a case costs a copy under another key, of every volume.",
	Severity: Medium,
	Fix:      "aws ec2 modify-ebs-default-kms-key-id --kms-key-id KEY --region {region}, for new volumes; those that are there need a snapshot, a copy of it with --kms-key-id, and a new volume",
	Actions:  []string{"ec2:DescribeVolumes", "kms:DescribeKey"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		volumes, err := pages(ctx, ec2.NewDescribeVolumesPaginator(ec2.NewFromConfig(s.Config), &ec2.DescribeVolumesInput{MaxResults: aws.Int32(500)}),
			func(o *ec2.DescribeVolumesOutput) []types.Volume { return o.Volumes })
		if err != nil {
			return nil, err
		}
		count := map[string]int{}
		var keys []string
		for _, v := range volumes {
			if k := aws.ToString(v.KmsKeyId); aws.ToBool(v.Encrypted) && k != "" {
				if count[k]++; count[k] == 1 {
					keys = append(keys, k)
				}
			}
		}
		slices.Sort(keys)
		api := kms.NewFromConfig(s.Config)
		return each(ctx, keys, func(ctx context.Context, key string) Finding {
			out, err := api.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
			switch {
			case err != nil:
				return unknown(key, err)
			case out.KeyMetadata.KeyManager == kmstypes.KeyManagerTypeAws:
				return fail(key, "%d volumes are under a key that AWS keeps: their snapshots cannot be shared", count[key])
			case out.KeyMetadata.KeyState != kmstypes.KeyStateEnabled:
				return fail(key, "%d volumes are under it, and it is %s", count[key], out.KeyMetadata.KeyState)
			}
			return pass(key, "%d volumes; whether its policy lets the forensic account use it is not looked at", count[key])
		}), nil
	},
}
