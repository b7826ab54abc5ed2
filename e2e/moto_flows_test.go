//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
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
	"github.com/klauspost/compress/gzip"

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// flowsMoto: who talked to an instance by the flow logs of its VPC in a bucket of an emulator that someone else wrote, as text and as
// Parquet; and without one, what else may have it.
func flowsMoto(t *testing.T, cfg aws.Config, env []string, target, peer ec2types.Instance) {
	const partial = 3
	inventory := []string{"inventory", "--json", "--related", *target.InstanceId, "--flows", "3h"}
	start(t, env, inventory...).want(partial, 2*time.Minute, "there is no flow log of "+*target.VpcId)

	ec2, objects := awsec2.NewFromConfig(cfg), awss3.NewFromConfig(cfg, func(o *awss3.Options) { o.UsePathStyle = true })
	bucket := "flow-logs-of-the-vpc"
	got(objects.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(cfg.Region)}}))(t)
	made := got(ec2.CreateFlowLogs(t.Context(), &awsec2.CreateFlowLogsInput{
		ResourceIds: []string{*target.VpcId}, ResourceType: ec2types.FlowLogsResourceTypeVpc, TrafficType: ec2types.TrafficTypeAll,
		LogDestinationType: ec2types.LogDestinationTypeS3, LogDestination: aws.String("arn:aws:s3:::" + bucket),
	}))(t)
	if len(made.FlowLogIds) != 1 {
		t.Fatalf("%+v", made.Unsuccessful)
	}
	put := func(at time.Time, kind string, body []byte) {
		name := fmt.Sprintf("AWSLogs/%s/vpcflowlogs/%s/%s/%s_vpcflowlogs_%s_%s_%s_0a1b2c3d.log.%s", lab.MotoAccount, cfg.Region, at.Format("2006/01/02"),
			lab.MotoAccount, cfg.Region, made.FlowLogIds[0], at.Format("20060102T1504Z"), kind)
		got(objects.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &name, Body: bytes.NewReader(body)}))(t)
	}
	now := time.Now().UTC()
	for ago := -5 * time.Minute; ago <= 5*time.Minute; ago += 5 * time.Minute { // moto's instances are of now
		var b bytes.Buffer
		z, at := gzip.NewWriter(&b), now.Unix()
		fmt.Fprintln(z, "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status")
		fmt.Fprintf(z, "2 %s %s %s %s 40000 22 6 8 1000 %d %d ACCEPT OK\n", lab.MotoAccount, *target.NetworkInterfaces[0].NetworkInterfaceId, *peer.PrivateIpAddress, *target.PrivateIpAddress, at-60, at)
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		put(now.Add(-ago), "gz", b.Bytes())
	}
	columns := got(os.ReadFile(filepath.Join("..", "cmd", "internal", "parquet", "testdata", "gzip.parquet")))(t) // of other interfaces, and whole
	put(now, "parquet", columns)
	r := start(t, env, inventory...)
	r.want(partial, 2*time.Minute, "files, ", "are fetched from arn:aws:s3:::"+bucket) // two calls that moto does not know are refused
	for _, want := range []string{`"flow_log","id":"` + made.FlowLogIds[0], `"address":"` + *peer.PrivateIpAddress + `"`, `"in_bytes":3000`, `"instances":["` + *peer.InstanceId + `"]`} {
		if !strings.Contains(r.stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, r.stdout.String())
		}
	}
	if strings.Contains(r.stderr.String(), "could not be read") {
		t.Error(r.stderr.String())
	}
	put(now, "parquet", columns[:len(columns)-9])
	start(t, env, inventory...).want(partial, 2*time.Minute, "1 could not be read whole", "it does not end as a Parquet file does")
}
