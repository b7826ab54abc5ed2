//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// An analysis instance on an emulator that someone else wrote, which carries the template out as far as it knows its resources: made with a tool in
// the case's bucket, and listed. That it is destroyed to the end only the fake shows. moto knows no endpoint of EC2 Instance Connect, so the way in is the examiner's address.
func TestMotoWorkstation(t *testing.T) {
	t.Parallel()
	moto, err := parts.StartMoto(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { moto.Close() })
	cfg, env := moto.Config("eu-west-1"), moto.Env("eu-west-1")
	s3 := awss3.NewFromConfig(cfg, func(o *awss3.Options) { o.UsePathStyle = true })
	got(s3.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("evidence"), CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}))(t)
	tools := t.TempDir()
	if err := os.WriteFile(filepath.Join(tools, "shotglass"), []byte("a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(code int, args ...string) string {
		t.Helper()
		r := start(t, env, append([]string{"workstation"}, args...)...)
		r.want(code, 2*time.Minute)
		return r.stdout.String()
	}
	out := run(0, "create", "--yes", "--owner", "kim", "--s3-path-style", "--evidence", "s3://evidence/case-42/", "--tools", tools, "--examiner", "198.51.100.7/32", "case-42")
	ec2 := awsec2.NewFromConfig(cfg)
	ours := []ec2types.Filter{{Name: aws.String("tag:shotglass-case"), Values: []string{"case-42"}}, {Name: aws.String("instance-state-name"), Values: []string{"running"}}}
	i := got(ec2.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{Filters: ours}))(t)
	if len(i.Reservations) != 1 || !strings.Contains(out, *i.Reservations[0].Instances[0].InstanceId) {
		t.Fatalf("%d instances\n%s", len(i.Reservations), out)
	}
	groups := got(ec2.DescribeSecurityGroups(t.Context(), &awsec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{*i.Reservations[0].Instances[0].VpcId}}}}))(t)
	for _, g := range groups.SecurityGroups {
		for _, p := range g.IpPermissions {
			for _, r := range p.IpRanges {
				if *r.CidrIp != "198.51.100.7/32" {
					t.Errorf("%s lets %s in", *g.GroupName, *r.CidrIp)
				}
			}
		}
	}
	objects := got(s3.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("evidence")}))(t)
	if len(objects.Contents) != 1 || !strings.HasPrefix(*objects.Contents[0].Key, "case-42/tools/") || !strings.HasSuffix(*objects.Contents[0].Key, "-shotglass") {
		t.Errorf("%d objects", len(objects.Contents))
	}
	if out := run(0, "list", "--hourly-price", "0.25"); !strings.Contains(out, "case-42  kim") || !strings.Contains(out, "at 0.25 an hour") {
		t.Errorf("%s", out)
	}
	// moto deletes the stack of an instance that was terminated no further than to some resource, which differs: that is told.
	r := start(t, env, "workstation", "destroy", "--yes", "case-42")
	r.want(1, 2*time.Minute, "Instance is terminated: i-", "delete the stack shotglass-workstation-case-42: ")
	if i := got(ec2.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{Filters: ours}))(t); len(i.Reservations) != 0 {
		t.Errorf("%d instances are left", len(i.Reservations))
	}
}
