package ready_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

const (
	own       = "111122223333"
	other     = "444455556666"
	responder = "arn:aws:iam::" + own + ":role/responder"
	workRole  = "arn:aws:iam::" + own + ":role/ir/worker" // the responder's, of whom it is asked whether they are ready
	theirRole = "arn:aws:iam::" + other + ":role/responder"
	home      = "eu-west-1"
	away      = "us-east-1"
	vpc       = "vpc-00000001"
	evidence  = "evidence"
	admin     = "arn:aws:iam::aws:policy/AdministratorAccess"
	day       = 24 * time.Hour
)

var ownKey = "arn:aws:kms:" + home + ":" + own + ":key/1"

// A world is an account in which everything is as it should be, with instances in one of two regions.
type world struct {
	*testing.T
	cloud    *awsfake.Cloud
	here, us *awsfake.Region
	trail    *awsfake.Trail
	web      *awsfake.Instance
	ssh      *awsfake.Group
	worker   string // the responder's role
	iam      *awsfake.IAM
}

const (
	versioned  = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
	logged     = "<BucketLoggingStatus><LoggingEnabled><TargetBucket>logs</TargetBucket><TargetPrefix>s3/</TargetPrefix></LoggingEnabled></BucketLoggingStatus>"
	allBlocked = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>"
	open       = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}]}`
)

// reading lets the responder's account read the evidence bucket's settings, as a statement of the bucket's policy.
const reading = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + own + `:root"},"Action":["s3:Get*","s3:ListBucket"],"Resource":"arn:aws:s3:::` + evidence + `"}`

// makeEvidence makes a bucket as shotglass bucket create does, in the forensic account, and lets the responder's account look at it and its key.
func (w *world) makeEvidence() {
	w.Helper()
	w.cloud.Account(other).AddRole("/", "responder")
	m := &evidencebucket.Maker{Config: w.cloud.Config(theirRole, home), Terms: evidencebucket.Terms{Bucket: evidence, BreakGlass: []string{theirRole}}, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
	plan, err := m.Plan(w.Context())
	if err == nil {
		err = m.Apply(w.Context(), plan, func(evidencebucket.Step) {})
	}
	if err != nil {
		w.Fatal(err)
	}
	b := w.cloud.Bucket(evidence)
	b.Policy = strings.Replace(b.Policy, `"Statement":[`, `"Statement":[`+reading+`,`, 1)
	for _, k := range w.cloud.Account(other).Region(home).Keys {
		k.Policy = strings.Replace(k.Policy, `"Statement":[`, `"Statement":[{"Effect":"Allow","Principal":{"AWS":"`+own+`"},"Action":"kms:DescribeKey","Resource":"*"},`, 1)
	}
	w.cloud.Reset()
}

// everything is what a trail records that misses nothing.
const everything = `{"AdvancedEventSelectors":[{"Name":"management","FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]}]},
	{"FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]}]},
	{"FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::Lambda::Function"]}]}]}`

func newWorld(t *testing.T) *world {
	w := &world{T: t, cloud: awsfake.New(), worker: "ir/worker"}
	t.Cleanup(w.cloud.Close)
	account := w.cloud.Account(own)
	w.here, w.us, w.iam = account.Region(home), account.Region(away), account.IAM()
	w.trail = w.here.AddTrail(awsfake.Trail{Name: "all", Bucket: "trail-logs", AllRegions: true, Global: true, Validation: true, Logging: true,
		Delivered: awsfake.Start.Add(-10 * time.Minute), Digest: awsfake.Start.Add(-30 * time.Minute), Selectors: everything})
	w.here.AddVPC(awsfake.VPC{ID: vpc})
	w.here.AddVPC(awsfake.VPC{ID: "vpc-empty", Default: true})
	subnet := w.here.AddSubnet(vpc)
	profile := "arn:aws:iam::" + own + ":instance-profile/web"
	w.ssh = w.here.AddGroup(vpc, "ssh", awsfake.TCP(true, 22, "10.9.9.0/24"), awsfake.TCP(false, 22, "10.0.0.0/24"))
	w.web = w.here.AddInstance(awsfake.Instance{ID: "i-00000001", Profile: profile}, subnet.ID, w.ssh.ID)
	w.here.AddInstance(awsfake.Instance{ID: "i-00000002", State: "terminated", IMDSv1: true, Type: "m4.large"}, subnet.ID)
	w.here.RouteTables = []*awsfake.RouteTable{{ID: "rtb-1", VPC: vpc, Main: true, Routes: []awsfake.Route{{To: "0.0.0.0/0", Via: "igw-1"}}}}
	w.here.AddScaling(awsfake.ScalingGroup{Name: "web", Max: 3, Desired: 2, Min: 1}, w.web.ID)
	w.here.Managed[w.web.ID] = "Online"
	w.here.ConnectEndpoints = []awsfake.ConnectEndpoint{{ID: "eice-1", VPC: vpc, State: "create-complete"}}
	w.here.Logs = map[string][]awsfake.LogLine{"flows": nil, "trail": nil}
	w.here.LogGroups = map[string]awsfake.LogGroup{"trail": {Days: 365}} // flows are kept for ever
	for _, r := range []*awsfake.Region{w.here, w.us} {
		p := &r.Posture
		p.EncryptByDefault, p.SnapshotSharing, p.ImageSharing = true, "block-all-sharing", "block-new-sharing"
		p.Detectors = map[string]string{"d1": "ENABLED"}
		p.Features = map[string]string{"RUNTIME_MONITORING": "ENABLED", "EBS_MALWARE_PROTECTION": "ENABLED", "S3_DATA_EVENTS": "ENABLED", "EKS_AUDIT_LOGS": "ENABLED", "LAMBDA_NETWORK_LOGS": "ENABLED"}
		p.Recorders = []awsfake.Recorder{{Name: "default", Recording: true, Status: "SUCCESS"}}
		p.Documents = map[string]string{"SSM-SessionManagerRunShell": `{"inputs":{"s3BucketName":"sessions"}}`}
	}
	p := &w.here.Posture
	p.FlowLogs = []awsfake.FlowLog{{ID: "fl-1", On: vpc, Traffic: "ALL"}}
	p.QueryLogs, p.Firewalls = map[string]string{vpc: "ACTIVE"}, map[string]string{vpc: "COMPLETE"}
	p.Balancers = map[string]map[string]string{"back": {"access_logs.s3.enabled": "true"}, "front": {"access_logs.s3.enabled": "true", "access_logs.s3.bucket": "logs"}}
	p.Classic = map[string]bool{"old": true, "older": true}
	p.Databases = map[string]awsfake.Database{"shop": {Engine: "postgres", Exports: []string{"postgresql", "upgrade"}}, "books": {Engine: "oracle-ee", Exports: []string{"alert", "audit"}},
		"wares-1": {Engine: "aurora-mysql", Cluster: "wares"}, "other": {Engine: "db2-se", Exports: []string{"diag.log"}}}
	p.DatabaseClusters = map[string]awsfake.Database{"wares": {Engine: "aurora-mysql", Exports: []string{"audit", "error"}}, "papers": {Engine: "docdb", Exports: []string{"audit"}}}
	p.Clusters = map[string][]string{"prod": {"api", "audit", "authenticator"}, "test": {"api", "audit", "authenticator", "scheduler"}}
	p.NetworkFirewalls = map[string][]string{"edge": {"FLOW", "ALERT"}, "inner": {"ALERT", "FLOW", "TLS"}}
	p.WebACLs, w.us.Posture.GlobalWebACLs = map[string]bool{"front": true, "side": true}, map[string]bool{"cdn": true}
	p.Keys = map[string]awsfake.KMSKey{ownKey: {Manager: "CUSTOMER", Policy: keyPolicy(`"kms:*"`, "")}}
	p.VolumeKeys = map[string]string{w.web.Devices[0].Volume: ownKey}
	w.iam.Quotas["AccountMFAEnabled"], w.iam.Quotas["AccountAccessKeysPresent"] = 1, 0
	recent := awsfake.Start.Add(-3 * day)
	w.iam.Report = []awsfake.Credentials{
		{User: "<root_account>", MFA: true},
		{User: "alice", Password: true, MFA: true, PasswordUsed: recent, PasswordOf: recent, Keys: [2]awsfake.ReportedKey{{Active: true, Made: recent, Used: recent}}},
		{User: "ghost"},
	}
	account.AddUser("/", "alice")
	account.AddRole("/", "responder")
	logs := w.here.AddBucket("logs")
	logs.Settings["versioning"], logs.Settings["publicAccessBlock"] = versioned, allBlocked
	trail := w.us.AddBucket("trail-logs") // not where the trail is at home
	trail.Settings["versioning"], trail.Settings["publicAccessBlock"], trail.Settings["logging"] = versioned, allBlocked, logged
	trail.Settings["object-lock"] = `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>365</Days></DefaultRetention></Rule></ObjectLockConfiguration>`
	w.cloud.AddRole(workRole, awsfake.Trust{Principals: []string{responder}})
	w.cloud.Organization = &awsfake.Organization{Management: "999900001111", Delegates: []string{own}, Parents: map[string]string{own: "ou-1", "ou-1": "r-ab12"},
		Policies: []awsfake.SCP{{ID: "p-full", Name: "FullAWSAccess", Document: `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, On: []string{"r-ab12", "ou-1", own}},
			{ID: "p-ir", Name: "incident", Document: documentedSCP(t), On: []string{"ou-1"}}}}
	return w
}

// keyPolicy is that of a key which lets the forensic account do something.
func keyPolicy(actions, condition string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + own + `:root"},"Action":"kms:*","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + other + `:root"},"Action":` + actions + `,"Resource":"*","Condition":{` + condition + `}}]}`
}

// documentedSCP is the service control policy that docs/containment.md tells people to attach.
func documentedSCP(t *testing.T) string {
	page, err := os.ReadFile("../../../docs/containment.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	document, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/containment.md has no policy")
	}
	return strings.ReplaceAll(document, "role/RESPONDER", "role/ir/worker")
}

// most are all checks but that of the bucket in the forensic account, which is made from there.
func (w *world) most() []*ready.Check {
	return slices.DeleteFunc(slices.Clone(ready.Checks), func(c *ready.Check) bool { return c == w.check("evidence-bucket") })
}

func (w *world) auditor(checks ...*ready.Check) *ready.Auditor {
	if w.cloud.Bucket(evidence) == nil && (slices.Contains(checks, w.check("evidence-bucket")) || slices.Contains(checks, w.check("evidence-account"))) {
		w.makeEvidence()
	}
	w.cloud.AddRole(theirRole, awsfake.Trust{Principals: []string{responder}})
	who := responder
	if len(checks) == 1 && checks[0] == w.check("evidence-bucket") {
		who = theirRole // S3 shows its policy to no other account
	}
	a := &awsconfig.Accounts{Base: w.cloud.Config(who, home), Role: "responder", NoIMDS: true}
	return &ready.Auditor{Config: a.Config, Regions: []string{home, away}, Checks: checks, Bucket: evidence, Forensic: other, Now: w.cloud.Now,
		Responder:    ready.Responder{Role: w.worker, Assume: w.assume},
		Organization: &iam.Organizations{Config: a.Base}, QuarantineTag: "ms-ir-quarantine",
	}
}

func (w *world) assume(ctx context.Context, role string) error {
	a := &awsconfig.Accounts{Base: w.cloud.Config(responder, home), Role: role, NoIMDS: true}
	_, err := a.Config(ctx, containment.Target{})
	return err
}

func (w *world) run(a *ready.Auditor) *ready.Report {
	w.Helper()
	r, err := a.Run(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// check is the one of an id.
func (w *world) check(id string) *ready.Check {
	w.Helper()
	for _, c := range ready.Checks {
		if c.ID == id {
			return c
		}
	}
	w.Fatalf("there is no check %s", id)
	return nil
}

// alice is the user of the credential report.
func (w *world) alice() *awsfake.Credentials { return &w.iam.Report[1] }
