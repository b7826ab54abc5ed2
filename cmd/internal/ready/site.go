package ready

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// A Site is where a check looks: a region of an account. For a check of an account its region is one that
// the account is asked in.
type Site struct {
	inventory.Place
	Config aws.Config
	Now    time.Time
	// Bucket, Forensic, Responder, Organization and QuarantineTag are those of the Auditor.
	Bucket        string
	Forensic      string
	Responder     Responder
	Organization  iam.Organization
	QuarantineTag string

	keeper       bool // of all accounts: it looks at the evidence bucket
	finder       *inventory.Finder
	memos        sync.Map // what several checks read: *memo by name
	simulation   *line    // to IAM's, of the site's account
	organization *line    // to AWS Organizations, the same for all sites
}

// A memo is something that is read once.
type memo struct {
	once  sync.Once
	value any
	err   error
}

// read reads something of a site once, for all checks that ask for it by a name. The first to come reads for all, and they share
// its error: an audit has one context, and each check's time is the same.
func read[T any](ctx context.Context, s *Site, name string, get func(context.Context) (T, error)) (T, error) {
	v, _ := s.memos.LoadOrStore(name, &memo{})
	m := v.(*memo)
	m.once.Do(func() { m.value, m.err = get(ctx) })
	value, _ := m.value.(T)
	return value, m.err
}

// at is the site's configuration in another region.
func (s *Site) at(region string) aws.Config {
	cfg := s.Config.Copy()
	if region != "" {
		cfg.Region = region
	}
	return cfg
}

// atOnce is how many resources of one check are looked at at once.
const atOnce = 4

// each looks at many resources, and keeps their order.
func each[T any](ctx context.Context, list []T, look func(context.Context, T) Finding) []Finding {
	found := make([]Finding, len(list))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for n, one := range list {
		g.Go(func() error {
			found[n] = look(ctx, one)
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
	return found
}

// A pager is one of the SDK's.
type pager[O, Options any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*Options)) (*O, error)
}

// pages lists what is on all pages.
func pages[T, O, Options any](ctx context.Context, p pager[O, Options], of func(*O) []T) (all []T, err error) {
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, of(page)...)
	}
	return all, nil
}

// instances are all of the site that are not gone.
func (s *Site) instances(ctx context.Context) ([]*inventory.Instance, error) {
	return read(ctx, s, "instances", func(ctx context.Context) (list []*inventory.Instance, err error) {
		f := &inventory.Finder{Config: s.finder.Config, Accounts: []string{s.Account}, Regions: []string{s.Region}}
		found, err := f.Find(ctx, nil)
		if err != nil {
			return nil, err
		}
		for _, g := range found.Gaps {
			return nil, g.Err
		}
		for _, i := range found.Instances {
			if i.State != "terminated" && i.State != "shutting-down" {
				list = append(list, i)
			}
		}
		return list, nil
	})
}

// running are those instances that run.
func (s *Site) running(ctx context.Context) (list []*inventory.Instance, err error) {
	all, err := s.instances(ctx)
	for _, i := range all {
		if i.State == "running" {
			list = append(list, i)
		}
	}
	return list, err
}

// partition is that of AWS, China or the US government.
func (s *Site) partition() string {
	switch {
	case strings.HasPrefix(s.Region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(s.Region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}
