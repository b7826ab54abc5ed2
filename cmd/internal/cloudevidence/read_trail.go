package cloudevidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// trailPace is how often CloudTrail takes a look-up in a region: twice a second.
const trailPace = 500 * time.Millisecond

// trailTries is how often a page is asked for while CloudTrail says that it is asked too much, beside the SDK's own.
const trailTries = 6

// trailPage is the most events that CloudTrail gives at once.
const trailPage = 50

// A question is what CloudTrail is asked: it takes one attribute at a time.
type question struct {
	by     types.LookupAttributeKey
	value  string
	region string
}

func (q question) String() string { return fmt.Sprintf("%s %s in %s", q.by, q.value, q.region) }

// questions are about the instance; with its credentials, whose session is called by its id; and about its role, which IAM's region
// tells, too.
func (r *reading) questions(ctx context.Context) ([]question, error) {
	home := r.cfg.Region
	global := map[string]string{"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}[containment.PartitionOf(home)]
	if global == "" {
		global = "us-east-1"
	}
	var list []question
	ask := func(by types.LookupAttributeKey, value string) {
		for _, region := range slices.Compact([]string{home, global}) {
			list = append(list, question{by, value, region})
		}
	}
	list = append(list, question{types.LookupAttributeKeyResourceName, r.t.Name, home})
	ask(types.LookupAttributeKeyUsername, r.t.Name)
	profile, err := r.profileName()
	if err != nil || profile == "" {
		return list, err
	}
	out, err := r.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &profile})
	if err != nil {
		return list, fmt.Errorf("what was done to its role was not asked: the profile %s: %w", profile, err)
	}
	for _, role := range out.InstanceProfile.Roles {
		ask(types.LookupAttributeKeyResourceName, aws.ToString(role.RoleName))
	}
	return list, nil
}

// readTrail asks the event history, which has the management events of 90 days.
func readTrail(r *reading, ctx context.Context) (answer, error) {
	end := r.g.now()
	begin := end.Add(-r.g.since())
	list, err := r.questions(ctx)
	errs := []error{err}
	a := answer{notes: []string{fmt.Sprintf("from %s to %s; the history has neither events of data nor the last minutes, and other regions were not asked",
		begin.Format("2006-01-02T15:04:05Z"), end.Format("2006-01-02T15:04:05Z"))}}
	seen := map[string]bool{}
	var events [][]byte
	answered := false
	for n, q := range list {
		if n > 0 {
			if err := r.g.sleep(ctx, trailPace); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", q, err))
				break
			}
		}
		found, more, err := r.look(ctx, q, begin, end)
		answered = answered || err == nil || len(found) > 0
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", q, err))
		}
		if more {
			a.notes = append(a.notes, fmt.Sprintf("%s: there are more events than the latest %d", q, len(found)))
		}
		for _, e := range found {
			if id := aws.ToString(e.EventId); id == "" || !seen[id] {
				seen[id] = true
				events = append(events, oneLine(aws.ToString(e.CloudTrailEvent)))
			}
		}
	}
	switch err := errors.Join(errs...); {
	case !answered:
		return a, err
	case len(events) == 0 && err == nil:
		a.absent = "CloudTrail knows of none: " + strings.Join(a.notes, "; ")
		a.notes = nil
		return a, nil
	default:
		a.content = lines(events)
		a.notes = append(a.notes, fmt.Sprintf("%d events", len(events)))
		return a, err
	}
}

func (g *Gatherer) since() time.Duration {
	if g.Since > 0 {
		return g.Since
	}
	return DefaultSince
}

// look asks one question, the latest events first. more says that there are more than it may bring.
func (r *reading) look(ctx context.Context, q question, begin, end time.Time) (found []types.Event, more bool, err error) {
	cfg := r.cfg.Copy()
	cfg.Region = q.region
	client := cloudtrail.NewFromConfig(cfg)
	pages := r.g.Pages
	if pages <= 0 {
		pages = DefaultPages
	}
	in := &cloudtrail.LookupEventsInput{
		LookupAttributes: []types.LookupAttribute{{AttributeKey: q.by, AttributeValue: &q.value}}, StartTime: &begin, EndTime: &end, MaxResults: aws.Int32(trailPage),
	}
	for page := range pages {
		if page > 0 {
			if err := r.g.sleep(ctx, trailPace); err != nil {
				return found, true, err
			}
		}
		out, err := client.LookupEvents(ctx, in)
		for try := 1; err != nil && awsconfig.Code(err) == "ThrottlingException" && try < trailTries; try++ {
			if serr := r.g.sleep(ctx, trailPace<<try); serr != nil {
				return found, true, serr
			}
			out, err = client.LookupEvents(ctx, in)
		}
		if err != nil {
			return found, true, err
		}
		found = append(found, out.Events...)
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return found, false, nil
		}
	}
	return found, true, nil
}

// oneLine is JSON on one line; what is none becomes a JSON string, so that nothing is lost.
func oneLine(text string) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err == nil {
		return b.Bytes()
	}
	s, _ := json.Marshal(text) //nolint:errcheck // of a string
	return s
}
