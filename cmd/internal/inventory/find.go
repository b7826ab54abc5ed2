package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A Finder finds instances. Its fields are set before the first call; it is then safe for concurrent use.
type Finder struct {
	// Config gives the configuration for calls about an instance in an account and region: awsconfig.Accounts has one. Its
	// retryer is what throttling is met with.
	Config func(context.Context, containment.Target) (aws.Config, error)
	// Accounts are searched; none: the one that Config gives for no account.
	Accounts []string
	// Regions are searched in each account; none: the one that Config gives for no region, or all if that has none;
	// hosts.AllRegions: all that the account has enabled.
	Regions []string
	// Parallel bounds the places under way at once; 0: 8.
	Parallel int
}

const (
	parallel = 8
	// pageSize is how many instances are asked for at once: the most that EC2 gives.
	pageSize = 1000
	// perFilter is how many values a filter takes.
	perFilter = 200
	// manyQueries is how many questions to one region cost more than to list all that it has.
	manyQueries = 20
)

// Find returns the instances that one of the selectors names, each once, with what DescribeInstances says of them; without a
// selector all. Selectors by ARN look in their own account and region. Places that cannot be searched are gaps; an error is only that ctx ended.
func (f *Finder) Find(ctx context.Context, selectors []hosts.Selector) (*Found, error) {
	found := &Found{}
	asked := map[Place][]hosts.Selector{}
	base := len(selectors) == 0
	var rest []hosts.Selector // those that are looked for in every place
	for _, s := range selectors {
		places := placesOf(s)
		for _, p := range places {
			asked[p] = append(asked[p], s)
		}
		if len(places) == 0 {
			rest, base = append(rest, s), true
		}
	}
	all := map[Place]bool{} // whether it was named, or is one of all regions
	if base {
		all, found.Gaps = f.places(ctx)
	}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(cmp.Or(f.Parallel, parallel))
	search := func(p Place, named, everything bool, selectors []hosts.Selector) {
		g.Go(func() error {
			list, err := f.search(ctx, &p, everything, selectors)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				found.Gaps = append(found.Gaps, gap(p, named, err))
				return nil
			}
			found.Places = append(found.Places, p)
			found.Instances = append(found.Instances, list...)
			return nil
		})
	}
	for p, named := range all {
		search(p, named, len(selectors) == 0, rest)
	}
	for p, own := range asked {
		search(p, true, false, own)
	}
	g.Wait() //nolint:errcheck // none is returned
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	found.sort()
	found.Instances = slices.CompactFunc(found.Instances, func(a, b *Instance) bool { return a.ARN == b.ARN })
	found.Places = slices.Compact(found.Places)
	return found, nil
}

// placesOf is where a selector by ARN looks; none: everywhere.
func placesOf(s hosts.Selector) (places []Place) {
	for _, t := range s.Terms {
		if t.Kind != hosts.ByARN || t.Not {
			continue
		}
		for _, v := range t.Values {
			f := strings.SplitN(v, ":", 6)
			if p := (Place{Account: f[4], Region: f[3]}); !slices.Contains(places, p) {
				places = append(places, p)
			}
		}
	}
	return places
}

func gap(p Place, named bool, err error) Gap {
	g := Gap{Place: p, Why: err.Error(), Err: err, Named: named}
	if code := awsconfig.Code(err); code == "OptInRequired" || code == "AuthFailure" {
		g.Why = "the account has not enabled it, or your credentials do not hold there: " + g.Why
	}
	return g
}

// places are those to search, each with whether it was named, and what is not known about them.
func (f *Finder) places(ctx context.Context) (places map[Place]bool, gaps []Gap) {
	places = map[Place]bool{}
	accounts := f.Accounts
	if len(accounts) == 0 {
		accounts = []string{""}
	}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(cmp.Or(f.Parallel, parallel))
	for _, account := range accounts {
		g.Go(func() error {
			regions, off, named, err := f.regions(ctx, account)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				gaps = append(gaps, gap(Place{Account: account, Region: EveryRegion}, true, err))
			}
			for _, r := range regions {
				places[Place{account, r}] = named
			}
			for _, r := range off {
				gaps = append(gaps, Gap{Place: Place{account, r}, Off: true, Why: "the account has not enabled this region; what it had there before would still run"})
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
	return places, gaps
}

// Places are those that Find searches without a selector by ARN, sorted, and what is not known about them.
func (f *Finder) Places(ctx context.Context) ([]Place, []Gap) {
	found := &Found{}
	var all map[Place]bool
	all, found.Gaps = f.places(ctx)
	for p := range all {
		found.Places = append(found.Places, p)
	}
	found.sort()
	return found.Places, found.Gaps
}

// Where are the places of an account that a search looks in, and what is not known about them; of no account: that of the caller.
func (f *Finder) Where(ctx context.Context, account string) ([]Place, []Gap) {
	one := &Finder{Config: f.Config, Accounts: []string{account}, Regions: f.Regions}
	return one.Places(ctx)
}

// Target stands for a place as a whole, in messages too. Of its kind there is a region to be asked in whatever is configured, and that knows
// the others.
func (p Place) Target() containment.Target {
	return containment.Target{Kind: containment.AccessKey, Account: p.Account, Region: p.Region, Name: "what is searched"}
}

// regions are those of an account to search, whether they were named, and those that it has turned off.
func (f *Finder) regions(ctx context.Context, account string) (on, off []string, named bool, err error) {
	if len(f.Regions) > 0 && !slices.Contains(f.Regions, hosts.AllRegions) {
		return f.Regions, nil, true, nil
	}
	cfg, err := f.Config(ctx, Place{Account: account}.Target())
	if err != nil {
		return nil, nil, false, err
	}
	if len(f.Regions) == 0 {
		if own, err := f.Config(ctx, containment.Target{Kind: containment.Instance, Account: account}); err == nil {
			return []string{own.Region}, nil, true, nil
		}
	}
	out, err := ec2API(ec2.NewFromConfig(cfg)).DescribeRegions(ctx, &ec2.DescribeRegionsInput{AllRegions: aws.Bool(true)})
	if err != nil {
		return nil, nil, false, fmt.Errorf("list the regions: %w", awsconfig.Explain(err))
	}
	for _, r := range out.Regions {
		if aws.ToString(r.OptInStatus) == "not-opted-in" {
			off = append(off, aws.ToString(r.RegionName))
		} else {
			on = append(on, aws.ToString(r.RegionName))
		}
	}
	return on, off, false, nil
}

// search lists the instances of one place that selectors name, or everything.
func (f *Finder) search(ctx context.Context, p *Place, everything bool, selectors []hosts.Selector) ([]*Instance, error) {
	cfg, err := f.Config(ctx, p.Target())
	if err != nil {
		return nil, err
	}
	api := ec2API(ec2.NewFromConfig(cfg))
	queries := queriesFor(selectors)
	if everything {
		queries = [][]types.Filter{nil}
	}
	var list []*Instance
	seen := map[string]bool{}
	for _, filters := range queries {
		pages := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{Filters: filters, MaxResults: aws.Int32(pageSize)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				return nil, fmt.Errorf("list the instances: %w", awsconfig.Explain(err))
			}
			for _, r := range page.Reservations {
				for i := range r.Instances {
					in := instanceOf(&r.Instances[i], aws.ToString(r.OwnerId), p.Region)
					if seen[in.ID] || !everything && !slices.ContainsFunc(selectors, in.Is) {
						continue
					}
					seen[in.ID] = true
					list = append(list, in)
				}
			}
		}
	}
	return list, nil
}

// queriesFor are the questions to EC2 that bring at least what selectors name; who asks looks at each instance that comes. One without a filter
// brings all.
func queriesFor(selectors []hosts.Selector) (queries [][]types.Filter) {
	var ids []string
	for _, s := range selectors {
		filters := narrow(s)
		switch {
		case filters == nil:
			return [][]types.Filter{nil}
		case len(filters) == 1 && *filters[0].Name == "instance-id":
			ids = append(ids, filters[0].Values...)
		default:
			queries = append(queries, filters)
		}
	}
	for chunk := range slices.Chunk(ids, perFilter) {
		queries = append(queries, []types.Filter{{Name: aws.String("instance-id"), Values: chunk}})
	}
	if len(queries) > manyQueries {
		return [][]types.Filter{nil}
	}
	return queries
}

// narrow are filters that let through all that a selector names; nil if there are none. Addresses, names, groups, subnets and profiles have none: those of
// EC2 do not see every interface, or every address of one.
func narrow(s hosts.Selector) (filters []types.Filter) {
	add := func(name string, values ...string) {
		if len(values) <= perFilter {
			filters = append(filters, types.Filter{Name: &name, Values: values})
		}
	}
	for _, t := range s.Terms {
		if t.Not {
			continue
		}
		var like []string
		for _, v := range t.Values {
			like = append(like, hosts.Filter(v))
		}
		switch t.Kind {
		case hosts.ByInstance:
			add("instance-id", t.Values...)
		case hosts.ByARN:
			var ids []string
			for _, v := range t.Values {
				ids = append(ids, NameOf(v))
			}
			add("instance-id", ids...)
		case hosts.ByVPC:
			add("vpc-id", t.Values...)
		case hosts.ByImage:
			add("image-id", t.Values...)
		case hosts.ByScaling:
			add("tag:"+scalingTag, like...)
		case hosts.ByTag:
			if len(t.Values) == 0 {
				add("tag-key", strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`).Replace(t.Key))
			} else {
				add("tag:"+t.Key, like...)
			}
		}
	}
	return filters
}

// scalingTag is on every instance of an Auto Scaling group, and nobody can forge it.
const scalingTag = "aws:autoscaling:groupName"
