package keytrail

import (
	"cmp"
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// account finds which account the target is in. STS knows it of every key, of whichever account; nothing else does.
func (r *run) account(ctx context.Context) {
	f := r.found
	r.part = cmp.Or(f.Target.Partition, "aws")
	if f.Account = f.Target.Account; f.Account != "" {
		return
	}
	cfg, err := r.Config(ctx, containment.Target{Kind: containment.AccessKey})
	if err != nil {
		r.gap(inventory.Place{}, "the account", err.Error())
		return
	}
	r.part = containment.PartitionOf(cfg.Region)
	api := stsAPI(sts.NewFromConfig(cfg))
	if f.Target.Kind == containment.AccessKey {
		out, err := api.GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: &f.Target.Name})
		if err == nil {
			f.Account = aws.ToString(out.Account)
			return
		}
		r.gap(inventory.Place{}, "the account of the key", awsconfig.Explain(err).Error()+"; it was looked for in the caller's own")
	}
	who, err := api.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		r.gap(inventory.Place{}, "the caller's account", awsconfig.Explain(err).Error())
		return
	}
	f.Account = aws.ToString(who.Account)
}

// begin makes the first subject, and for a temporary key finds the call that issued it.
func (r *run) begin(ctx context.Context) {
	t := r.found.Target
	t.Account, t.Partition = r.found.Account, r.part
	s := &Subject{Kind: string(t.Kind), ID: t.Name, Account: r.found.Account}
	switch t.Kind {
	case containment.AccessKey:
		s.Kind = trail.GainKey
	case containment.Role:
		s.Owner = r.roleARN(ctx, s.Account, t.Name, t.ARN())
	case containment.User:
		s.Owner = t.ARN()
	}
	r.found.Subjects = []*Subject{s}
	r.seen[s.key()] = s
	if strings.HasPrefix(t.Name, "ASIA") && t.Kind == containment.AccessKey {
		r.maker(ctx, s)
	}
}

// maker looks for the call that issued a temporary key. It is older than all that was done with it, by 36 hours at most, and may lie in another
// account, which is not looked at.
func (r *run) maker(ctx context.Context, s *Subject) {
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, p := range r.where(ctx, s.Account) {
		g.Go(func() error {
			a, err := r.history.Look(ctx, p, trail.Query{By: types.LookupAttributeKeyResourceName, Value: s.ID, Since: r.Since, Until: r.Until, Pages: 1})
			if err != nil {
				r.gap(p, "the call that issued "+s.ID, err.Error())
			}
			for _, e := range a.Events {
				for _, gain := range e.Gains {
					if gain.ID == s.ID {
						r.mu.Lock()
						r.found.Maker, s.Owner = &e, gain.Owner
						r.mu.Unlock()
					}
				}
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
}
