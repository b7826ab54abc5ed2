package keytrail_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const (
	own       = "111122223333"
	other     = "444455556666"
	responder = "arn:aws:iam::" + own + ":role/ir/responder"
	theirRole = "arn:aws:iam::" + other + ":role/responder"
)

// A world is an account with a user whose key leaked, and another account that trusts it.
type world struct {
	*testing.T
	cloud  *awsfake.Cloud
	alice  *awsfake.User
	key    string
	events int
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, cloud: awsfake.New()}
	t.Cleanup(w.cloud.Close)
	w.cloud.AddRole(theirRole, awsfake.Trust{Principals: []string{responder}})
	a := w.cloud.Account(own)
	for _, region := range []string{"eu-west-1", "us-east-1", "ap-south-1"} {
		a.Region(region)
	}
	a.Region("me-south-1").Off = true
	w.cloud.Account(other).Region("us-east-1")
	w.alice = a.AddUser("/team/", "alice")
	w.key = w.alice.AddKey("Active").ID
	return w
}

func arnOf(account, rest string) string { return "arn:aws:iam::" + account + ":" + rest }

// at is so many minutes after the leak, which was three hours before now.
func at(minutes int) time.Time {
	return awsfake.Start.Add(-3 * time.Hour).Add(time.Duration(minutes) * time.Minute)
}

// did puts an event into a region's history. by is an access key with whose it is: "AKIA... arn:...". Texts of JSON are of the request and the answer.
func (w *world) did(account, region string, minutes int, by, service, name, request, answer string, resources ...string) {
	w.Helper()
	w.events++
	key, arn, _ := strings.Cut(by, " ")
	kind, user := "AssumedRole", ""
	if _, name, ok := strings.Cut(arn, ":user/"); ok {
		kind, user = "IAMUser", name[strings.LastIndexByte(name, '/')+1:]
	}
	issuer := ""
	if _, session, ok := strings.Cut(arn, ":assumed-role/"); ok {
		name, _, _ := strings.Cut(session, "/")
		issuer = arnOf(trail.AccountOf(arn), "role/"+map[string]string{"web": "service/"}[name]+name)
	}
	code := ""
	if c, denied := strings.CutPrefix(answer, "!"); denied {
		code, answer = c, "null"
	}
	raw := fmt.Sprintf(`{"eventVersion":"1.11","eventID":"e-%d","eventTime":%q,"eventSource":"%s.amazonaws.com","eventName":%q,"awsRegion":%q,"recipientAccountId":%q,"sourceIPAddress":"198.51.100.7",
		"userAgent":"aws-cli/2 \u001b[31mred","errorCode":%q,"userIdentity":{"type":%q,"arn":%q,"accountId":%q,"accessKeyId":%q,"userName":%q,"sessionContext":{"sessionIssuer":{"arn":%q}}},"requestParameters":%s,"responseElements":%s,"eventCategory":"Management"}`,
		w.events, at(minutes).Format(time.RFC3339), service, name, region, account, code, kind, arn, trail.AccountOf(arn), key, user, issuer, or(request), or(answer))
	if !json.Valid([]byte(raw)) {
		w.Fatalf("no JSON: %s", raw)
	}
	r := w.cloud.Account(account).Region(region)
	w.cloud.Edit(func() {
		r.Trail = append([]awsfake.TrailEvent{{JSON: raw, Resources: resources}}, r.Trail...) // the latest first
	})
}

func or(s string) string {
	if s == "" {
		return "null"
	}
	return s
}

func (w *world) tracer() *keytrail.Tracer {
	a := &awsconfig.Accounts{Base: w.cloud.Config(responder, "eu-west-1"), Role: "responder", NoIMDS: true}
	return &keytrail.Tracer{Config: a.Config, Since: awsfake.Start.Add(-trail.Kept), Until: awsfake.Start, Depth: 4, Accounts: []string{own, other}, History: &trail.History{Config: a.Config, Pace: time.Nanosecond}}
}

func (w *world) trace(t *keytrail.Tracer, target string) *keytrail.Found {
	w.Helper()
	x, err := containment.ParseTarget(target)
	if err != nil {
		w.Fatal(err)
	}
	f, err := t.Trace(w.Context(), x)
	if err != nil {
		w.Fatal(err)
	}
	return f
}

// labels are those that were followed, with how they were come by.
func labels(f *keytrail.Found) (list []string) {
	for _, s := range f.Subjects {
		text := s.Label()
		if s.Via != nil {
			text += " by " + s.Via.Event + " of " + s.Via.Of
		}
		list = append(list, text)
	}
	return list
}

func gaps(f *keytrail.Found) (list []string) {
	for _, g := range f.Gaps {
		if !g.Off {
			list = append(list, g.String())
		}
	}
	return list
}
