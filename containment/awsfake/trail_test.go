package awsfake

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
)

// The event history comes in pages, of one attribute, of a time, and no further back than 90 days; a token holds for its own question.
func TestLookupEvents(t *testing.T) {
	c := New()
	t.Cleanup(c.Close)
	r := c.Account("111122223333").Region("eu-west-1")
	for i := range 120 {
		r.Trail = append(r.Trail, TrailEvent{JSON: fmt.Sprintf(`{"eventID":"%d","eventName":"ListUsers","eventTime":%q,"userIdentity":{"accessKeyId":"AKIAONE","arn":"arn:aws:sts::111122223333:assumed-role/web/i-1"}}`,
			i, Start.Add(-time.Duration(i)*24*time.Hour).Format(time.RFC3339))})
	}
	api := cloudtrail.NewFromConfig(c.Config("arn:aws:iam::111122223333:role/r", "eu-west-1"))
	by := func(k types.LookupAttributeKey, v string) *cloudtrail.LookupEventsInput {
		return &cloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{{AttributeKey: k, AttributeValue: &v}}}
	}
	in := by(types.LookupAttributeKeyAccessKeyId, "AKIAONE")
	pages, events := 0, 0
	var token *string
	for p := cloudtrail.NewLookupEventsPaginator(api, in); p.HasMorePages(); pages++ {
		out, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if events += len(out.Events); out.NextToken != nil {
			token = out.NextToken
		}
	}
	if pages != 2 || events != 91 {
		t.Errorf("%d pages, %d events", pages, events)
	}
	other := by(types.LookupAttributeKeyUsername, "i-1")
	other.NextToken = token
	if _, err := api.LookupEvents(t.Context(), other); err == nil {
		t.Error("another question's token was taken")
	}
	other.NextToken, other.StartTime, other.EndTime = nil, aws.Time(Start.Add(-50*time.Hour)), aws.Time(Start.Add(-time.Hour))
	out, err := api.LookupEvents(t.Context(), other)
	if err != nil || len(out.Events) != 2 || *out.Events[0].EventId != "1" {
		t.Errorf("%v %+v", err, out)
	}
}
