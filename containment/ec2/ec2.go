// Package ec2 contains EC2 instances: it is a service of containment.Engine.
//
// The order is that of the engine's stages. Evidence is protected first (termination and stop protection, what a
// shutdown does, volumes), Auto Scaling and load balancers learn of it, the credentials of the
// instance are denied by the instance that they come from, and then the network is closed in two steps, on
// each interface: a security group that lets all pass makes its connections untracked, and one that lets
// nothing pass then ends them. A security group alone does not: EC2 lets tracked connections live on.
//
// What the two steps do not close is found by reading and reported as a residual: connections that are
// always tracked, such as those through a NAT gateway, interfaces without security groups, DNS. Whether packets
// still flow, no call says; so the result of a network is never more than unverified until somebody has looked.
package ec2

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/shotglass-ir/shotglass/containment"
)

// A Service contains instances. It is safe for concurrent use.
type Service struct {
	// Config returns the configuration for calls about a target: credentials of its account, and its region.
	Config func(ctx context.Context, t containment.Target) (aws.Config, error)

	// Roles reads the policies of roles: containment/iam's service, which also sets them.
	Roles interface {
		Read(context.Context, containment.Target, containment.Item) (containment.State, error)
	}

	// Caller is who calls. The subnet of an instance that it calls from is not cut; if its ARN is empty, plans warn of that.
	Caller containment.Identity

	// Now and Sleep are the clock, as the engine's; nil: the real one.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error

	mu      sync.Mutex
	clients map[string]*clients // by account and region
}

var (
	_ containment.Service   = (*Service)(nil)
	_ containment.Resolver  = (*Service)(nil)
	_ containment.Opener    = (*Service)(nil)
	_ containment.Simulator = (*Service)(nil)
)

// Name begins the kinds of the items.
func (s *Service) Name() string { return "ec2" }

// Targets are instances.
func (s *Service) Targets() []containment.Kind { return []containment.Kind{containment.Instance} }

// clients are the APIs of one account and region.
type clients struct {
	ec2       api
	iam       iamAPI
	scaling   scalingAPI
	balancing balancingAPI
	region    string

	mu    sync.Mutex
	types map[string]instanceType // what is known of them, by name
	of    map[string]string       // the type of an instance, which a running one cannot change

	promised map[aclEntry]int32 // the numbers of entries that are about to be made
}

// A conn is what work on one target needs.
type conn struct {
	*clients
	s   *Service
	t   containment.Target
	dry bool // make calls of EC2 that change something as dry runs
}

// tries is how often a call is tried: the SDK's three are too few for an account whose calls are throttled, where
// everybody looks for the same incident.
const tries = 8

func (s *Service) connect(ctx context.Context, t containment.Target) (*conn, error) {
	key := t.Account + "/" + t.Region
	s.mu.Lock()
	c := s.clients[key]
	s.mu.Unlock()
	if c == nil {
		cfg, err := s.Config(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("credentials for %s: %w", t, err)
		}
		if cfg.RetryMaxAttempts == 0 { // who set it knows better
			cfg.RetryMaxAttempts = tries
		}
		c = &clients{
			ec2:       sdk.NewFromConfig(cfg),
			iam:       iam.NewFromConfig(cfg),
			scaling:   autoscaling.NewFromConfig(cfg),
			balancing: elb.NewFromConfig(cfg),
			types:     map[string]instanceType{}, of: map[string]string{}, promised: map[aclEntry]int32{},
		}
		c.region = cfg.Region
		s.mu.Lock()
		if s.clients == nil {
			s.clients = map[string]*clients{}
		}
		s.clients[key] = c
		s.mu.Unlock()
	}
	if t.Region == "" {
		t.Region = c.region // of the configuration; ARNs, also those of conditions, need it
	}
	return &conn{clients: c, s: s, t: t}, nil
}

// A kind is a kind of items: how one is read and set. set is also made with conn.dry, and then returns
// the error of its first call.
type kind struct {
	read func(ctx context.Context, c *conn, id string) (containment.State, error)
	set  func(ctx context.Context, c *conn, id string, from, to containment.State) (containment.Reply, error)
	call string // the API call that sets it
}

// The kinds of items. Their names are in journals: they do not change.
const (
	kindAttribute = "ec2/instance-attribute"      // i-0abc/disable-api-termination
	kindVolume    = "ec2/delete-on-termination"   // i-0abc//dev/xvda
	kindTag       = "ec2/tag"                     // i-0abc/shotglass-case
	kindScaling   = "ec2/auto-scaling"            // i-0abc/group
	kindTarget    = "ec2/load-balancer-target"    // i-0abc/80/arn
	kindGroup     = "ec2/security-group"          // vpc-0abc/name
	kindTimeouts  = "ec2/interface-timeouts"      // eni-0abc
	kindGroups    = "ec2/interface-groups"        // eni-0abc
	kindElasticIP = "ec2/elastic-ip"              // eipalloc-0abc
	kindPublicIP  = "ec2/assigned-public-address" // eni-0abc
	kindACLEntry  = "ec2/network-acl-deny"        // acl-0abc/ingress/203.0.113.7/32
	kindACL       = "ec2/network-acl"             // vpc-0abc/name
	kindSubnetACL = "ec2/subnet-network-acl"      // subnet-0abc
	kindPower     = "ec2/power"                   // i-0abc
)

var kinds = map[string]kind{
	kindAttribute: {readAttribute, setAttribute, "ec2:ModifyInstanceAttribute"},
	kindVolume:    {readVolume, setVolume, "ec2:ModifyInstanceAttribute"},
	kindTag:       {readTag, setTag, "ec2:CreateTags"},
	kindScaling:   {readScaling, setScaling, "autoscaling:EnterStandby"},
	kindTarget:    {readTarget, setTarget, "elasticloadbalancing:DeregisterTargets"},
	kindGroup:     {readGroup, setGroup, "ec2:CreateSecurityGroup"},
	kindTimeouts:  {readTimeouts, setTimeouts, "ec2:ModifyNetworkInterfaceAttribute"},
	kindGroups:    {readGroups, setGroups, "ec2:ModifyNetworkInterfaceAttribute"},
	kindElasticIP: {readElasticIP, setElasticIP, "ec2:DisassociateAddress"},
	kindPublicIP:  {readPublicIP, setPublicIP, "ec2:ModifyNetworkInterfaceAttribute"},
	kindACLEntry:  {readACLEntry, setACLEntry, "ec2:CreateNetworkAclEntry"},
	kindACL:       {readACL, setACL, "ec2:CreateNetworkAcl"},
	kindSubnetACL: {readSubnetACL, setSubnetACL, "ec2:ReplaceNetworkAclAssociation"},
	kindPower:     {readPower, setPower, "ec2:StopInstances"},
}

func (s *Service) kind(ctx context.Context, t containment.Target, i containment.Item) (kind, *conn, error) {
	k, ok := kinds[i.Kind]
	if !ok {
		return kind{}, nil, fmt.Errorf("%s: no such kind of items", i)
	}
	c, err := s.connect(ctx, t)
	return k, c, err
}

// Read returns the state of an item.
func (s *Service) Read(ctx context.Context, t containment.Target, i containment.Item) (containment.State, error) {
	k, c, err := s.kind(ctx, t, i)
	if err != nil {
		return nil, err
	}
	return k.read(ctx, c, i.ID)
}

// settleFor is how long Set waits until EC2 shows what it did: it is eventually consistent, and whoever
// reads next must not take an old state for what release has to put back.
const settleFor = 20 * time.Second

// Set sets an item and waits until it reads so. What is shared, a security group or network ACL of ours, is brought to no other state than
// that which it shall have: it is deleted if nothing uses it, else left as it is, as the reply's note says.
func (s *Service) Set(ctx context.Context, t containment.Target, i containment.Item, from, to containment.State) (containment.Reply, error) {
	k, c, err := s.kind(ctx, t, i)
	if err != nil {
		return containment.Reply{}, err
	}
	to = reachable(i, to)
	reply, err := k.set(ctx, c, i.ID, from, to)
	if errors.Is(err, errStays) {
		return reply, nil
	}
	if err != nil {
		return reply, err
	}
	err = c.until(ctx, settleFor, func() (bool, error) {
		now, err := k.read(ctx, c, i.ID)
		return err == nil && containment.Same(now, to), nil
	})
	if err != nil && ctx.Err() == nil {
		err = nil // the engine reads it again in the end, and says what it found
	}
	return reply, err
}

// until asks again, each second, until the answer is yes, or time is up.
func (c *conn) until(ctx context.Context, d time.Duration, yes func() (bool, error)) error {
	for waited := time.Duration(0); ; waited += time.Second {
		ok, err := yes()
		if ok || err != nil {
			return err
		}
		if waited >= d {
			return errNotYet
		}
		if err := c.s.sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

func (s *Service) sleep(ctx context.Context, d time.Duration) error {
	if s.Sleep != nil {
		return s.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
