package ready_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// A fault is a way in which a world may not be as it should, with what the check must say of it.
type fault struct {
	check, want string
	do          func(*world)
}

// faults has for each check every way to fail.
var faults = []fault{
	{"trail-all-regions", "there is no trail", func(w *world) { w.here.Posture.Trails = nil }},
	{"trail-all-regions", "it records one region", func(w *world) { w.trail.AllRegions = false }},
	{"trail-all-regions", "global services", func(w *world) { w.trail.Global = false }},
	{"trail-all-regions", "it is stopped", func(w *world) { w.trail.Logging = false }},
	{"trail-all-regions", "does not record all management", func(w *world) {
		w.trail.Selectors = `{"EventSelectors":[{"ReadWriteType":"WriteOnly","IncludeManagementEvents":true}]}`
	}},
	{"trail-all-regions", "does not record all management", func(w *world) {
		w.trail.Selectors = `{"EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":false}]}`
	}},
	{"trail-all-regions", "does not record all management", func(w *world) {
		w.trail.Selectors = `{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["false"]}]}]}`
	}},
	{"trail-all-regions", "does not record all management", func(w *world) {
		w.trail.Selectors = `{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","NotEquals":["iam.amazonaws.com"]}]}]}`
	}},
	{"trail-live", "it is stopped", func(w *world) { w.trail.Logging = false }},
	{"trail-live", "no trail records this region", func(w *world) { w.trail.AllRegions = false }},
	{"trail-live", "delivery to bucket trail-logs fails: AccessDenied", func(w *world) { w.trail.Error = "AccessDenied" }},
	{"trail-live", "never delivered", func(w *world) { w.trail.Delivered, w.trail.Digest = time.Time{}, time.Time{} }},
	{"trail-live", "a digest is due each hour", func(w *world) {
		w.trail.Delivered, w.trail.Digest = awsfake.Start.Add(-5*time.Hour), awsfake.Start.Add(-3*time.Hour)
	}},
	{"trail-validation", "off", func(w *world) { w.trail.Validation = false }},
	{"trail-s3-events", "does not record reading and writing", func(w *world) { w.trail.Selectors = "" }},
	{"trail-s3-events", "does not record reading and writing", func(w *world) {
		w.trail.Selectors = `{"EventSelectors":[{"ReadWriteType":"All","DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::one-bucket/"]}]}]}`
	}},
	{"trail-s3-events", "does not record reading and writing", func(w *world) {
		w.trail.Selectors = `{"EventSelectors":[{"ReadWriteType":"WriteOnly","DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3"]}]}]}`
	}},
	{"trail-s3-events", "it is stopped", func(w *world) { w.trail.Logging = false }},
	{"trail-lambda-events", "does not record invocations", func(w *world) {
		w.trail.Selectors = `{"EventSelectors":[{"ReadWriteType":"All","DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3"]}]}]}`
	}},
	{"flow-logs", "it has none", func(w *world) { w.here.Posture.FlowLogs = nil }},
	{"flow-logs", "accept traffic alone", func(w *world) { w.here.Posture.FlowLogs[0].Traffic = "ACCEPT" }},
	{"flow-logs", "its delivery fails: Access error", func(w *world) { w.here.Posture.FlowLogs[0].Error = "Access error" }},
	{"flow-logs", "it is inactive", func(w *world) { w.here.Posture.FlowLogs[0].Status = "INACTIVE" }},
	{"flow-logs", "are seen by no flow log", func(w *world) {
		w.here.Posture.FlowLogs[0].On = w.web.Subnet
		w.here.Posture.FlowLogs[0].Traffic = "REJECT"
	}},
	{"dns-logs", "none is logged", func(w *world) { w.here.Posture.QueryLogs = nil }},
	{"dns-logs", "FAILED", func(w *world) { w.here.Posture.QueryLogs[vpc] = "FAILED" }},
	{"dns-firewall", "it has none", func(w *world) { w.here.Posture.Firewalls = nil }},
	{"dns-firewall", "UPDATING", func(w *world) { w.here.Posture.Firewalls[vpc] = "UPDATING" }},
	{"balancer-logs", "off", func(w *world) { w.here.Posture.Balancers["front"]["access_logs.s3.enabled"] = "false" }},
	{"classic-balancer-logs", "off", func(w *world) { w.here.Posture.Classic["older"] = false }},
	{"database-logs", "postgres: none is exported", func(w *world) { w.here.Posture.Databases["shop"] = awsfake.Database{Engine: "postgres"} }},
	{"database-logs", "postgres: off: postgresql", func(w *world) {
		w.here.Posture.Databases["shop"] = awsfake.Database{Engine: "postgres", Exports: []string{"upgrade"}}
	}},
	{"database-logs", "sqlserver-web: off: error", func(w *world) {
		w.here.Posture.Databases["shop"] = awsfake.Database{Engine: "sqlserver-web", Exports: []string{"agent"}}
	}},
	{"database-logs", "db2-se: none is exported", func(w *world) { w.here.Posture.Databases["other"] = awsfake.Database{Engine: "db2-se"} }},
	{"database-logs", "cluster, aurora-mysql: off: audit", func(w *world) {
		w.here.Posture.DatabaseClusters["wares"] = awsfake.Database{Engine: "aurora-mysql", Exports: []string{"error"}}
	}},
	{"eks-logs", "off: audit, authenticator", func(w *world) { w.here.Posture.Clusters["test"] = []string{"api", "scheduler"} }},
	{"eks-logs", "off: api, audit, authenticator", func(w *world) { w.here.Posture.Clusters["test"] = nil }},
	{"firewall-logs", "off: FLOW", func(w *world) { w.here.Posture.NetworkFirewalls["inner"] = []string{"ALERT", "TLS"} }},
	{"firewall-logs", "off: FLOW, ALERT", func(w *world) { w.here.Posture.NetworkFirewalls["edge"] = nil }},
	{"waf-logs", "off", func(w *world) { w.here.Posture.WebACLs["side"] = false }},
	{"waf-logs", "off", func(w *world) { w.us.Posture.GlobalWebACLs["cdn"] = false }},
	{"guardduty", "there is no detector", func(w *world) { w.us.Posture.Detectors = nil }},
	{"guardduty", "it is suspended", func(w *world) { w.us.Posture.Detectors["d1"] = "DISABLED" }},
	{"guardduty-features", "off: RUNTIME_MONITORING, S3_DATA_EVENTS", func(w *world) {
		w.us.Posture.Features["RUNTIME_MONITORING"] = "DISABLED"
		delete(w.us.Posture.Features, "S3_DATA_EVENTS")
	}},
	{"log-retention", "for 30 days", func(w *world) { w.here.LogGroups["trail"] = awsfake.LogGroup{Days: 30} }},
	{"log-retention", "for 364 days", func(w *world) { w.here.LogGroups["flows"] = awsfake.LogGroup{Days: 364} }},
	{"config-recorder", "there is no recorder", func(w *world) { w.us.Posture.Recorders = nil }},
	{"config-recorder", "it is stopped", func(w *world) { w.us.Posture.Recorders[0].Recording = false }},
	{"config-recorder", "its delivery fails", func(w *world) { w.us.Posture.Recorders[0].Status = "FAILURE" }},
	{"session-logging", "by default nothing is logged", func(w *world) { w.us.Posture.Documents = nil }},
	{"session-logging", "neither a bucket nor a log group", func(w *world) {
		w.us.Posture.Documents["SSM-SessionManagerRunShell"] = `{"inputs":{"s3BucketName":""}}`
	}},
	{"trail-bucket-public", "its policy lets everybody in", func(w *world) {
		b := w.cloud.Bucket("trail-logs")
		b.Policy, b.Settings["publicAccessBlock"] = open, ""
	}},
	{"trail-bucket-lock", "it has no Object Lock", func(w *world) { delete(w.cloud.Bucket("trail-logs").Settings, "object-lock") }},
	{"trail-bucket-lock", "without a default", func(w *world) {
		w.cloud.Bucket("trail-logs").Settings["object-lock"] = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
	}},
	{"s3-public", "its policy lets everybody in", func(w *world) {
		b := w.cloud.Bucket("logs")
		b.Policy, b.Settings["publicAccessBlock"] = open, ""
	}},
	{"s3-public", "its ACL gives everybody READ", func(w *world) {
		b := w.cloud.Bucket("logs")
		b.Open, b.Settings["publicAccessBlock"] = map[string]string{"global/AllUsers": "READ"}, ""
	}},
	{"s3-public", "its ACL gives everybody WRITE", func(w *world) {
		b := w.cloud.Bucket("logs")
		b.Open = map[string]string{"global/AuthenticatedUsers": "WRITE"}
		b.Settings["publicAccessBlock"] = strings.Replace(allBlocked, "<IgnorePublicAcls>true", "<IgnorePublicAcls>false", 1)
	}},
	{"s3-public-block", "off: RestrictPublicBuckets", func(w *world) {
		w.cloud.Bucket("logs").Settings["publicAccessBlock"] = strings.Replace(allBlocked, "<RestrictPublicBuckets>true", "<RestrictPublicBuckets>false", 1)
	}},
	{"s3-public-block", "off: all four", func(w *world) { delete(w.cloud.Bucket("logs").Settings, "publicAccessBlock") }},
	{"s3-versioning", "it was never on", func(w *world) { delete(w.cloud.Bucket("logs").Settings, "versioning") }},
	{"s3-versioning", "it is suspended", func(w *world) {
		w.cloud.Bucket("logs").Settings["versioning"] = strings.Replace(versioned, "Enabled", "Suspended", 1)
	}},
	{"s3-logging", "it is not", func(w *world) { delete(w.cloud.Bucket("trail-logs").Settings, "logging") }},
	{"evidence-bucket", "versioning: ", func(w *world) { w.makeEvidence(); delete(w.cloud.Bucket(evidence).Settings, "versioning") }},
	{"evidence-bucket", "deny-delete: ", func(w *world) { w.makeEvidence(); w.cloud.Bucket(evidence).Policy = `{"Statement":[` + reading + `]}` }},
	{"evidence-account", "it is of this account", func(w *world) { w.here.AddBucket(evidence) }},
	{"evidence-account", "it is not of the forensic account 444455556666, nor of this one", func(w *world) { w.makeEvidence(); w.cloud.Bucket(evidence).Account = "777788889999" }},
	{"root-keys", "it has an access key", func(w *world) { w.iam.Quotas["AccountAccessKeysPresent"] = 1 }},
	{"root-mfa", "it has none", func(w *world) { w.iam.Quotas["AccountMFAEnabled"] = 0 }},
	{"root-unused", "used 2 days ago", func(w *world) { w.iam.Report[0].PasswordUsed = awsfake.Start.Add(-2 * day) }},
	{"root-unused", "used 29 days ago", func(w *world) { w.iam.Report[0].Keys[1].Used = awsfake.Start.Add(-29 * day) }},
	{"user-mfa", "no second factor", func(w *world) { w.alice().MFA = false }},
	{"key-age", "key 1 is 90 days old", func(w *world) { w.alice().Keys[0].Made = awsfake.Start.Add(-90 * day) }},
	{"key-age", "nobody knows how old key 2", func(w *world) { w.alice().Keys[1].Active = true }},
	{"key-age", "key 1 is 1000 days old", func(w *world) {
		w.iam.Report[0].Keys[0] = awsfake.ReportedKey{Active: true, Made: awsfake.Start.Add(-1000 * day)}
	}},
	{"user-admin", "attached to the user itself", func(w *world) { u := w.cloud.Account(own).AddUser("/", "bob"); u.Attached = []string{admin} }},
	{"password-age", "it is 90 days old", func(w *world) { w.alice().PasswordOf = awsfake.Start.Add(-90 * day) }},
	{"user-idle", "it was never used", func(w *world) { w.alice().PasswordUsed, w.alice().Keys[0].Used = time.Time{}, time.Time{} }},
	{"user-idle", "it was used 30 days ago", func(w *world) {
		w.alice().PasswordUsed, w.alice().Keys[0].Used = awsfake.Start.Add(-40*day), awsfake.Start.Add(-30*day)
	}},
	{"responder-assume", "its trust policy must allow", func(w *world) { w.cloud.AddRole(workRole, awsfake.Trust{Principals: []string{"somebody"}}) }},
	{"responder-assume", "without an external id", func(w *world) { w.cloud.AddRole(workRole, awsfake.Trust{ExternalID: "case"}) }},
	{"responder-contain", "no such role", (*world).noWorker},
	{"responder-contain", "iam:PutRolePolicy", may("Deny", "iam:Put*")},
	{"responder-contain", "ec2:CreateTags on arn:aws:ec2:eu-west-1:111122223333:instance/0123456789abcdef0; ", may("Deny", "ec2:CreateTags")},
	{"responder-gather", "ec2:CreateSnapshots on *", may("Deny", "ec2:CreateSnapshots")},
	{"responder-gather", "sts:AssumeRole on arn:aws:iam::111122223333:role/", may("Deny", "sts:*")},
	{"responder-find", "ec2:DescribeInstances", may("Deny", "ec2:DescribeInstances")},
	{"responder-connect", "ec2-instance-connect:OpenTunnel", may("Deny", "ec2-instance-connect:OpenTunnel")},
	{"responder-key", "cloudtrail:LookupEvents", may("Deny", "cloudtrail:*")},
	{"responder-workstation", "iam:PassRole on arn:aws:iam::111122223333:role/shotglass-workstation-", may("Deny", "iam:PassRole")},
	{"responder-shield", "iam:AttachRolePolicy, iam:DeleteRole, ", func(w *world) { w.cloud.Organization.Policies = w.cloud.Organization.Policies[:1] }},
	{"responder-shield", "no service control policy denies others iam:PutRolePolicy on it", scp(`"iam:PutRolePolicy","iam`, `"iam`)},
	{"responder-shield", "iam:DeleteRole", scp(`role/WHO_MAKES_RESPONDERS`, `role/*`)},
	{"responder-shield", "iam:DeleteRole", scp(`"Sid":"ProtectResponder","Effect":"Deny","Resource":"arn:aws:iam::*:role/ir/worker"`, `"Effect":"Deny","Resource":"arn:aws:iam::*:role/other"`)},
	{"responder-shield", "iam:DeleteRole", scp(`"Condition":{"ArnNotLike":{"aws:PrincipalArn":["arn:aws:iam::*:role/WHO`, `"Condition":{"ArnLike":{"aws:PrincipalArn":["arn:aws:iam::*:role/WHO`)},
	{"responder-shield", "iam:DeleteRole", scp(`["arn:aws:iam::*:role/WHO`, `["arn:aws:iam::*:user/*","arn:aws:iam::*:role/WHO`)},
	{"responder-shield", "iam:DeleteRole", scp(`["arn:aws:iam::*:role/WHO`, `["arn:aws:iam::*:role/aws-reserved/sso.amazonaws.com/*","arn:aws:iam::*:role/WHO`)},
	{"responder-shield", "iam:DeleteRole", scp(`["arn:aws:iam::*:role/WHO`, `["arn:aws:iam::111122223333:root","arn:aws:iam::*:role/WHO`)},
	{"quarantine-policy", "in any spelling", scp(`StringEqualsIgnoreCase`, `StringEquals`)},
	{"quarantine-policy", "no policy keeps others from iam:TagUser", scp(`"ForAnyValue`, `"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/intern"},"ForAnyValue`)},
	{"quarantine-policy", "none of the 3 service control policies", func(w *world) { w.cloud.Organization.Policies = w.cloud.Organization.Policies[:1] }},
	{"quarantine-policy", "none of the 3 service control policies", func(w *world) { w.cloud.Organization.Policies[1].On = []string{"ou-2"} }},
	{"quarantine-policy", "denies only requests that also meet StringEquals aws:RequestedRegion", scp(`"StringEquals":{"aws:PrincipalTag`, `"StringEquals":{"aws:RequestedRegion":"eu-west-1","aws:PrincipalTag`)},
	{"quarantine-policy", "no policy keeps others from sts:TagSession", scp(`,"sts:TagSession"`, ``)},
	{"imdsv2", "without a token", func(w *world) { w.web.IMDSv1 = true }},
	{"snapshot-public", "not blocked", func(w *world) { w.us.Posture.SnapshotSharing = "" }},
	{"ami-public", "not blocked", func(w *world) { w.us.Posture.ImageSharing = "" }},
	{"ebs-encryption", "off", func(w *world) { w.us.Posture.EncryptByDefault = false }},
	{"snapshot-key", "a key that AWS keeps", func(w *world) { w.here.Posture.Keys[ownKey] = awsfake.KMSKey{Manager: "AWS"} }},
	{"snapshot-key", "PendingDeletion", func(w *world) {
		w.here.Posture.Keys[ownKey] = awsfake.KMSKey{Manager: "CUSTOMER", State: "PendingDeletion"}
	}},
	{"snapshot-key-policy", "it does not let account 444455556666 do kms:CreateGrant, kms:Decrypt, ", func(w *world) { w.here.Posture.Keys[ownKey] = awsfake.KMSKey{Manager: "CUSTOMER"} }},
	{"snapshot-key-policy", "do kms:CreateGrant; 1 volume is under it", func(w *world) {
		w.here.Posture.Keys[ownKey] = awsfake.KMSKey{Manager: "CUSTOMER", Policy: keyPolicy(`["kms:Decrypt","kms:DescribeKey","kms:GenerateDataKey*","kms:ReEncrypt*"]`, "")}
	}},
	{"ssm-managed", "it is not managed", func(w *world) { delete(w.here.Managed, w.web.ID) }},
	{"ssm-managed", "ConnectionLost", func(w *world) { w.here.Managed[w.web.ID] = "ConnectionLost" }},
	{"connect-endpoint", "it has none", func(w *world) { w.here.ConnectEndpoints = nil }},
	{"connect-endpoint", "create-in-progress", func(w *world) { w.here.ConnectEndpoints[0].State = "create-in-progress" }},
	{"ssh-path", "none of its 1 groups lets tcp/22 in", func(w *world) { w.ssh.Rules = w.ssh.Rules[:1] }},
	{"ssh-path", "none of its 1 groups lets tcp/22 in", func(w *world) { w.ssh.Rules[1].Protocol = "udp" }},
	{"ssh-path", "none of its 1 groups lets tcp/22 in", func(w *world) { w.ssh.Rules[1].From, w.ssh.Rules[1].To = 23, 9999 }},
	{"nitro", "m4.large runs on xen", func(w *world) { w.web.Type = "m4.large" }},
	{"nat-egress", "through a NAT gateway, nat-1", func(w *world) { w.here.RouteTables[0].Routes[0].Via = "nat-1" }},
	{"nat-egress", "through a transit gateway, tgw-1", func(w *world) {
		w.here.RouteTables = append(w.here.RouteTables, &awsfake.RouteTable{ID: "rtb-2", VPC: vpc, Subnets: []string{w.web.Subnet}, Routes: []awsfake.Route{{To: "10.0.0.0/8", Via: "tgw-1"}}})
	}},
	{"asg-standby", "2 wanted, and no less", func(w *world) { w.here.Scaling["web"].Min = 2 }},
	{"shared-role", "11 instances share it", func(w *world) {
		for range 10 {
			w.here.AddInstance(awsfake.Instance{Profile: w.web.Profile}, w.web.Subnet)
		}
	}},
}

// may lets the responder do everything, and some actions or not.
func may(effect, actions string) func(*world) {
	return func(w *world) {
		if err := w.cloud.Restrict(workRole, []byte(`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"`+effect+`","Action":"`+actions+`","Resource":"*"}]}`)); err != nil {
			w.Fatal(err)
		}
	}
}

// noWorker names a role as the responder's that is not there.
func (w *world) noWorker() { w.worker = "ir/gone" }

// scp changes the service control policy of docs/containment.md.
func scp(from, to string) func(*world) {
	return func(w *world) {
		p := &w.cloud.Organization.Policies[1]
		if !strings.Contains(p.Document, from) {
			w.Fatalf("no %s in %s", from, p.Document)
		}
		p.Document = strings.Replace(p.Document, from, to, 1)
	}
}

// of are the results of a check, by state.
func of(r *ready.Report, s ready.State) (list []ready.Result) {
	for _, x := range r.Results {
		if x.State == s {
			list = append(list, x)
		}
	}
	return list
}

func describe(r *ready.Report) string {
	var b strings.Builder
	for _, x := range r.Results {
		fmt.Fprintf(&b, "%s %s %s %s: %s (%s)\n", x.State, x.Check.ID, x.Place, x.Resource, x.Detail, x.Cause)
	}
	return b.String()
}

// What another account has for a VPC that it shares is not seen from here: that nothing is there to be seen is no failure.
func TestSharedVPC(t *testing.T) {
	w := newWorld(t)
	checks := []*ready.Check{w.check("flow-logs"), w.check("dns-logs"), w.check("dns-firewall")}
	w.here.VPCs[vpc].Owner = "999988887777"
	if r := w.run(w.auditor(checks...)); len(of(r, ready.Pass)) != 3 || len(of(r, ready.Unknown)) > 0 {
		t.Errorf("seen all the same:\n%s", describe(r))
	}
	p := &w.here.Posture
	p.FlowLogs, p.QueryLogs, p.Firewalls = nil, nil, nil
	r := w.run(w.auditor(checks...))
	list := of(r, ready.Unknown)
	if len(list) != 3 || len(of(r, ready.Fail)) > 0 || !strings.Contains(list[0].Detail, "shared by account 999988887777") {
		t.Errorf("%s", describe(r))
	}
	p.FlowLogs = []awsfake.FlowLog{{ID: "fl-1", On: w.web.Subnet, Traffic: "REJECT"}}
	if r := w.run(w.auditor(checks[0])); len(of(r, ready.Unknown)) != 1 {
		t.Errorf("%s", describe(r))
	}
}

// In a world where everything is as it should be every check passes, and has something to say.
func TestEverythingRight(t *testing.T) {
	w := newWorld(t)
	w.cloud.PageSize = 1 // every list comes over pages
	r := w.run(w.auditor(w.most()...))
	r.Results = append(r.Results, w.run(w.auditor(w.check("evidence-bucket"))).Results...)
	if r.Count(ready.Fail)+r.Count(ready.Unknown) > 0 || len(r.Gaps) > 0 {
		t.Errorf("gaps %v\n%s", r.Gaps, describe(r))
	}
	for _, c := range ready.Checks {
		if !slices.ContainsFunc(of(r, ready.Pass), func(x ready.Result) bool { return x.Check == c }) {
			t.Errorf("%s passes nowhere", c.ID)
		}
	}
}

// Each fault is found by its check, and no check is without one.
func TestEveryFault(t *testing.T) {
	tried := map[string]bool{}
	for _, f := range faults {
		tried[f.check] = true
		t.Run(f.check+"/"+f.want, func(t *testing.T) {
			w := newWorld(t)
			f.do(w)
			r := w.run(w.auditor(w.check(f.check)))
			bad := of(r, ready.Fail)
			if len(bad) == 0 || !slices.ContainsFunc(bad, func(x ready.Result) bool { return strings.Contains(x.Detail, f.want) }) {
				t.Errorf("want a FAIL with %q:\n%s", f.want, describe(r))
			}
			for _, x := range bad {
				if x.Resource == "" || strings.ContainsAny(x.Fix(), "{}") && !strings.Contains(x.Check.Fix, "'[{") && !strings.Contains(x.Check.Fix, `'{"`) {
					t.Errorf("a failure without a resource or with an unfinished fix: %q %q", x.Resource, x.Fix())
				}
			}
		})
	}
	for _, c := range ready.Checks {
		if !tried[c.ID] {
			t.Errorf("%s: no fault is tried", c.ID)
		}
	}
}

// What may not be read, or is throttled without end, is unknown with its cause: it neither passes nor fails.
func TestNothingPassesOnAnError(t *testing.T) {
	type bad struct {
		name  string
		cause ready.Cause
		err   func(*awsfake.Call) *awsfake.Error
	}
	for _, b := range []bad{
		{"denied", ready.Denied, awsfake.Denied},
		{"throttled", ready.Throttled, func(*awsfake.Call) *awsfake.Error {
			return &awsfake.Error{Code: "ThrottlingException", Message: "Rate exceeded", Status: 400}
		}},
		{"off", ready.NotEnabled, func(*awsfake.Call) *awsfake.Error {
			return &awsfake.Error{Code: "OptInRequired", Message: "not subscribed", Status: http.StatusForbidden}
		}},
		{"broken", ready.Failed, func(*awsfake.Call) *awsfake.Error { return &awsfake.Error{Code: "Broken", Message: "no", Status: 400} }},
	} {
		for _, c := range ready.Checks {
			for _, action := range c.Actions {
				t.Run(b.name+"/"+c.ID+"/"+action, func(t *testing.T) {
					w := newWorld(t)
					a := w.auditor(c)
					hit := map[string]bool{} // regions where it was called
					w.cloud.Fault = func(call *awsfake.Call) awsfake.Fault {
						if call.Action != action {
							return awsfake.Fault{}
						}
						hit[call.Region] = true
						return awsfake.Fault{Error: b.err(call)}
					}
					r := w.run(a)
					var seen map[string]bool
					w.cloud.Edit(func() { seen = maps.Clone(hit) }) // a call that was cut off may arrive only now
					if len(seen) == 0 {
						t.Fatalf("it was not called:\n%s", describe(r))
					}
					if action == "s3:GetBucketTagging" { // tags decide nothing
						return
					}
					if action == "sts:AssumeRole" && b.cause == ready.Denied { // whether it is denied is what is asked
						if len(of(r, ready.Fail)) != 1 {
							t.Errorf("%s", describe(r))
						}
						return
					}
					unknown := of(r, ready.Unknown)
					if len(unknown) == 0 || len(of(r, ready.Fail)) > 0 {
						t.Errorf("%s", describe(r))
					}
					for _, x := range unknown {
						// The answer to HEAD has no code; the package of the evidence bucket keeps its errors to itself.
						if x.Cause != b.cause && action != "s3:ListBucket" && c.ID != "evidence-bucket" || x.Cause == "" || x.Detail == "" {
							t.Errorf("cause %q of %q", x.Cause, x.Detail)
						}
					}
					for _, x := range of(r, ready.Pass) { // where it was not called, or of what needs no such call
						if seen[x.Region] && !c.Account && len(unknown) == 0 {
							t.Errorf("passes: %s", describe(r))
						}
					}
				})
			}
		}
	}
}
