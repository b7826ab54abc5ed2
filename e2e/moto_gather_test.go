//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
)

// gatherMoto takes what an emulator that someone else wrote has of an instance with a role, user data and a second volume. It knows neither
// pictures of the console nor CloudTrail's events: those are named, and make the code 3.
func gatherMoto(t *testing.T, cfg aws.Config, env []string) {
	t.Helper()
	iam, ec2 := awsiam.NewFromConfig(cfg), awsec2.NewFromConfig(cfg)
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	allow := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`
	name, one := aws.String("gathered"), aws.Int32(1)
	got(iam.CreateRole(t.Context(), &awsiam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: &trust}))(t)
	got(iam.PutRolePolicy(t.Context(), &awsiam.PutRolePolicyInput{RoleName: name, PolicyName: name, PolicyDocument: &allow}))(t)
	policy := got(iam.CreatePolicy(t.Context(), &awsiam.CreatePolicyInput{PolicyName: name, PolicyDocument: &allow}))(t)
	got(iam.AttachRolePolicy(t.Context(), &awsiam.AttachRolePolicyInput{RoleName: name, PolicyArn: policy.Policy.Arn}))(t)
	got(iam.CreateInstanceProfile(t.Context(), &awsiam.CreateInstanceProfileInput{InstanceProfileName: name}))(t)
	got(iam.AddRoleToInstanceProfile(t.Context(), &awsiam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name}))(t)
	id := *got(ec2.RunInstances(t.Context(), &awsec2.RunInstancesInput{
		ImageId: aws.String("ami-785db401"), InstanceType: "m5.large", MinCount: one, MaxCount: one,
		UserData:           aws.String(base64.StdEncoding.EncodeToString([]byte("PASSWORD=hunter2\n"))),
		IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: name},
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{
			{DeviceName: aws.String("/dev/sda1"), Ebs: &ec2types.EbsBlockDevice{VolumeSize: one}}, {DeviceName: aws.String("/dev/sdb"), Ebs: &ec2types.EbsBlockDevice{VolumeSize: one}},
		},
	}))(t).Instances[0].InstanceId

	out := t.TempDir()
	args := []string{"gather", "--unsigned", "--case", "moto", "--items", "all,snapshots", "--snapshot-share", "444455556666", "--json", "-o", out, id}
	sets := map[string]bool{}
	for range 2 { // the second run takes the snapshots of the first
		r := start(t, env, args...)
		r.want(3, 2*time.Minute)
		for line := range strings.Lines(r.stdout.String()) {
			var m struct {
				Type  string `json:"message_type"`
				Items []struct {
					Name, Error, Absent, SHA256 string
					Bytes                       int64
				}
				Snapshots struct {
					Snapshots []struct {
						ID, State string
						Shared    []string `json:"shared_with"`
					}
				}
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			if m.Type != "gathered" {
				continue
			}
			for _, it := range m.Items {
				switch unknown := it.Name == "screenshot" || it.Name == "trail"; {
				case unknown != strings.HasPrefix(it.Error, "UNKNOWN"), !unknown && it.Absent == "" && it.SHA256 == "", it.Name == "user-data" && it.Bytes != 17:
					t.Errorf("%+v", it)
				}
			}
			for _, s := range m.Snapshots.Snapshots {
				if sets[s.ID] = true; s.State != "completed" || len(s.Shared) != 1 {
					t.Errorf("%+v", s)
				}
			}
		}
	}
	if len(sets) != 2 {
		t.Errorf("snapshots %v", sets)
	}
	records, err := filepath.Glob(filepath.Join(out, "*.gathered"))
	if err != nil || len(records) != 2 {
		t.Fatalf("%q %v", records, err)
	}
	text, err := os.ReadFile(records[0])
	if err != nil || strings.Contains(string(text), "hunter2") {
		t.Errorf("a secret in the record, or none: %v", err)
	}
	r := start(t, env, "verify", records[0])
	r.want(4, time.Minute) // nobody signed it
	if s := r.stdout.String(); !strings.Contains(s, ": untrusted; ") || strings.Contains(s, "mismatch") {
		t.Errorf("%s", s)
	}
}
