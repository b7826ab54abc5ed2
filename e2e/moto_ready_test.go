//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	ekstypes "github.com/aws/aws-sdk-go-v2/service/eks/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/networkfirewall"
	firewalltypes "github.com/aws/aws-sdk-go-v2/service/networkfirewall/types"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	waftypes "github.com/aws/aws-sdk-go-v2/service/wafv2/types"

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// Checks of readiness on an emulator that someone else wrote: each fails while nothing is set, the right way round, and passes once what it
// asks for is.
func TestMotoReady(t *testing.T) {
	t.Parallel()
	moto, err := parts.StartMoto(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { moto.Close() })
	cfg := moto.Config("eu-west-1")
	objects := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	network, trails := awsec2.NewFromConfig(cfg), cloudtrail.NewFromConfig(cfg)
	for _, name := range []string{"data", "logs"} {
		got(objects.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}}))(t)
	}
	web := runMoto(t, cfg, 1, "Env=prod")[0]
	logs, clusters, firewalls, waf := cloudwatchlogs.NewFromConfig(cfg), eks.NewFromConfig(cfg), networkfirewall.NewFromConfig(cfg), wafv2.NewFromConfig(cfg)
	got(logs.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: aws.String("app")}))(t)
	got(logs.PutRetentionPolicy(t.Context(), &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: aws.String("app"), RetentionInDays: aws.Int32(30)}))(t)
	got(clusters.CreateCluster(t.Context(), &eks.CreateClusterInput{Name: aws.String("prod"), RoleArn: aws.String("arn:aws:iam::" + lab.MotoAccount + ":role/eks"), ResourcesVpcConfig: &ekstypes.VpcConfigRequest{SubnetIds: []string{*web.SubnetId}}}))(t)
	edge := *got(firewalls.CreateFirewall(t.Context(), &networkfirewall.CreateFirewallInput{FirewallName: aws.String("edge"), FirewallPolicyArn: aws.String("arn:aws:network-firewall:eu-west-1:" + lab.MotoAccount + ":firewall-policy/p"),
		VpcId: web.VpcId, SubnetMappings: []firewalltypes.SubnetMapping{{SubnetId: web.SubnetId}}}))(t).Firewall.FirewallArn
	front := *got(waf.CreateWebACL(t.Context(), &wafv2.CreateWebACLInput{Name: aws.String("front"), Scope: waftypes.ScopeRegional, DefaultAction: &waftypes.DefaultAction{Allow: &waftypes.AllowAction{}},
		VisibilityConfig: &waftypes.VisibilityConfig{CloudWatchMetricsEnabled: false, MetricName: aws.String("front"), SampledRequestsEnabled: false}}))(t).Summary.ARN
	classic, databases, keys := elasticloadbalancing.NewFromConfig(cfg), rds.NewFromConfig(cfg), kms.NewFromConfig(cfg)
	got(classic.CreateLoadBalancer(t.Context(), &elasticloadbalancing.CreateLoadBalancerInput{LoadBalancerName: aws.String("old"), AvailabilityZones: []string{"eu-west-1a"},
		Listeners: []classictypes.Listener{{Protocol: aws.String("http"), LoadBalancerPort: 80, InstancePort: aws.Int32(80)}}}))(t)
	got(databases.CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{DBInstanceIdentifier: aws.String("shop"), Engine: aws.String("postgres"), DBInstanceClass: aws.String("db.m5.large"),
		AllocatedStorage: aws.Int32(20), MasterUsername: aws.String("shop"), MasterUserPassword: aws.String("correct horse")}))(t)
	for name, logs := range map[string][]string{"wares": nil, "papers": {"audit"}} { // moto changes nothing of a cluster's logs later
		got(databases.CreateDBCluster(t.Context(), &rds.CreateDBClusterInput{DBClusterIdentifier: &name, Engine: aws.String("aurora-mysql"), MasterUsername: aws.String("clerk"), MasterUserPassword: aws.String("correct horse"), EnableCloudwatchLogsExports: logs}))(t)
	}
	key := *got(keys.CreateKey(t.Context(), &kms.CreateKeyInput{}))(t).KeyMetadata.Arn
	got(network.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String("eu-west-1a"), Size: aws.Int32(1), Encrypted: aws.Bool(true), KmsKeyId: &key}))(t)

	const forensic = "444455556666"
	states := func(code int, checks ...string) map[string]string {
		t.Helper()
		args := []string{"ready", "--json", "--ec2-region", "eu-west-1", "--bucket", "logs", "--forensic-account", forensic}
		for _, c := range checks {
			args = append(args, "--check", c)
		}
		r := start(t, moto.Env("eu-west-1"), args...)
		r.want(code, 2*time.Minute)
		found := map[string]string{}
		for line := range strings.Lines(r.stdout.String()) {
			var m struct{ Message_type, Check, State, Cause, Resource, Detail string } //nolint:revive,staticcheck // as JSON has it
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			if m.Message_type == "ready" {
				found[m.Check+" "+m.Resource] = m.State
			}
		}
		return found
	}
	want := func(have map[string]string, state string, keys ...string) {
		t.Helper()
		for _, k := range keys {
			if have[k] != state {
				t.Errorf("%s: %q, want %s", k, have[k], state)
			}
		}
	}
	checks := []string{"trail-all-regions", "trail-validation", "s3-versioning", "s3-logging", "s3-public-block", "flow-logs", "ebs-encryption", "root-mfa", "root-keys", "imdsv2", "user-admin",
		"log-retention", "eks-logs", "firewall-logs", "waf-logs", "classic-balancer-logs", "database-logs", "snapshot-key-policy", "evidence-account"}
	const partial = 3
	account := lab.MotoAccount
	before := states(partial, checks...)
	want(before, "FAIL", "trail-all-regions "+account, "s3-versioning data", "s3-logging data", "s3-public-block data", "flow-logs "+*web.VpcId, "ebs-encryption eu-west-1",
		"log-retention app", "eks-logs prod", "firewall-logs "+edge, "waf-logs "+front,
		"classic-balancer-logs old", "database-logs shop", "database-logs wares", "snapshot-key-policy "+key, "evidence-account logs")
	want(before, "NOT APPLICABLE", "trail-validation ")

	enabled := s3types.BucketVersioningStatusEnabled
	got(objects.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: aws.String("data"), VersioningConfiguration: &s3types.VersioningConfiguration{Status: enabled}}))(t)
	got(objects.PutPublicAccessBlock(t.Context(), &s3.PutPublicAccessBlockInput{Bucket: aws.String("data"), PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
		BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true)}}))(t)
	got(network.EnableEbsEncryptionByDefault(t.Context(), &awsec2.EnableEbsEncryptionByDefaultInput{}))(t)
	got(network.CreateFlowLogs(t.Context(), &awsec2.CreateFlowLogsInput{ResourceIds: []string{*web.VpcId}, ResourceType: ec2types.FlowLogsResourceTypeVpc, TrafficType: ec2types.TrafficTypeAll,
		LogDestinationType: ec2types.LogDestinationTypeS3, LogDestination: aws.String("arn:aws:s3:::logs")}))(t)
	got(logs.PutRetentionPolicy(t.Context(), &cloudwatchlogs.PutRetentionPolicyInput{LogGroupName: aws.String("app"), RetentionInDays: aws.Int32(365)}))(t)
	got(clusters.UpdateClusterConfig(t.Context(), &eks.UpdateClusterConfigInput{Name: aws.String("prod"), Logging: &ekstypes.Logging{ClusterLogging: []ekstypes.LogSetup{
		{Enabled: aws.Bool(true), Types: []ekstypes.LogType{ekstypes.LogTypeApi, ekstypes.LogTypeAudit, ekstypes.LogTypeAuthenticator}}}}}))(t)
	sink := func(kind firewalltypes.LogType) firewalltypes.LogDestinationConfig {
		return firewalltypes.LogDestinationConfig{LogType: kind, LogDestinationType: firewalltypes.LogDestinationTypeS3, LogDestination: map[string]string{"bucketName": "logs"}}
	}
	got(firewalls.UpdateLoggingConfiguration(t.Context(), &networkfirewall.UpdateLoggingConfigurationInput{FirewallArn: &edge, LoggingConfiguration: &firewalltypes.LoggingConfiguration{
		LogDestinationConfigs: []firewalltypes.LogDestinationConfig{sink(firewalltypes.LogTypeFlow), sink(firewalltypes.LogTypeAlert)}}}))(t)
	got(waf.PutLoggingConfiguration(t.Context(), &wafv2.PutLoggingConfigurationInput{LoggingConfiguration: &waftypes.LoggingConfiguration{ResourceArn: &front, LogDestinationConfigs: []string{"arn:aws:s3:::aws-waf-logs-x"}}}))(t)
	got(classic.ModifyLoadBalancerAttributes(t.Context(), &elasticloadbalancing.ModifyLoadBalancerAttributesInput{LoadBalancerName: aws.String("old"),
		LoadBalancerAttributes: &classictypes.LoadBalancerAttributes{AccessLog: &classictypes.AccessLog{Enabled: true, S3BucketName: aws.String("logs"), EmitInterval: aws.Int32(5)}}}))(t)
	got(databases.ModifyDBInstance(t.Context(), &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String("shop"), CloudwatchLogsExportConfiguration: &rdstypes.CloudwatchLogsExportConfiguration{EnableLogTypes: []string{"postgresql"}}}))(t)
	got(keys.PutKeyPolicy(t.Context(), &kms.PutKeyPolicyInput{KeyId: &key, PolicyName: aws.String("default"), Policy: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::` + lab.MotoAccount + `:root","arn:aws:iam::` + forensic + `:root"]},"Action":"kms:*","Resource":"*"}]}`)}))(t)
	trail := got(trails.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("all"), S3BucketName: aws.String("logs"), IsMultiRegionTrail: aws.Bool(true), EnableLogFileValidation: aws.Bool(true)}))(t)
	got(trails.PutEventSelectors(t.Context(), &cloudtrail.PutEventSelectorsInput{TrailName: trail.TrailARN, EventSelectors: []cloudtrailtypes.EventSelector{
		{IncludeManagementEvents: aws.Bool(true), ReadWriteType: cloudtrailtypes.ReadWriteTypeAll}}}))(t) // AWS's default, which the emulator does not tell
	got(trails.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: trail.TrailARN}))(t)
	after := states(partial, checks...)
	want(after, "PASS", "trail-all-regions "+account, "trail-validation "+*trail.TrailARN, "s3-versioning data", "s3-public-block data", "flow-logs "+*web.VpcId, "ebs-encryption eu-west-1",
		"log-retention app", "eks-logs prod", "firewall-logs "+edge, "waf-logs "+front,
		"classic-balancer-logs old", "database-logs shop", "database-logs papers", "snapshot-key-policy "+key)
	want(after, "FAIL", "s3-versioning logs", "s3-public-block logs")
	for k, state := range after {
		if state == "UNKNOWN" {
			t.Errorf("%s is not known", k)
		}
	}
}
