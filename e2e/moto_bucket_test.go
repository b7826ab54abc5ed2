//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// An evidence bucket on an emulator that someone else wrote: made, found right, found wrong when somebody suspends its versioning, and completed.
// moto's caller is a user that its IAM does not know, so the break-glass role is another.
func TestMotoBucket(t *testing.T) {
	t.Parallel()
	moto, err := parts.StartMoto(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { moto.Close() })
	cfg, env := moto.Config("eu-west-1"), moto.Env("eu-west-1")
	got(awsiam.NewFromConfig(cfg).CreateRole(t.Context(), &awsiam.CreateRoleInput{RoleName: aws.String("glass"), AssumeRolePolicyDocument: aws.String("{}")}))(t)
	run := func(code int, args ...string) string {
		t.Helper()
		r := start(t, env, append([]string{"bucket"}, args...)...)
		r.want(code, 2*time.Minute)
		return r.stdout.String()
	}
	create := []string{"create", "--yes", "--accept-lock-out", "--retain", "30d", "--break-glass", "arn:aws:iam::" + lab.MotoAccount + ":role/glass", "evidence"}
	run(0, create...)
	if out := run(0, "check", "s3://evidence/case-42/"); strings.Count(out, "PASS ") != 15 {
		t.Errorf("%s", out)
	}
	api := awss3.NewFromConfig(cfg, func(o *awss3.Options) { o.UsePathStyle = true })
	if _, err := api.PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{Bucket: aws.String("evidence-logs"), VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusSuspended}}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.DeleteBucketLifecycle(t.Context(), &awss3.DeleteBucketLifecycleInput{Bucket: aws.String("evidence")}); err != nil {
		t.Fatal(err)
	}
	const lacks = 3
	if out := run(lacks, "check", "evidence"); !strings.Contains(out, "FAIL  stale-uploads") || !strings.Contains(run(lacks, "check", "evidence-logs"), "FAIL  versioning") {
		t.Errorf("%s", out)
	}
	run(0, create...)
	run(0, "check", "evidence")
	if out := run(lacks, "check", "evidence-logs"); !strings.Contains(out, "PASS  versioning") {
		t.Errorf("%s", out)
	}
}
