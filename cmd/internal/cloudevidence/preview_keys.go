package cloudevidence

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	containiam "github.com/shotglass-ir/shotglass/containment/iam"
)

// A describedKey is what KMS says of a key.
type describedKey struct {
	arn   string
	state kmstypes.KeyState
	aws   bool // AWS keeps it
	spec  kmstypes.KeySpec
	err   error
}

// describe asks KMS about a key, once for all of a place.
func (p *Previewer) describe(ctx context.Context, t containment.Target, key string) describedKey {
	return askOnceFor(ctx, p, fmt.Sprintf("key %q", []string{t.Account, t.Region, key}), func(ctx context.Context) describedKey {
		cfg, err := p.Config(ctx, t)
		if err != nil {
			return describedKey{err: err}
		}
		out, err := kms.NewFromConfig(cfg).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
		if err != nil {
			return describedKey{err: awsconfig.Explain(err)}
		}
		m := out.KeyMetadata
		return describedKey{arn: aws.ToString(m.Arn), state: m.KeyState, aws: m.KeyManager == kmstypes.KeyManagerTypeAws, spec: m.KeySpec}
	})
}

// lets says what a key's policy makes of the use of snapshots by an account: why it is not allowed, or why that is not known.
func (p *Previewer) lets(ctx context.Context, t containment.Target, key, account string) (problem, unchecked string) {
	type policy struct {
		text string
		err  error
	}
	got := askOnceFor(ctx, p, fmt.Sprintf("policy of %q", []string{t.Account, t.Region, key}), func(ctx context.Context) policy {
		cfg, err := p.Config(ctx, t)
		if err != nil {
			return policy{err: err}
		}
		out, err := kms.NewFromConfig(cfg).GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &key})
		if err != nil {
			return policy{err: awsconfig.Explain(err)}
		}
		return policy{text: aws.ToString(out.Policy)}
	})
	var a containiam.Answer
	var by string
	if got.err == nil {
		a, by, got.err = containiam.KeyUse{Key: key, Account: account, Actions: containiam.SnapshotUse}.Judge([]byte(got.text))
	}
	who := "account " + account
	if by != "" {
		who = fmt.Sprintf("%.200q", by)
	}
	switch {
	case got.err != nil:
		return "", fmt.Sprintf("whether the policy of %s lets account %s use it (%s): %v", key, account, keyUse, got.err)
	case len(a.Denied) > 0:
		return fmt.Sprintf("account %s cannot use what is under %s: its policy does not let %s do %s", account, key, who, strings.Join(a.Denied, ", ")), ""
	case len(a.Open) > 0:
		return "", fmt.Sprintf("whether the policy of %s lets %s do %s: %.300s", key, who, a.Open[0].Action, a.Open[0].Why)
	case by != "":
		return "", fmt.Sprintf("of account %s the policy of %s lets %s alone use it", account, key, who)
	}
	return "", ""
}

// keys says whether what is encrypted can be copied and shared with the keys that it has, or is to have.
func (p *Previewer) keys(ctx context.Context, t containment.Target, s *snapper, out *Preview) {
	x := out.Snapshots
	problem := func(format string, args ...any) { x.Problems = append(x.Problems, fmt.Sprintf(format, args...)) }
	unchecked := func(format string, args ...any) { out.Unchecked = append(out.Unchecked, fmt.Sprintf(format, args...)) }
	judge := func(key string, accounts ...string) {
		for _, account := range accounts {
			if why, open := p.lets(ctx, t, key, account); why != "" {
				problem("%s", why)
			} else if open != "" {
				unchecked("%s", open)
			}
		}
	}
	if key := s.o.CopyKey; key != "" {
		switch k := p.describe(ctx, t, key); {
		case awsconfig.Code(k.err) == "NotFoundException":
			problem("nothing can be copied: %v", k.err)
		case k.err != nil:
			unchecked("whether snapshots can be copied under the key %s: %v", key, k.err)
		case k.state != kmstypes.KeyStateEnabled:
			problem("nothing can be copied under %s: the key is %s", k.arn, k.state)
		case k.spec != kmstypes.KeySpecSymmetricDefault:
			problem("nothing can be copied under %s: EBS takes no key of the kind %s", k.arn, k.spec)
		case k.aws && len(s.o.Share) > 0:
			problem("copies under %s cannot be shared: AWS keeps that key, and shares it with nobody. Make one of your own", k.arn)
		default:
			unchecked("whether you may use %s (%s): EC2 tells when it copies", k.arn, keyUse)
			judge(k.arn, s.o.Share...)
		}
		return
	}
	if len(s.o.Share) == 0 {
		return
	}
	of := map[string][]string{} // what is encrypted, by key
	if len(x.Earlier) > 0 {     // which are shared as they are
		for _, one := range s.set.Snapshots {
			if one.Encrypted {
				of[one.Key] = append(of[one.Key], one.ID)
			}
		}
	} else {
		for _, v := range x.Volumes {
			if v.Encrypted {
				of[v.Key] = append(of[v.Key], v.ID)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(of)) {
		what := strings.Join(of[key], ", ")
		if key == "" {
			unchecked("whether %s can be shared: EC2 does not tell the key", what)
			continue
		}
		switch k := p.describe(ctx, t, key); {
		case k.err != nil:
			unchecked("whether the key of %s is your own, as what is under EBS's own (aws/ebs) cannot be shared: %v", what, k.err)
		case k.aws:
			problem("%s cannot be shared: AWS keeps the key, %s, and shares it with nobody. --snapshot-copy-key copies under one of yours", what, k.arn)
		case k.state != kmstypes.KeyStateEnabled:
			problem("nobody can use %s: the key, %s, is %s", what, k.arn, k.state)
		default:
			judge(k.arn, s.o.Share...)
		}
	}
}
