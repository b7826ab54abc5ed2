//go:build aws

package awslab_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/ec2"
	"github.com/shotglass-ir/shotglass/containment/iam"
	"github.com/shotglass-ir/shotglass/containment/lambda"
	"github.com/shotglass-ir/shotglass/e2e/awslab"
)

// A trial is the account, and what was made in it.
type trial struct {
	*testing.T
	lab    *awslab.Lab
	keys   *awslab.Keys
	engine *containment.Engine
}

// begin refuses to do anything but in the account that was named.
func begin(t *testing.T) *trial {
	account, region := os.Getenv("SHOTGLASS_TEST_AWS_ACCOUNT"), os.Getenv("SHOTGLASS_TEST_AWS_REGION")
	if account == "" || region == "" {
		t.Fatal("this makes instances in an AWS account, and costs money (docs/containment-aws-test.md): name it by SHOTGLASS_TEST_AWS_ACCOUNT, its 12 digits, and SHOTGLASS_TEST_AWS_REGION")
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(region))
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 4)
	rand.Read(id) //nolint:errcheck // it never fails
	x := &trial{T: t}
	if x.lab, err = awslab.New(t.Context(), cfg, account, hex.EncodeToString(id)); err != nil {
		t.Fatal(err)
	}
	t.Logf("run %s: everything has the tag shotglass-test=%s", x.lab.Run, x.lab.Run)
	t.Cleanup(func() {
		if err := x.lab.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if x.keys, err = awslab.NewKeys(); err != nil {
		t.Fatal(err)
	}
	accounts := &awsconfig.Accounts{Base: cfg, Case: x.lab.Run}
	caller, err := accounts.Caller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roles := &iam.Service{Config: accounts.Config}
	x.engine = &containment.Engine{
		Services: []containment.Service{&ec2.Service{Config: accounts.Config, Roles: roles, Caller: caller}, roles, &lambda.Service{Config: accounts.Config, Roles: roles}},
		Journals: containment.Dir(t.TempDir()), Caller: caller, Tool: "aws test",
		Observe: func(e containment.Event) { t.Logf("%s: %s %v", e.Target.Short(), e.Text, e.Err) },
	}
	return x
}

func (x *trial) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// answer is what the test is for: what AWS does, whichever it is.
func (x *trial) answer(question, format string, v ...any) {
	x.Helper()
	x.Logf("ANSWER "+question+": "+format, v...)
}

func (x *trial) dial(address string, through *ssh.Client) *ssh.Client {
	x.Helper()
	var c *ssh.Client
	x.must(awslab.Until(x.Context(), 6*time.Minute, func() (err error) {
		c, err = x.keys.Dial(x.Context(), address, through)
		return err
	}))
	x.Cleanup(func() { c.Close() })
	return c
}

func (x *trial) run(c *ssh.Client, command string) string {
	x.Helper()
	out, err := awslab.Run(c, command)
	x.must(err)
	return out
}

// last is how long ago, in seconds, a byte came on a flow, by the clock of who received it; many if none did.
func (x *trial) last(c *ssh.Client, flow string) float64 {
	x.Helper()
	out := x.run(c, "python3 -c 'import time; print(time.time() - float(open(\"/run/flow-"+flow+"\").read()))' 2>/dev/null || echo 1e9")
	n, err := strconv.ParseFloat(out, 64)
	x.must(err)
	return n
}

func (x *trial) eventually(what string, patience time.Duration, ok func() bool) {
	x.Helper()
	x.must(awslab.Until(x.Context(), patience, func() error {
		if !ok() {
			return errors.New(what + ": not within " + patience.String())
		}
		return nil
	}))
}

// stolen are the credentials of an instance's role, as one who is root on it takes them.
func (x *trial) stolen(c *ssh.Client) *awsec2.Client {
	x.Helper()
	const curl = `T=$(curl -sX PUT http://169.254.169.254/latest/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60'); B=http://169.254.169.254/latest/meta-data/iam/security-credentials/; curl -s -H "X-aws-ec2-metadata-token: $T" $B$(curl -s -H "X-aws-ec2-metadata-token: $T" $B)`
	var k struct{ AccessKeyID, SecretAccessKey, Token string }
	x.must(json.Unmarshal([]byte(x.run(c, curl)), &k))
	return x.caller(k.AccessKeyID, k.SecretAccessKey, k.Token)
}

func (x *trial) caller(id, secret, token string) *awsec2.Client {
	cfg := x.lab.Config.Copy()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, token)
	return awsec2.NewFromConfig(cfg)
}

func (x *trial) allowed(c *awsec2.Client) bool {
	_, err := c.DescribeRegions(x.Context(), &awsec2.DescribeRegionsInput{})
	if err != nil && !strings.Contains(err.Error(), "UnauthorizedOperation") {
		x.Fatal(err)
	}
	return err == nil
}

// groups are those of all interfaces of an instance.
func (x *trial) groups(id string) (all []string) {
	x.Helper()
	out, err := x.lab.EC2.DescribeNetworkInterfaces(x.Context(), &awsec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{id}}}})
	x.must(err)
	for _, i := range out.NetworkInterfaces {
		for _, g := range i.Groups {
			all = append(all, aws.ToString(i.NetworkInterfaceId)+" "+aws.ToString(g.GroupId))
		}
	}
	slices.Sort(all)
	return all
}

func (x *trial) contain(t containment.Target, o containment.Options, a containment.ApplyOptions) *containment.Result {
	x.Helper()
	o.Case = x.lab.Run
	p, err := x.engine.Plan(x.Context(), t, o)
	x.must(err)
	if len(p.Missing) > 0 {
		x.Fatalf("permissions are missing: %v", p.Missing)
	}
	r, err := x.engine.Apply(x.Context(), p, a)
	x.must(err)
	for _, c := range r.Changes {
		if c.Error != "" {
			x.Logf("%s: %s: %s", c.Summary, c.Status, c.Error)
		}
	}
	x.Logf("%s: %s, residuals %v", t.Short(), r.Outcome, r.Residuals)
	return r
}

func (x *trial) release(r *containment.Result) {
	x.Helper()
	back, err := x.engine.Release(x.Context(), r.Journal, containment.ReleaseOptions{})
	x.must(err)
	if back.Outcome != containment.Released {
		x.Errorf("released: %s: %+v", back.Outcome, back.Changes)
	}
}

// TestInstance asks AWS what connections do, and holds containment to what it says of itself.
func TestInstance(t *testing.T) {
	x := begin(t)
	nat := os.Getenv("SHOTGLASS_TEST_AWS_NAT") != ""
	x.must(x.lab.Network(t.Context(), nat))
	role, _, err := x.lab.Role(t.Context(), "ec2")
	x.must(err)
	x.must(x.lab.Profile(t.Context(), role))
	group, err := x.lab.Group(t.Context(), "shotglass-test", 22, 7000)
	x.must(err)
	server, err := x.lab.Instance(t.Context(), x.lab.Public, group, role, x.keys.Script(awslab.Server))
	x.must(err)
	victim, err := x.lab.Instance(t.Context(), x.lab.Public, group, role, x.keys.Script(awslab.Client(*server.PublicIpAddress, "internet")))
	x.must(err)
	id := *victim.InstanceId
	target := containment.Target{Kind: containment.Instance, Region: x.lab.Config.Region, Account: x.lab.Account, Name: id}
	before := x.groups(id)

	watcher, inside := x.dial(*server.PublicIpAddress, nil), x.dial(*victim.PublicIpAddress, nil)
	x.eventually("the chatty flow", 2*time.Minute, func() bool { return x.last(watcher, "internet") < 15 })
	x.eventually("the quiet flow", 4*time.Minute, func() bool { return x.last(inside, "quiet") < 60 })

	// (a) The byte comes after 90 s. It passes while the entry is there, since nobody may connect to the victim but by port 22.
	_, err = x.lab.EC2.ModifyNetworkInterfaceAttribute(t.Context(), &awsec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: victim.NetworkInterfaces[0].NetworkInterfaceId, ConnectionTrackingSpecification: &types.ConnectionTrackingSpecificationRequest{TcpEstablishedTimeout: aws.Int32(60)},
	})
	x.must(err)
	time.Sleep(200 * time.Second) // two bytes were due
	if since := x.last(inside, "quiet"); since > 150 {
		x.answer("a", "a lowered idle timeout applies to connections that exist: the last byte came %.0f s ago", since)
	} else {
		x.answer("a", "a lowered idle timeout does NOT apply to connections that exist: a byte came %.0f s ago", since)
	}

	thief, other := x.stolen(inside), x.stolen(watcher)
	if !x.allowed(thief) || !x.allowed(other) {
		t.Fatal("the roles' credentials are good for nothing before")
	}
	source := strings.Fields(x.run(inside, "echo $SSH_CLIENT"))[0]
	var alive atomic.Int64 // when the old SSH connection last answered
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := awslab.Run(inside, "true"); err != nil {
				return
			}
			alive.Store(time.Now().UnixNano())
			time.Sleep(2 * time.Second)
		}
	}()
	r := x.contain(target, containment.Options{Forensic: source + "/32"}, containment.ApplyOptions{Watch: time.Minute})
	isolated := time.Now()
	if !r.Outcome.Good() && r.Outcome != containment.Remaining {
		t.Errorf("contained: %s", r.Outcome)
	}

	// (b)
	time.Sleep(time.Minute)
	if since := x.last(watcher, "internet"); since > 50 {
		x.answer("b", "an active connection through the internet gateway ended: its last byte came %.0f s ago", since)
	} else {
		x.answer("b", "an active connection through the internet gateway LIVES ON %s after the isolation", time.Since(isolated))
	}
	// (c)
	if at := time.Unix(0, alive.Load()); time.Since(at) < 15*time.Second {
		x.answer("c", "an SSH connection that was open survives into a group that lets it in")
	} else {
		x.answer("c", "an SSH connection that was open died %s before the isolation was over", isolated.Sub(at))
	}
	again := x.dial(*victim.PublicIpAddress, nil) // a new one must be let in
	if out := x.run(again, "timeout 8 bash -c '</dev/tcp/"+*server.PublicIpAddress+"/7000' 2>/dev/null && echo open || echo shut"); out != "shut" {
		t.Error("a new connection out of the isolated instance is let through")
	}
	// (d)
	began := time.Now()
	for x.allowed(thief) && time.Since(began) < 3*time.Minute {
		time.Sleep(2 * time.Second)
	}
	x.answer("d", "credentials that were taken from the instance and are used elsewhere are denied: %v (after another %s)", !x.allowed(thief), time.Since(began).Round(time.Second))
	if !x.allowed(other) {
		t.Error("another instance with the same role is denied, too")
	}

	x.release(r)
	if after := x.groups(id); !slices.Equal(before, after) {
		t.Errorf("groups %v, before %v", after, before)
	}
	x.eventually("the credentials are good again", 3*time.Minute, func() bool { return x.allowed(thief) })
	inside.Close()
	<-done
	if nat {
		x.nat(group, role, &server, watcher)
	}
}

// nat is (b) for an instance behind a NAT gateway, where containment says that connections live on.
func (x *trial) nat(group, role string, server *types.Instance, watcher *ssh.Client) {
	victim, err := x.lab.Instance(x.Context(), x.lab.Private, group, role, x.keys.Script(awslab.Client(*server.PublicIpAddress, "nat")))
	x.must(err)
	x.dial(*victim.PrivateIpAddress, watcher)
	x.eventually("the flow through NAT", 2*time.Minute, func() bool { return x.last(watcher, "nat") < 15 })
	r := x.contain(containment.Target{Kind: containment.Instance, Region: x.lab.Config.Region, Account: x.lab.Account, Name: *victim.InstanceId},
		containment.Options{}, containment.ApplyOptions{})
	if !slices.ContainsFunc(r.Residuals, func(r containment.Residual) bool { return r.Path == "nat-gateway" }) {
		x.Error("the NAT gateway is no residual")
	}
	time.Sleep(time.Minute)
	x.answer("b, NAT", "an active connection through a NAT gateway lives on: %v", x.last(watcher, "nat") < 50)
	x.release(r)
}

// TestFunction asks whether a function's credentials can be denied by the function's ARN, within and elsewhere.
func TestFunction(t *testing.T) {
	x := begin(t)
	_, role, err := x.lab.Role(t.Context(), "lambda")
	x.must(err)
	name, err := x.lab.Function(t.Context(), role)
	x.must(err)
	invoke := func() (within string, elsewhere *awsec2.Client) {
		out, err := x.lab.Lambda.Invoke(t.Context(), &awslambda.InvokeInput{FunctionName: &name})
		x.must(err)
		var k map[string]string
		x.must(json.Unmarshal(out.Payload, &k))
		return k["allowed"], x.caller(k["AWS_ACCESS_KEY_ID"], k["AWS_SECRET_ACCESS_KEY"], k["AWS_SESSION_TOKEN"])
	}
	within, elsewhere := invoke()
	if within != "yes" || !x.allowed(elsewhere) {
		t.Fatalf("before: within the function %s", within)
	}
	target := containment.Target{Kind: containment.Function, Region: x.lab.Config.Region, Account: x.lab.Account, Name: name}
	x.contain(target, containment.Options{}, containment.ApplyOptions{Stages: []containment.Stage{containment.Lock}}) // it can be invoked, still
	began := time.Now()
	for within == "yes" && time.Since(began) < 3*time.Minute {
		time.Sleep(3 * time.Second)
		within, _ = invoke()
	}
	x.answer("e", "within the function its role is denied: %v (after %s: %.200s)", within != "yes", time.Since(began).Round(time.Second), within)
	x.answer("e", "its credentials, used elsewhere, are denied: %v", !x.allowed(elsewhere))
	r := x.contain(target, containment.Options{}, containment.ApplyOptions{})
	if r.Outcome != containment.Held {
		t.Errorf("contained: %s", r.Outcome)
	}
	if _, err := x.lab.Lambda.Invoke(t.Context(), &awslambda.InvokeInput{FunctionName: &name}); err == nil {
		t.Error("it can be invoked")
	}
	x.release(r)
	x.eventually("it works again", 3*time.Minute, func() bool { out, _ := invoke(); return out == "yes" })
}
