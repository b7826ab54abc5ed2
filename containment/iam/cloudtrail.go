package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A CloudTrail is a Trail that asks CloudTrail's event history, which has the management events of 90 days, each in the
// region where its call was made. It is safe for concurrent use.
type CloudTrail struct {
	// Config returns the configuration for the account of a target.
	Config func(context.Context, containment.Target) (aws.Config, error)
	// Regions, if set, returns the regions that are enabled for the account. Without it, or where it fails, the
	// configuration's own is asked, and the one where the partition's global services have their events.
	Regions func(context.Context, aws.Config) ([]string, error)
}

var _ Trail = (*CloudTrail)(nil)

// Bounds of a look-up. CloudTrail takes two a second in a region, which all who look for the same incident share.
const (
	trailTime     = 30 * time.Second
	trailParallel = 8
)

// Event looks for an event that was made with the key and, where there is none, for the one that made the key: all regions at
// once, within half a minute. The first that is found is taken, since all name one issuer. An error that wraps ErrGone says which
// regions were asked.
func (c *CloudTrail) Event(ctx context.Context, t containment.Target, accessKey string) ([]byte, error) {
	cfg, err := c.Config(ctx, t)
	if err != nil {
		return nil, err
	}
	asked, others := c.regions(ctx, cfg)
	lctx, cancel := context.WithTimeoutCause(ctx, trailTime, fmt.Errorf("CloudTrail took more than %s", trailTime))
	defer cancel()
	var failed []string
	for _, by := range []types.LookupAttributeKey{types.LookupAttributeKeyAccessKeyId, types.LookupAttributeKeyResourceName} {
		event, errs := look(lctx, cfg, asked, by, accessKey)
		if event != nil {
			return event, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		failed = append(failed, errs...)
	}
	text := "of the key " + accessKey + " in " + strings.Join(asked, ", ") + others
	if len(failed) > 0 {
		slices.Sort(failed)
		return nil, fmt.Errorf("no event was found %s; not all could be asked: %s", text, strings.Join(slices.Compact(failed), "; "))
	}
	return nil, fmt.Errorf("an event %s %w or is not there yet: events take minutes to come, and those of data, such as S3's objects, never do",
		text, containment.ErrGone)
}

// regions are those to ask, and what to say of others.
func (c *CloudTrail) regions(ctx context.Context, cfg aws.Config) (asked []string, others string) {
	err := errors.New("which are enabled was not asked")
	if c.Regions != nil {
		if asked, err = c.Regions(ctx, cfg); err == nil && len(asked) > 0 {
			return asked, ""
		}
	}
	global := map[string]string{"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1", "aws": "us-east-1"}[containment.PartitionOf(cfg.Region)]
	asked = unique(slices.DeleteFunc([]string{cfg.Region, global}, func(s string) bool { return s == "" }))
	return asked, fmt.Sprintf("; other regions were not asked (%v)", err)
}

// look asks all regions for one event, and says which could not be asked.
func look(ctx context.Context, cfg aws.Config, regions []string, by types.LookupAttributeKey, value string) ([]byte, []string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var event []byte
	var failed []string
	var g errgroup.Group
	g.SetLimit(trailParallel)
	for _, region := range regions {
		g.Go(func() error {
			there := cfg.Copy()
			there.Region = region
			out, err := cloudtrail.NewFromConfig(there).LookupEvents(ctx, &cloudtrail.LookupEventsInput{
				LookupAttributes: []types.LookupAttribute{{AttributeKey: by, AttributeValue: &value}}, MaxResults: aws.Int32(1),
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case event != nil:
			case err != nil && ctx.Err() != nil:
				failed = append(failed, fmt.Sprintf("%s: %v", region, context.Cause(ctx)))
			case err != nil:
				failed = append(failed, fmt.Sprintf("%s: %v", region, awsconfig.Explain(err)))
			case len(out.Events) > 0:
				event = []byte(aws.ToString(out.Events[0].CloudTrailEvent))
				cancel()
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // it has none
	return event, failed
}

// A trailEvent is what is read of an event, whoever wrote it.
type trailEvent struct {
	EventName, EventTime, SourceIPAddress string
	UserIdentity                          struct {
		Type, ARN, AccessKeyID string
		InvokedBy              string
		SessionContext         struct {
			SessionIssuer struct{ Type, ARN string }
		}
	}
	RequestParameters struct{ RoleARN string }
	ResponseElements  struct {
		Credentials     struct{ AccessKeyID string }
		AssumedRoleUser struct{ ARN string }
	}
}

// Issuer returns the user or role that a temporary key was issued to, by a CloudTrail event that was made with it or that made it, and what
// the event says, for people. Its error wraps ErrRefused for root's.
func Issuer(event []byte, key string) (containment.Target, string, error) {
	var e trailEvent
	if err := json.Unmarshal(event, &e); err != nil {
		return containment.Target{}, "", fmt.Errorf("CloudTrail event: %w", err)
	}
	id := e.UserIdentity
	var arn, who string
	switch {
	case e.ResponseElements.Credentials.AccessKeyID == key && id.AccessKeyID != key:
		arn = e.RequestParameters.RoleARN
		session := e.ResponseElements.AssumedRoleUser.ARN
		if arn == "" {
			arn, session = id.ARN, id.ARN // of GetSessionToken and GetFederationToken
		}
		by := id.ARN
		if by == "" {
			by = id.InvokedBy
		}
		who = fmt.Sprintf("at %q it was issued to %q, by the call %q of %q from %q%s", e.EventTime, session, e.EventName, by, e.SourceIPAddress, instanceOf(session))
	case id.AccessKeyID != "" && id.AccessKeyID != key:
		return containment.Target{}, "", fmt.Errorf("the event is about the key %q", id.AccessKeyID)
	default:
		arn = id.SessionContext.SessionIssuer.ARN
		if arn == "" && (id.Type == "IAMUser" || id.Type == "Root") {
			arn = id.ARN // of GetSessionToken: the session is the user's own
		}
		who = fmt.Sprintf("at %q it made the call %q from %q as %q%s", e.EventTime, e.EventName, e.SourceIPAddress, id.ARN, instanceOf(id.ARN))
	}
	if arn == "" {
		return containment.Target{}, "", fmt.Errorf("the event has no session issuer; its identity is %q", id.ARN)
	}
	t, err := containment.ParseTarget(arn)
	return t, who, err
}

// instanceOf says that a session is an EC2 instance's, which AWS names by it.
func instanceOf(session string) string {
	ids := containment.Identity{ARN: session}.Instances()
	if len(ids) == 0 {
		return ""
	}
	return ", the session of an instance: contain " + ids[0] + " to deny what it was given alone, wherever that is used, and leave others with the role"
}
