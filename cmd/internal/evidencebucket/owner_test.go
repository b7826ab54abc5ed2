package evidencebucket_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// Whether an account owns a bucket is said only by who may list it, in whichever region it is.
func TestOwned(t *testing.T) {
	const other, reader = "444455556666", "arn:aws:iam::999900001111:role/reader"
	lets := `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"999900001111"},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::` + name + `"}]}`
	for _, tt := range []struct {
		name, owner, policy, from string
		fault                     func(*awsfake.Call) bool // whose calls are refused
		owned, known              bool
	}{
		{"its own", account, lets, region, nil, true, true},
		{"its own, from another region", account, lets, "us-east-1", nil, true, true},
		{"another's", other, lets, region, nil, false, true},
		{"another's, from another region", other, lets, "us-east-1", nil, false, true},
		{"not to be listed", account, "", region, nil, false, false},
		{"not to be listed, from another region", account, "", "us-east-1", nil, false, false},
		{"out of order at the third call", account, lets, region, func(c *awsfake.Call) bool { return c.Seq > 2 }, false, false},
		{"out of order at the fourth call", account, lets, region, func(c *awsfake.Call) bool { return c.Seq > 3 }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.cloud.Account(account).Region(region).AddBucket(name)
			b.Policy = tt.policy
			if tt.fault != nil {
				w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
					if tt.fault(c) {
						return awsfake.Fault{Error: awsfake.Unavailable}
					}
					return awsfake.Fault{}
				}
			}
			owned, err := evidencebucket.Place{Bucket: name, Owner: tt.owner, PathStyle: true}.Owned(t.Context(), w.cloud.Config(reader, tt.from), "999900001111")
			if owned != tt.owned || (err == nil) != tt.known {
				t.Errorf("%v, %v", owned, err)
			}
		})
	}
	w := newWorld(t)
	w.cloud.Account(account).Region(region).AddBucket(name).Policy = lets
	// The account that is said to be a stranger is the owner: a server that looks at no owner answers so.
	if owned, err := (evidencebucket.Place{Bucket: name, Owner: account, PathStyle: true}).Owned(t.Context(), w.cloud.Config(reader, region), account); owned || err == nil || !strings.Contains(err.Error(), "not AWS's S3") {
		t.Errorf("%v, %v", owned, err)
	}
	if _, err := (evidencebucket.Place{Bucket: "nobodys", Owner: account, PathStyle: true}).Owned(t.Context(), w.cloud.Config(reader, region), "999900001111"); !errors.Is(err, evidencebucket.ErrNoBucket) {
		t.Error(err)
	}
}
