package ready

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/shotglass-ir/shotglass/containment/iam"
)

var snapshotKeyPolicy = Check{
	ID: "snapshot-key-policy", Title: "the policies of the volumes' keys let the forensic account use them",
	Why:      "A snapshot that is shared is of no use to an account that may not use its key. Whoever may change the key's policy is asleep, or is who the case is about; without that, every volume is copied under another key first.",
	Severity: Medium,
	Fix: "aws kms put-key-policy --key-id {resource} --policy-name default --policy file://policy.json --region {region}, with a statement more that allows the forensic account's root " +
		strings.Join(iam.SnapshotUse, ", ") + "; or, in the case, aws kms create-grant for one of its roles",
	Actions: []string{"ec2:DescribeVolumes", "kms:DescribeKey", "kms:GetKeyPolicy"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		switch s.Forensic {
		case "":
			return []Finding{without("", "no account was named: --forensic-account")}, nil
		case s.Account:
			return []Finding{without(s.Account, "this is the forensic account")}, nil
		}
		keys, err := s.volumeKeys(ctx)
		return each(ctx, keys, s.keyPolicy), err
	},
}

// keyPolicy says whether the forensic account may use a key of the site's account.
func (s *Site) keyPolicy(ctx context.Context, k volumeKey) Finding {
	key, err := s.describeKey(ctx, k.id)
	if err != nil {
		return unknown(k.id, err)
	}
	if key.KeyManager == kmstypes.KeyManagerTypeAws {
		return without(k.id, "AWS keeps it, and its policy cannot be changed: see snapshot-key")
	}
	out, err := kms.NewFromConfig(s.Config).GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &k.id, PolicyName: aws.String("default")}) // a key has no other
	if err != nil {
		return unknown(k.id, err)
	}
	a, by, err := iam.KeyUse{Key: k.id, Account: s.Forensic, Actions: iam.SnapshotUse}.Judge([]byte(aws.ToString(out.Policy)))
	if err != nil {
		return unknown(k.id, err)
	}
	to := "account " + s.Forensic
	if by != "" {
		to = fmt.Sprintf("%.200q", by)
	}
	switch {
	case len(a.Denied) > 0:
		return fail(k.id, "it does not let %s do %s; %s", to, strings.Join(a.Denied, ", "), k.under())
	case len(a.Open) > 0:
		return Finding{State: Unknown, Resource: k.id, Cause: Failed, Detail: fmt.Sprintf("whether it lets %s do %s: %.300s", to, a.Open[0].Action, a.Open[0].Why)}
	}
	return pass(k.id, "it lets %s use it, whose own policies must, too; %s", to, k.under())
}
