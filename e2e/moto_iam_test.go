//go:build e2e

package e2e

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/iam"
	"github.com/shotglass-ir/shotglass/containment/lambda"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// startMoto starts an emulator with nothing in it, which ends with the test, and says how and as whom it is called.
func startMoto(t *testing.T) (*awsconfig.Accounts, containment.Identity) {
	t.Helper()
	moto, err := parts.StartMoto(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { moto.Close() })
	accounts := &awsconfig.Accounts{Base: moto.Config("eu-west-1"), NoIMDS: true}
	caller, err := accounts.Caller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return accounts, caller
}

// Users, roles, keys and functions against an emulator that someone else wrote. What differs from AWS there is in
// docs/containment.md: what moto does not know is told as not listed, and is the only reason not to call it held.
func TestMotoPrincipals(t *testing.T) {
	t.Parallel()
	accounts, caller := startMoto(t)
	roles := &iam.Service{Config: accounts.Config}
	m := &motoRig{
		T: t, iam: awsiam.NewFromConfig(accounts.Base), lambda: awslambda.NewFromConfig(accounts.Base),
		engine: &containment.Engine{Services: []containment.Service{roles, &lambda.Service{Config: accounts.Config, Roles: roles}},
			Journals: containment.Dir(t.TempDir()), Caller: caller, Tool: "e2e"},
	}
	m.fill()
	t.Run("user", m.user)
	t.Run("key", m.key)
	t.Run("role", m.role)
	t.Run("function", m.function)
}

type motoRig struct {
	*testing.T
	iam    *awsiam.Client
	lambda *awslambda.Client
	engine *containment.Engine
	keyID  string
	roleID string
}

const trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// got is what a call returned that the test cannot do without.
func got[O any](out O, err error) func(*testing.T) O {
	return func(t *testing.T) O {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func (m *motoRig) fill() {
	ctx, t, p := m.Context(), m.T, aws.String
	got(m.iam.CreateUser(ctx, &awsiam.CreateUserInput{UserName: p("alice+ops"), Path: p("/team/blue/")}))(t)
	m.keyID = *got(m.iam.CreateAccessKey(ctx, &awsiam.CreateAccessKeyInput{UserName: p("alice+ops")}))(t).AccessKey.AccessKeyId
	off := got(m.iam.CreateAccessKey(ctx, &awsiam.CreateAccessKeyInput{UserName: p("alice+ops")}))(t)
	got(m.iam.UpdateAccessKey(ctx, &awsiam.UpdateAccessKeyInput{UserName: p("alice+ops"), AccessKeyId: off.AccessKey.AccessKeyId, Status: "Inactive"}))(t)
	got(m.iam.PutUserPolicy(ctx, &awsiam.PutUserPolicyInput{UserName: p("alice+ops"), PolicyName: p("own"),
		PolicyDocument: p(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::a+b/*"}]}`)}))(t)
	got(m.iam.CreateLoginProfile(ctx, &awsiam.CreateLoginProfileInput{UserName: p("alice+ops"), Password: p("Correct-horse-42")}))(t)

	role := got(m.iam.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: p("web"), Path: p("/service/"), AssumeRolePolicyDocument: p(trustEC2)}))(t)
	m.roleID = *role.Role.Arn
	got(m.iam.CreateInstanceProfile(ctx, &awsiam.CreateInstanceProfileInput{InstanceProfileName: p("web-a")}))(t)
	got(m.iam.AddRoleToInstanceProfile(ctx, &awsiam.AddRoleToInstanceProfileInput{InstanceProfileName: p("web-a"), RoleName: p("web")}))(t)

	var code bytes.Buffer
	z := zip.NewWriter(&code)
	got(z.Create("bootstrap"))(t)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	got(m.lambda.CreateFunction(ctx, &awslambda.CreateFunctionInput{FunctionName: p("thumbs"), Role: role.Role.Arn, Runtime: lambdatypes.RuntimeProvidedal2023,
		Handler: p("bootstrap"), Code: &lambdatypes.FunctionCode{ZipFile: code.Bytes()}, Publish: true}))(t)
	got(m.lambda.CreateFunctionUrlConfig(ctx, &awslambda.CreateFunctionUrlConfigInput{FunctionName: p("thumbs"), AuthType: lambdatypes.FunctionUrlAuthTypeNone}))(t)
}

// state is what the emulator has of the user, the role and the function, policies as JSON.
func (m *motoRig) state(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	all := map[string]any{}
	for _, name := range got(m.iam.ListUserPolicies(ctx, &awsiam.ListUserPoliciesInput{UserName: aws.String("alice+ops")}))(t).PolicyNames {
		document := *got(m.iam.GetUserPolicy(ctx, &awsiam.GetUserPolicyInput{UserName: aws.String("alice+ops"), PolicyName: &name}))(t).PolicyDocument
		all["user policy "+name] = strings.Join(strings.Fields(strings.ReplaceAll(document, "%20", "")), "")
	}
	all["user attached"] = got(m.iam.ListAttachedUserPolicies(ctx, &awsiam.ListAttachedUserPoliciesInput{UserName: aws.String("alice+ops")}))(t).AttachedPolicies
	for _, k := range got(m.iam.ListAccessKeys(ctx, &awsiam.ListAccessKeysInput{UserName: aws.String("alice+ops")}))(t).AccessKeyMetadata {
		all["key "+*k.AccessKeyId] = k.Status
	}
	all["role policies"] = got(m.iam.ListRolePolicies(ctx, &awsiam.ListRolePoliciesInput{RoleName: aws.String("web")}))(t).PolicyNames
	all["role attached"] = got(m.iam.ListAttachedRolePolicies(ctx, &awsiam.ListAttachedRolePoliciesInput{RoleName: aws.String("web")}))(t).AttachedPolicies
	all["trust"] = got(m.iam.GetRole(ctx, &awsiam.GetRoleInput{RoleName: aws.String("web")}))(t).Role.AssumeRolePolicyDocument
	all["reserved"] = got(m.lambda.GetFunctionConcurrency(ctx, &awslambda.GetFunctionConcurrencyInput{FunctionName: aws.String("thumbs")}))(t).ReservedConcurrentExecutions
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// contain contains a target twice: the second changes nothing. Residuals that are not always there must be of what moto does not
// know.
func (m *motoRig) contain(t *testing.T, target string, o containment.Options) (*containment.Plan, *containment.Result) {
	t.Helper()
	tg, err := containment.ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	o.Case = "moto-" + strings.NewReplacer("/", "-", ":", "-").Replace(t.Name())
	var first *containment.Result
	var p *containment.Plan
	for range 2 {
		if p, err = m.engine.Plan(t.Context(), tg, o); err != nil {
			t.Fatal(err)
		}
		r, err := m.engine.Apply(t.Context(), p, containment.ApplyOptions{Watch: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.Residuals {
			if !x.Known && x.Path != "not-listed" {
				t.Errorf("residual %+v", x)
			}
			if !x.Known {
				t.Logf("moto does not know: %s", x.What)
			}
		}
		if r.Outcome != containment.Held && r.Outcome != containment.Remaining || r.Tampering > 0 {
			t.Errorf("outcome %s: %+v", r.Outcome, r.Changes)
		}
		if first == nil {
			first = r
		}
		for _, c := range r.Changes {
			if first != r && c.Status == "changed" {
				t.Errorf("the second contain changed %s", c.Item)
			}
		}
	}
	return p, first
}

func (m *motoRig) release(t *testing.T, journal string, before string) {
	t.Helper()
	r, err := m.engine.Release(t.Context(), journal, containment.ReleaseOptions{Also: []string{"iam/access-key"}})
	if err != nil || r.Outcome != containment.Released {
		t.Fatalf("release: %+v, %v", r, err)
	}
	if after := m.state(t); after != before {
		t.Errorf("after the release it is\n%s\nand was\n%s", after, before)
	}
}

func (m *motoRig) user(t *testing.T) {
	before := m.state(t)
	p, r := m.contain(t, "user/alice+ops", containment.Options{})
	if p.Target.ARN() != "arn:aws:iam::"+lab.MotoAccount+":user/team/blue/alice+ops" {
		t.Errorf("the target is %s", p.Target)
	}
	if !strings.Contains(string(p.Evidence), "a+b") || len(p.Unchecked) == 0 {
		t.Errorf("evidence %s, unchecked %q", p.Evidence, p.Unchecked)
	}
	now := m.state(t)
	if strings.Contains(now, `"Active"`) || !strings.Contains(now, "AWSDenyAll") || !strings.Contains(now, iam.PolicyName) {
		t.Errorf("not contained: %s", now)
	}
	m.release(t, r.Journal, before)
}

func (m *motoRig) key(t *testing.T) {
	before := m.state(t)
	_, r := m.contain(t, m.keyID, containment.Options{KeyOnly: true})
	now := m.state(t)
	if strings.Contains(now, `"Active"`) || strings.Contains(now, "AWSDenyAll") {
		t.Errorf("not the key alone: %s", now)
	}
	m.release(t, r.Journal, before)
}

func (m *motoRig) role(t *testing.T) {
	before := m.state(t)
	p, r := m.contain(t, m.roleID, containment.Options{Cuts: []string{iam.CutTrust}})
	if !strings.Contains(strings.Join(p.Warnings, "\n"), "web-a") {
		t.Errorf("warnings %q", p.Warnings)
	}
	now := m.state(t)
	if !strings.Contains(now, "AWSDenyAll") || strings.Contains(now, "ec2.amazonaws.com") {
		t.Errorf("not contained: %s", now)
	}
	m.release(t, r.Journal, before)

	// Its clock is this machine's.
	start := time.Now().UTC().Truncate(time.Second)
	_, r = m.contain(t, "role/web", containment.Options{Mode: iam.ModeRevoke})
	s, err := m.engine.Services[0].Read(context.Background(), containment.Target{Kind: containment.Role}, iam.RolePolicy("web", iam.RevokeName))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc([]time.Duration{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, func(d time.Duration) bool {
		return strings.Contains(string(s), start.Add(d*time.Second).Format(time.RFC3339))
	}) {
		t.Errorf("policy %s, at %s", s, start)
	}
	m.release(t, r.Journal, before)
}

func (m *motoRig) function(t *testing.T) {
	before := m.state(t)
	_, r := m.contain(t, "function/thumbs", containment.Options{})
	now := m.state(t)
	if !strings.Contains(now, `"reserved": 0`) || !strings.Contains(now, iam.PolicyName+"-lambda-eu-west-1-thumbs") {
		t.Errorf("not contained: %s", now)
	}
	m.release(t, r.Journal, before)
}
