package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// ErrUnbound is wrapped by errors about an account that no service control policy can bind.
var ErrUnbound = errors.New("no service control policy binds it")

// ErrElsewhere is wrapped, beside ErrUnbound, by errors about an account that only another organisation can bind.
var ErrElsewhere = errors.New("is not in your organisation")

// An Organization knows which service control policies bind an account.
type Organization interface {
	// Policies returns the policies on the account, its units and the root, as far as the caller may see. An error that wraps
	// ErrDenied says that the caller may not: only the management account and its delegates may. One that wraps ErrUnbound says that
	// there can be none.
	Policies(ctx context.Context, account string) ([]ControlPolicy, error)
}

// A ControlPolicy is a service control policy.
type ControlPolicy struct {
	ID, Name string
	On       string // "root r-ab12", "account 111122223333"
	Document []byte
}

// Organizations is an Organization that asks AWS Organizations. It is safe for concurrent use.
type Organizations struct {
	// Config is that of the responder's own account: a role in the target's may not look.
	Config aws.Config

	mu    sync.Mutex
	known map[string]*reading // by account
}

var _ Organization = (*Organizations)(nil)

// A reading is one of an account's policies, under way or done. Its answer is there once done is closed.
type reading struct {
	done chan struct{}
	list []ControlPolicy
	err  error
}

// deepest is how many levels a tree may have: five of units, the root and the account, and some to spare.
const deepest = 10

// Policies reads the policies of the account and of all that it is under. They are read once per account: who asks meanwhile waits for that answer, an
// error also, while who asks after an error has it read anew. Accounts do not wait for each other.
func (o *Organizations) Policies(ctx context.Context, account string) ([]ControlPolicy, error) {
	for {
		r, own := o.reading(account)
		if own {
			return o.settle(ctx, account, r)
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if !errors.Is(r.err, errAbandoned) {
			return r.list, r.err
		}
	}
}

// errAbandoned is of a reading that ended with the context of who had begun it, which says nothing to others.
var errAbandoned = errors.New("abandoned")

// reading is what there is of an account; own says that there was nothing, and that the caller is to settle it.
func (o *Organizations) reading(account string) (r *reading, own bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.known[account]; r != nil {
		return r, false
	}
	if o.known == nil {
		o.known = map[string]*reading{}
	}
	r = &reading{done: make(chan struct{})}
	o.known[account] = r
	return r, true
}

// settle reads, and tells all who wait.
func (o *Organizations) settle(ctx context.Context, account string, r *reading) ([]ControlPolicy, error) {
	list, err := o.read(ctx, account)
	switch {
	case err != nil && ctx.Err() != nil:
		err, r.err = context.Cause(ctx), errAbandoned
	case err != nil:
		err = awsconfig.Explain(err)
		r.err = err
	default:
		r.list = list
	}
	if err != nil {
		list = nil
		o.mu.Lock()
		delete(o.known, account)
		o.mu.Unlock()
	}
	close(r.done)
	return list, err
}

func (o *Organizations) read(ctx context.Context, account string) ([]ControlPolicy, error) {
	cfg := o.Config.Copy()
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // it has one address in a partition
	}
	api := organizations.NewFromConfig(cfg)
	self, err := api.DescribeOrganization(ctx, &organizations.DescribeOrganizationInput{})
	switch {
	case awsconfig.Code(err) == "AWSOrganizationsNotInUseException":
		return nil, alone(ctx, cfg, account)
	case err != nil:
		return nil, err
	case aws.ToString(self.Organization.MasterAccountId) == account:
		return nil, fmt.Errorf("%w: account %s is the management account, which no service control policy binds", ErrUnbound, account)
	}
	var all []ControlPolicy
	node, what := account, "account "
	for range deepest {
		if strings.HasPrefix(node, "r-") {
			found, err := attached(ctx, api, node, what+node)
			return append(all, found...), err
		}
		out, err := api.ListParents(ctx, &organizations.ListParentsInput{ChildId: &node})
		switch {
		case awsconfig.Code(err) == "ChildNotFoundException":
			return nil, fmt.Errorf("%w: account %s %w", ErrUnbound, account, ErrElsewhere)
		case err != nil:
			return nil, err
		case self.Organization.FeatureSet != types.OrganizationFeatureSetAll:
			return nil, fmt.Errorf("%w: the organisation has not all features on, so that it has no service control policies", ErrUnbound)
		}
		found, err := attached(ctx, api, node, what+node)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
		if len(out.Parents) != 1 {
			return nil, fmt.Errorf("%s has %d parents in the organisation", node, len(out.Parents))
		}
		node, what = aws.ToString(out.Parents[0].Id), "unit "
		if out.Parents[0].Type == types.ParentTypeRoot {
			what = "root "
		}
	}
	return nil, fmt.Errorf("account %s is more than %d levels deep in the organisation", account, deepest)
}

// alone is the error about an account where the caller's is in no organisation: that of another account is not known by it.
func alone(ctx context.Context, cfg aws.Config, account string) error {
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	if aws.ToString(who.Account) != account {
		return fmt.Errorf("%w: account %s %w, for your own account is in none", ErrUnbound, account, ErrElsewhere)
	}
	return fmt.Errorf("%w: your own account is in no organisation", ErrUnbound)
}

// attached are the policies on one node.
func attached(ctx context.Context, api *organizations.Client, node, what string) ([]ControlPolicy, error) {
	var all []ControlPolicy
	pages := organizations.NewListPoliciesForTargetPaginator(api, &organizations.ListPoliciesForTargetInput{TargetId: &node, Filter: types.PolicyTypeServiceControlPolicy})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range out.Policies {
			one, err := api.DescribePolicy(ctx, &organizations.DescribePolicyInput{PolicyId: p.Id})
			if err != nil {
				return nil, err
			}
			all = append(all, ControlPolicy{ID: aws.ToString(p.Id), Name: aws.ToString(p.Name), On: what, Document: []byte(aws.ToString(one.Policy.Content))})
		}
	}
	return all, nil
}
