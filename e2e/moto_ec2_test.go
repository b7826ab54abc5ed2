//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/ec2"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// An instance against an emulator that someone else wrote. What differs from AWS there is in docs/containment-ec2.md.
func TestMotoInstance(t *testing.T) {
	t.Parallel()
	accounts, caller := startMoto(t)
	m := &motoEC2{T: t, ec2: awsec2.NewFromConfig(accounts.Base), iam: awsiam.NewFromConfig(accounts.Base), elb: elb.NewFromConfig(accounts.Base)}
	m.fill()
	before := m.state()
	var mu sync.Mutex
	now := time.Now() // waits cost nothing: moto does all at once, or never
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	sleep := func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
		return ctx.Err()
	}
	roles := &iam.Service{Config: accounts.Config}
	engine := &containment.Engine{
		Services: []containment.Service{&ec2.Service{Config: accounts.Config, Roles: roles, Sleep: sleep}, roles}, Journals: containment.Dir(t.TempDir()),
		Caller: caller, Tool: "e2e", Now: clock, Sleep: sleep,
	}
	wait := time.Duration(0)
	// Network ACLs are left out: moto takes a dry run of theirs for the call.
	plan, err := engine.Plan(t.Context(), containment.Target{Kind: containment.Instance, Region: "eu-west-1", Name: m.instance},
		containment.Options{Case: "moto", UntrackWait: &wait, Cuts: []string{ec2.CutPublicAddress}})
	if err != nil {
		t.Fatal(err)
	}
	if now := m.state(); now != before {
		t.Fatalf("the plan changed something:\n%s\n%s", before, now)
	}
	for _, want := range []string{"changed", "holds"} { // the second finds all of it done
		res, err := engine.Apply(t.Context(), plan, containment.ApplyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range res.Changes {
			// moto does not know idle timeouts; a shutdown stops, there and before.
			ok := c.Status == want || c.Status == "already" && strings.HasSuffix(c.ID, "/shutdown-behavior")
			if c.Kind == "ec2/interface-timeouts" {
				ok = c.Status == "undone"
			}
			if !ok {
				t.Errorf("%s: %s %s", c.Item, c.Status, c.Error)
			}
		}
	}
	if m.state() == before {
		t.Fatal("moto shows no change")
	}
	rel, err := engine.Release(t.Context(), containment.JournalName("moto", plan.Target), containment.ReleaseOptions{})
	if err != nil || rel.Outcome != containment.Released {
		t.Errorf("release: %v, %+v", err, rel)
	}
	if after := m.state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

type motoEC2 struct {
	*testing.T
	ec2      *awsec2.Client
	iam      *awsiam.Client
	elb      *elb.Client
	instance string
	eni      string
	group    string
	target   string
}

// fill makes an instance with a role, an Elastic IP and a place behind a load balancer.
func (m *motoEC2) fill() {
	ctx, t, p := m.Context(), m.T, aws.String
	vpc := got(m.ec2.CreateVpc(ctx, &awsec2.CreateVpcInput{CidrBlock: p("10.7.0.0/16")}))(t).Vpc.VpcId
	subnet := got(m.ec2.CreateSubnet(ctx, &awsec2.CreateSubnetInput{VpcId: vpc, CidrBlock: p("10.7.1.0/24")}))(t).Subnet.SubnetId
	m.group = *got(m.ec2.CreateSecurityGroup(ctx, &awsec2.CreateSecurityGroupInput{VpcId: vpc, GroupName: p("web"), Description: p("web")}))(t).GroupId
	m.eni = *got(m.ec2.CreateNetworkInterface(ctx, &awsec2.CreateNetworkInterfaceInput{SubnetId: subnet, Groups: []string{m.group}}))(t).NetworkInterface.NetworkInterfaceId
	got(m.iam.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: p("web"), Path: p("/team/"), AssumeRolePolicyDocument: p(trustEC2)}))(t)
	got(m.iam.CreateInstanceProfile(ctx, &awsiam.CreateInstanceProfileInput{InstanceProfileName: p("web"), Path: p("/team/")}))(t)
	got(m.iam.AddRoleToInstanceProfile(ctx, &awsiam.AddRoleToInstanceProfileInput{InstanceProfileName: p("web"), RoleName: p("web")}))(t)
	ami := got(m.ec2.DescribeImages(ctx, &awsec2.DescribeImagesInput{Filters: []ec2types.Filter{{Name: p("architecture"), Values: []string{"x86_64"}}}}))(t).Images[0].ImageId
	run := got(m.ec2.RunInstances(ctx, &awsec2.RunInstancesInput{
		ImageId: ami, InstanceType: "m5.large", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: p("web")},
		NetworkInterfaces:  []ec2types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), NetworkInterfaceId: &m.eni}},
	}))(t)
	m.instance = *run.Instances[0].InstanceId
	eip := got(m.ec2.AllocateAddress(ctx, &awsec2.AllocateAddressInput{Domain: ec2types.DomainTypeVpc}))(t).AllocationId
	got(m.ec2.AssociateAddress(ctx, &awsec2.AssociateAddressInput{AllocationId: eip, NetworkInterfaceId: &m.eni}))(t)
	m.target = *got(m.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: p("web"), VpcId: vpc, Protocol: elbtypes.ProtocolEnumHttps, Port: aws.Int32(443)}))(t).TargetGroups[0].TargetGroupArn
	got(m.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &m.target, Targets: []elbtypes.TargetDescription{{Id: &m.instance, Port: aws.Int32(443)}}}))(t)
}

// state is what containment changes, as moto tells it.
func (m *motoEC2) state() string {
	ctx, t := m.Context(), m.T
	var b strings.Builder
	e := got(m.ec2.DescribeNetworkInterfaces(ctx, &awsec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{m.eni}}))(t).NetworkInterfaces[0]
	var groups []string
	for _, g := range e.Groups {
		groups = append(groups, *g.GroupId)
	}
	slices.Sort(groups)
	i := got(m.ec2.DescribeInstances(ctx, &awsec2.DescribeInstancesInput{InstanceIds: []string{m.instance}}))(t).Reservations[0].Instances[0]
	acls := got(m.ec2.DescribeNetworkAcls(ctx, &awsec2.DescribeNetworkAclsInput{Filters: []ec2types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{*e.SubnetId}}}}))(t).NetworkAcls
	addr := got(m.ec2.DescribeAddresses(ctx, nil))(t).Addresses[0]
	policies := got(m.iam.ListRolePolicies(ctx, &awsiam.ListRolePoliciesInput{RoleName: aws.String("web")}))(t).PolicyNames
	health := got(m.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &m.target}))(t).TargetHealthDescriptions
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	for _, v := range []any{groups, i.Tags, i.BlockDeviceMappings, *acls[0].NetworkAclId, len(acls[0].Entries), addr.NetworkInterfaceId, policies, len(health)} {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
