package ready

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// A volumeKey is a key that volumes are under.
type volumeKey struct {
	id      string // its ARN
	volumes int
}

// under is how many volumes.
func (k volumeKey) under() string {
	if k.volumes == 1 {
		return "1 volume is under it"
	}
	return fmt.Sprintf("%d volumes are under it", k.volumes)
}

// volumeKeys are those of all encrypted volumes.
func (s *Site) volumeKeys(ctx context.Context) ([]volumeKey, error) {
	return read(ctx, s, "keys of volumes", func(ctx context.Context) (keys []volumeKey, err error) {
		volumes, err := pages(ctx, ec2.NewDescribeVolumesPaginator(ec2.NewFromConfig(s.Config), &ec2.DescribeVolumesInput{MaxResults: aws.Int32(500)}),
			func(o *ec2.DescribeVolumesOutput) []types.Volume { return o.Volumes })
		if err != nil {
			return nil, err
		}
		count := map[string]int{}
		for _, v := range volumes {
			if k := aws.ToString(v.KmsKeyId); aws.ToBool(v.Encrypted) && k != "" {
				if count[k]++; count[k] == 1 {
					keys = append(keys, volumeKey{id: k})
				}
			}
		}
		slices.SortFunc(keys, func(a, b volumeKey) int { return cmp.Compare(a.id, b.id) })
		for i := range keys {
			keys[i].volumes = count[keys[i].id]
		}
		return keys, nil
	})
}

// describeKey is what KMS says of a key.
func (s *Site) describeKey(ctx context.Context, id string) (*kmstypes.KeyMetadata, error) {
	return read(ctx, s, "key "+id, func(ctx context.Context) (*kmstypes.KeyMetadata, error) {
		out, err := kms.NewFromConfig(s.Config).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			return nil, err
		}
		return out.KeyMetadata, nil
	})
}
