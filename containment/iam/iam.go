// Package iam contains IAM users, roles and access keys, and has the items of IAM for the plans of other
// services too: the policy that denies an instance or a function what its role may do.
//
// A user or a role is denied everything twice, by an inline policy and by AWS's own AWSDenyAll, since
// either may not fit its quota; one that holds is enough. A deny binds sessions that are in use already,
// also those that a user began with GetSessionToken, since permissions are
// evaluated with each request. A user's keys and other credentials are made inactive, never deleted.
//
// What IAM was told takes effect within seconds, says OFFENSAI; within minutes, says AWS. Until then an
// attacker can undo it, so all changes are marked to be watched.
package iam

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	metadata "github.com/aws/smithy-go/middleware"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A Service contains users, roles and access keys. It is safe for concurrent use.
type Service struct {
	// Config returns the configuration for the account of a target.
	Config func(context.Context, containment.Target) (aws.Config, error)
	// Trail, if set, looks up who temporary credentials were issued to.
	Trail Trail
	// Organization, if set, knows whether a service control policy acts on a quarantine tag.
	Organization Organization
}

var (
	_ containment.Service   = (*Service)(nil)
	_ containment.Resolver  = (*Service)(nil)
	_ containment.Simulator = (*Service)(nil)
)

// Name begins the kinds of this service's items.
func (s *Service) Name() string { return "iam" }

// Targets are users, roles and access keys.
func (s *Service) Targets() []containment.Kind {
	return []containment.Kind{containment.User, containment.Role, containment.AccessKey}
}

// Plan says what containing the target takes.
func (s *Service) Plan(ctx context.Context, t containment.Target, o containment.Options) (*containment.Plan, error) {
	switch t.Kind {
	case containment.User:
		return s.planUser(ctx, t, o)
	case containment.Role:
		return s.planRole(ctx, t, o)
	case containment.AccessKey:
		return s.planKey(ctx, t, o)
	}
	return nil, fmt.Errorf("IAM has no targets of the kind %q", t.Kind)
}

// Read returns the state of an item of IAM, whatever the kind of the target whose containment has it.
func (s *Service) Read(ctx context.Context, t containment.Target, i containment.Item) (containment.State, error) {
	st, _, err := s.read(ctx, t, i)
	return st, err
}

func (s *Service) read(ctx context.Context, t containment.Target, i containment.Item) (containment.State, metadata.Metadata, error) {
	k, holder, id, err := split(i)
	if err != nil {
		return nil, metadata.Metadata{}, err
	}
	api, err := s.api(ctx, t)
	if err != nil {
		return nil, metadata.Metadata{}, err
	}
	st, md, err := k.read(ctx, principal{api, k.role, holder}, id)
	if err != nil {
		return nil, md, awsconfig.Explain(err)
	}
	return st, md, nil
}

// Set brings an item of IAM to a state.
func (s *Service) Set(ctx context.Context, t containment.Target, i containment.Item, from, to containment.State) (containment.Reply, error) {
	k, holder, id, err := split(i)
	if err != nil {
		return containment.Reply{}, err
	}
	api, err := s.api(ctx, t)
	if err != nil {
		return containment.Reply{}, err
	}
	md, err := k.set(ctx, principal{api, k.role, holder}, id, to)
	if err != nil {
		return awsconfig.Reply(md), explain(k, err)
	}
	return awsconfig.Reply(md), nil
}

// Resolve gives a policy that denies sessions issued before a time the time of the call: those issued between
// plan and call are denied too. The time is AWS's own, since a responder's clock may be wrong. A
// policy that was set since the plan is as wanted.
func (s *Service) Resolve(ctx context.Context, t containment.Target, i containment.Item, want containment.State) (containment.State, error) {
	planned, ok := revokedBefore(want)
	if !ok {
		return want, nil
	}
	cur, md, err := s.read(ctx, t, i)
	if err != nil {
		return nil, err
	}
	now := awsconfig.ServerTime(md)
	if at, ok := revokedBefore(cur); ok && !at.Before(planned.Add(-clockSlack)) && !at.After(now.Add(clockSlack)) {
		return cur, nil
	}
	return Deny(issuedBefore(now)), nil
}

// clockSlack is by how much the clocks of AWS's servers may differ.
const clockSlack = 10 * time.Second

func (s *Service) api(ctx context.Context, t containment.Target) (API, error) {
	cfg, err := s.Config(ctx, t)
	if err != nil {
		return nil, err
	}
	return awsiam.NewFromConfig(cfg), nil
}

// explain says which quota or rule of IAM stood against a change.
func explain(k kind, err error) error {
	if awsconfig.Code(err) == "LimitExceeded" {
		return fmt.Errorf("%s: a quota of IAM is used up (%s): %w", k.what, k.quota, err)
	}
	return awsconfig.Explain(err)
}

// missing reports whether IAM says that something is not there. The SDK has no type of it for some calls.
func missing(err error) bool { return awsconfig.Code(err) == "NoSuchEntity" }

// A pager is one of the SDK's paginators.
type pager[O any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*awsiam.Options)) (O, error)
}

// pages returns the items of all pages.
func pages[O, T any](ctx context.Context, p pager[O], of func(O) []T) ([]T, error) {
	var all []T
	for p.HasMorePages() {
		out, err := p.NextPage(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, of(out)...)
	}
	return all, nil
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// unique is the list without repetitions, in order.
func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// cut splits an item's ID into its holder, which has no slash, and the rest.
func cut(id string) (holder, rest string) {
	holder, rest, _ = strings.Cut(id, "/")
	return holder, rest
}
