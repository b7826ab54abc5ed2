package ready

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// An Auditor makes checks. Its fields are set before Run.
type Auditor struct {
	// Config, Accounts and Regions are as in inventory.Finder.
	Config   func(context.Context, containment.Target) (aws.Config, error)
	Accounts []string
	Regions  []string
	// Checks are those that are made.
	Checks []*Check
	// Bucket is the evidence bucket: its name. It is looked at from the forensic account if that is one of the accounts, else from the first. Empty: none.
	Bucket string
	// Forensic is the account that evidence goes to, by its number. Empty: none, and nobody asks about it.
	Forensic string
	// Responder is who will work on an incident. Its zero value is nobody, whom no check is about.
	Responder Responder
	// Organization knows the service control policies of the accounts; nil: what they say is unknown. QuarantineTag is the tag, KEY or KEY=VALUE, that
	// one of them is to act on.
	Organization  iam.Organization
	QuarantineTag string
	// Parallel bounds the checks under way at once; 0: 16.
	Parallel int
	// Patience is the most that one check of one site may take; 0: ten minutes, which thousands of buckets need.
	Patience time.Duration
	// Now is what ages are counted from; nil: time.Now.
	Now func() time.Time
	// Progress, if set, is called after each check of a site, one call at a time.
	Progress func(done, total int)
}

const (
	parallel = 16
	patience = 10 * time.Minute
)

// Run makes the checks in all places. Places that cannot be looked at are gaps, and what cannot be read is unknown; an error is only
// that ctx ended.
func (a *Auditor) Run(ctx context.Context) (*Report, error) {
	now := time.Now
	if a.Now != nil {
		now = a.Now
	}
	r := &Report{Time: now().UTC(), Checks: a.Checks}
	finder := &inventory.Finder{Config: a.Config, Accounts: a.Accounts, Regions: a.Regions}
	places, gaps := finder.Places(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.Gaps = gaps
	sites, accounts := a.sites(ctx, r, finder, places)
	type task struct {
		check *Check
		site  *Site
	}
	var tasks []task
	for _, c := range a.Checks {
		where := sites
		if c.Account {
			where = accounts
		}
		for _, s := range where {
			tasks = append(tasks, task{c, s})
		}
	}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(cmp.Or(a.Parallel, parallel))
	done := 0
	for _, t := range tasks {
		g.Go(func() error {
			list := a.look(ctx, t.check, t.site)
			mu.Lock()
			defer mu.Unlock()
			r.Results = append(r.Results, list...)
			if done++; a.Progress != nil {
				a.Progress(done, len(tasks))
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.sort()
	return r, nil
}

// sites are the places that can be called, and one of each account, in a region that the account is asked in whatever was named.
func (a *Auditor) sites(ctx context.Context, r *Report, f *inventory.Finder, places []inventory.Place) (sites, accounts []*Site) {
	var mu sync.Mutex
	organization := &line{to: "AWS Organizations"} // which everybody asks with the same credentials
	connect := func(p inventory.Place) *Site {
		cfg, err := a.Config(ctx, p.Target())
		if err == nil && p.Account == "" {
			p.Account, err = accountOf(ctx, cfg)
		}
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			r.Gaps = append(r.Gaps, inventory.Gap{Place: p, Why: err.Error(), Err: err, Named: true})
			return nil
		}
		if p.Region == "" {
			p.Region = cfg.Region
		}
		return &Site{Place: p, Config: cfg, Now: r.Time, Bucket: a.Bucket, Forensic: a.Forensic, Responder: a.Responder, Organization: a.Organization, QuarantineTag: a.QuarantineTag,
			finder: f, simulation: &line{to: "IAM's simulation"}, organization: organization}
	}
	byAccount := map[string]*Site{}
	for _, p := range places { // one call for each account, whose places need no more
		if _, known := byAccount[p.Account]; !known {
			if byAccount[p.Account] = connect(inventory.Place{Account: p.Account}); byAccount[p.Account] != nil {
				accounts = append(accounts, byAccount[p.Account])
			}
		}
	}
	if len(accounts) > 0 {
		n := slices.IndexFunc(accounts, func(s *Site) bool { return s.Account == a.Forensic })
		accounts[max(0, n)].keeper = true
	}
	found := make([]*Site, len(places))
	var g errgroup.Group
	g.SetLimit(cmp.Or(a.Parallel, parallel))
	for n, p := range places {
		g.Go(func() error {
			if home := byAccount[p.Account]; home != nil {
				p.Account = home.Account
				found[n] = connect(p)
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
	for _, s := range found {
		if s != nil {
			sites, r.Places = append(sites, s), append(r.Places, s.Place)
		}
	}
	return sites, accounts
}

// accountOf is the account that a configuration calls. It needs no permission.
func accountOf(ctx context.Context, cfg aws.Config) (string, error) {
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Account), nil
}

// look makes one check at one site.
func (a *Auditor) look(ctx context.Context, c *Check, s *Site) (list []Result) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.Patience, patience))
	defer cancel()
	found, err := c.Look(ctx, s)
	if err != nil {
		found = append(found, unknown("", err))
	}
	if len(found) == 0 {
		found = []Finding{without("", "there is nothing of the kind")}
	}
	place := s.Place
	if c.Account {
		place.Region = ""
	}
	for _, f := range found {
		if f.State == "" {
			f = unknown(f.Resource, errors.New("the check came to no conclusion"))
		}
		list = append(list, Result{Check: c, Place: place, Finding: f})
	}
	return list
}
