//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// keyMoto asks an emulator that someone else wrote whose a key is. It has no event history: what the key did is not known, and said so.
func keyMoto(t *testing.T, cfg aws.Config, env []string) {
	t.Helper()
	iam := awsiam.NewFromConfig(cfg)
	admin := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	user, group := aws.String("leaky"), aws.String("operators")
	got(iam.CreateUser(t.Context(), &awsiam.CreateUserInput{UserName: user}))(t)
	got(iam.CreateGroup(t.Context(), &awsiam.CreateGroupInput{GroupName: group}))(t)
	got(iam.PutGroupPolicy(t.Context(), &awsiam.PutGroupPolicyInput{GroupName: group, PolicyName: aws.String("all"), PolicyDocument: &admin}))(t)
	got(iam.AddUserToGroup(t.Context(), &awsiam.AddUserToGroupInput{GroupName: group, UserName: user}))(t)
	key := *got(iam.CreateAccessKey(t.Context(), &awsiam.CreateAccessKeyInput{UserName: user}))(t).AccessKey.AccessKeyId
	second := *got(iam.CreateAccessKey(t.Context(), &awsiam.CreateAccessKeyInput{UserName: user}))(t).AccessKey.AccessKeyId

	r := start(t, env, "key", "--json", "--trail-region", "eu-west-1", key)
	r.want(3, 2*time.Minute)
	var m struct {
		Owner struct {
			ARN         string
			Groups      []string
			Credentials []struct{ ID, Status string }
			Rights      struct {
				Admin   bool
				AdminBy string `json:"admin_by"`
			}
		}
		Gaps []struct{ What string }
	}
	line, _, _ := strings.Cut(r.stdout.String(), "\n")
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatal(err)
	}
	o := m.Owner
	if o.ARN != "arn:aws:iam::"+lab.MotoAccount+":user/leaky" || !o.Rights.Admin || !strings.Contains(o.Rights.AdminBy, "operators") || !slices.Contains(o.Groups, "operators") {
		t.Errorf("%+v", o)
	}
	for _, id := range []string{key, second} {
		if !slices.ContainsFunc(o.Credentials, func(c struct{ ID, Status string }) bool { return c.ID == id && c.Status == "Active" }) {
			t.Errorf("%s is not among %+v", id, o.Credentials)
		}
	}
	if len(m.Gaps) == 0 {
		t.Error("nothing is told of the events that could not be read")
	}

	r = start(t, env, "key", "--trail-region", "eu-west-1", key)
	r.want(3, 2*time.Minute)
	if s := r.stdout.String(); strings.Contains(s, "did nothing") {
		t.Errorf("%s", s)
	}
}
