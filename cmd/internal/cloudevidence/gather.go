package cloudevidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go/middleware"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A Gatherer takes evidence of instances. Its fields are set before the first call; it is then safe for concurrent use.
type Gatherer struct {
	// Config gives the configuration for calls about a target: awsconfig.Accounts has one. Its retryer is what throttling is met
	// with first.
	Config func(context.Context, containment.Target) (aws.Config, error)
	// Since is how far back CloudTrail is asked; 0: DefaultSince. Pages bounds the pages of 50 events of each question; 0: DefaultPages.
	Since time.Duration
	Pages int
	// Slow, if set, bounds by its capacity how many read what is slow at once, of all who share it.
	Slow chan struct{}
	// Now and Sleep are the clock; nil: the real one.
	Now   func() time.Time
	Sleep func(context.Context, time.Duration) error
}

// Bounds on what CloudTrail is asked, unless said otherwise.
const (
	DefaultSince = 7 * 24 * time.Hour
	DefaultPages = 10
)

// What one item may take. CloudTrail takes two calls a second, which all who look for the same incident share.
const (
	itemTime  = 45 * time.Second
	trailTime = 5 * time.Minute
)

func (g *Gatherer) now() time.Time {
	if g.Now != nil {
		return g.Now().UTC()
	}
	return time.Now().UTC()
}

func (g *Gatherer) sleep(ctx context.Context, d time.Duration) error {
	if g.Sleep != nil {
		return g.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// A reading is one instance being read.
type reading struct {
	g   *Gatherer
	t   containment.Target
	cfg aws.Config
	ec2 *ec2.Client
	iam *iam.Client

	// Of what several items need, each is asked for once, by the first that needs it.
	instance   func() (*types.Instance, error)
	interfaces func() ([]types.NetworkInterface, error)
	described  *ec2.DescribeInstancesOutput
	listed     *ec2.DescribeNetworkInterfacesOutput
}

// An answer is what a reader returns: a file's content, or why there is none. An error beside content says that it is not all.
type answer struct {
	content []byte
	absent  string
	notes   []string
}

// readers by the name of their kind.
var readers = map[string]func(*reading, context.Context) (answer, error){
	"instance": readInstance, "attributes": readAttributes, "user-data": readUserData, "volumes": readVolumes, "interfaces": readInterfaces,
	"security-groups": readGroups, "routes": readRoutes, "network-acls": readACLs, "tags": readTags, "profile": readProfile,
	"console": readConsole, "console-latest": readLatestConsole, "screenshot": readScreenshot, "trail": readTrail,
}

// Read reads what kinds name of an instance, all at once. What cannot be read is in its item: there is no other error. item, if set, is called with each
// as soon as it is there, from several goroutines. quick, if set, is called once everything is read, though item may still be at work, but what is slow,
// and what a change to the instance would not change.
func (g *Gatherer) Read(ctx context.Context, t containment.Target, want []Kind, item func(Item, []byte), quick func()) *Collection {
	c := &Collection{Items: make([]Item, len(want)), kept: make([][]byte, len(want))}
	limit, cancel := context.WithTimeoutCause(ctx, itemTime, fmt.Errorf("who asks, and as which role, took more than %s", itemTime))
	cfg, err := g.Config(limit, t)
	cancel()
	cfg.APIOptions = append(cfg.APIOptions[:len(cfg.APIOptions):len(cfg.APIOptions)], noteCalls)
	r := &reading{g: g, t: t, cfg: cfg, ec2: ec2.NewFromConfig(cfg), iam: iam.NewFromConfig(cfg)}
	// Who asks first may be cut short by its own limit; the description is then UNKNOWN for all who need it.
	shared, cancel := context.WithTimeoutCause(ctx, itemTime, fmt.Errorf("it took more than %s", itemTime))
	defer cancel()
	notes := [2]*calls{{region: cfg.Region, now: g.now}, {region: cfg.Region, now: g.now}}
	r.instance = sync.OnceValues(func() (*types.Instance, error) { return r.describe(notes[0].in(shared)) })
	r.interfaces = sync.OnceValues(func() ([]types.NetworkInterface, error) { return r.list(notes[1].in(shared)) })
	var fast, slow, told sync.WaitGroup
	tell := func(n int, content []byte) {
		if it := c.Items[n]; item != nil {
			told.Go(func() { item(it, content) })
		}
	}
	for n, k := range want {
		c.Items[n] = Item{Name: k.Name, What: k.What}
		group, limit := &fast, itemTime
		if k.Slow {
			group, limit = &slow, trailTime
		}
		group.Go(func() {
			if k.Slow && g.Slow != nil && err == nil {
				r.instance()         //nolint:errcheck // the question needs it, whose time runs already; its answer is kept
				g.Slow <- struct{}{} // who has it reads for trailTime at most, or until ctx ends
				defer func() { <-g.Slow }()
			}
			it := &c.Items[n]
			it.Begun = g.now()
			begin := time.Now()
			if err != nil {
				it.Error = unknown(err)
				tell(n, nil)
				return
			}
			note := &calls{region: cfg.Region, now: g.now}
			ctx, cancel := context.WithTimeoutCause(note.in(ctx), limit, fmt.Errorf("it took more than %s", limit))
			defer cancel()
			a, rerr := readers[k.Name](r, ctx)
			it.Took, it.Notes, it.Absent = time.Since(begin), a.notes, a.absent
			if rerr != nil {
				if ctx.Err() != nil && errors.Is(rerr, context.DeadlineExceeded) {
					rerr = fmt.Errorf("%w (%w)", context.Cause(ctx), rerr)
				}
				it.Error = unknown(rerr)
			}
			it.Calls = note.list()
			switch k.Name {
			case "instance":
				it.Calls = append(notes[0].list(), it.Calls...)
			case "interfaces":
				it.Calls = append(notes[1].list(), it.Calls...)
			}
			if a.content != nil {
				a.content = c.keep(n, k.File, a.content)
			}
			tell(n, a.content)
		})
	}
	fast.Wait()
	if quick != nil {
		quick()
	}
	slow.Wait()
	told.Wait()
	if in := r.described; in != nil && len(in.Reservations) > 0 && len(in.Reservations[0].Instances) > 0 {
		i := in.Reservations[0].Instances[0]
		c.Windows = i.Platform == types.PlatformValuesWindows
		if i.State != nil {
			c.State = string(i.State.Name)
		}
		for _, tag := range i.Tags {
			if aws.ToString(tag.Key) == "Name" {
				c.Name = aws.ToString(tag.Value)
			}
		}
	}
	return c
}

// unknown is what an item says of an error.
func unknown(err error) string {
	err = awsconfig.Explain(err)
	if errors.Is(err, containment.ErrDenied) {
		return "UNKNOWN, as your credentials may not read it: " + err.Error()
	}
	return "UNKNOWN: " + err.Error()
}

// calls are those that one item made.
type calls struct {
	region string
	now    func() time.Time
	fold   string // of this operation only the last of those in a row is listed

	mu    sync.Mutex
	calls []Call
}

type callsKey struct{}

func (c *calls) in(ctx context.Context) context.Context { return context.WithValue(ctx, callsKey{}, c) }

func (c *calls) list() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[:len(c.calls):len(c.calls)]
}

// noteCalls adds to a client what notes each call, with the id of its request, in the calls of its context.
func noteCalls(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("shotglass/noteCalls", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
		middleware.InitializeOutput, middleware.Metadata, error,
	) {
		c, _ := ctx.Value(callsKey{}).(*calls)
		if c == nil {
			return next.HandleInitialize(ctx, in)
		}
		one := Call{Operation: awsmiddleware.GetOperationName(ctx), At: c.now(), Region: cmp.Or(awsmiddleware.GetRegion(ctx), c.region)}
		out, meta, err := next.HandleInitialize(ctx, in)
		one.RequestID, _ = awsmiddleware.GetRequestIDMetadata(meta)
		if at, ok := awsmiddleware.GetServerTime(meta); ok {
			one.AWSTime = at.UTC()
		} else if err == nil && one.RequestID == "" {
			return out, meta, nil // only signed, as the SDK does within CopySnapshot: nobody was asked
		}
		if err != nil {
			var answered interface{ ServiceRequestID() string }
			if errors.As(err, &answered) && one.RequestID == "" {
				one.RequestID = answered.ServiceRequestID()
			}
			one.Error = cmp.Or(awsconfig.Code(err), "no answer")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if n := len(c.calls); n > 0 && one.Operation == c.fold && c.calls[n-1].Operation == c.fold {
			c.calls = c.calls[:n-1]
		}
		if len(c.calls) < maxCalls {
			c.calls = append(c.calls, one)
		}
		return out, meta, err
	}), middleware.After)
}
