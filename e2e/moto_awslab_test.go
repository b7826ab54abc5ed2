//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/shotglass-ir/shotglass/e2e/awslab"
)

// What the test on AWS itself makes, it takes away again; and in another account than the one that was named it makes nothing.
func TestMotoAWSLab(t *testing.T) {
	t.Parallel()
	accounts, caller := startMoto(t)
	if _, err := awslab.New(t.Context(), accounts.Base, "999999999999", "x"); err == nil || !strings.Contains(err.Error(), "nothing was made") {
		t.Fatalf("another account: %v", err)
	}
	l, err := awslab.New(t.Context(), accounts.Base, caller.Account, "x")
	if err != nil {
		t.Fatal(err)
	}
	l.Image = "ami-12c6146b" // moto resolves none
	count := func() (vpcs, addresses, roles, profiles, running int) {
		t.Helper()
		mine := []ec2types.Filter{{Name: aws.String("tag:shotglass-test"), Values: []string{"x"}}}
		v, err := l.EC2.DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{Filters: mine})
		if err != nil {
			t.Fatal(err)
		}
		a, err := l.EC2.DescribeAddresses(t.Context(), &awsec2.DescribeAddressesInput{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.IAM.ListRoles(t.Context(), &awsiam.ListRolesInput{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.IAM.ListInstanceProfiles(t.Context(), &awsiam.ListInstanceProfilesInput{})
		if err != nil {
			t.Fatal(err)
		}
		i, err := l.EC2.DescribeInstances(t.Context(), &awsec2.DescribeInstancesInput{Filters: append(mine, ec2types.Filter{Name: aws.String("instance-state-name"), Values: []string{"running"}})})
		if err != nil {
			t.Fatal(err)
		}
		return len(v.Vpcs), len(a.Addresses), len(r.Roles), len(p.InstanceProfiles), len(i.Reservations)
	}
	if err := l.Network(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	role, _, err := l.Role(t.Context(), "ec2")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Profile(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	group, err := l.Group(t.Context(), "shotglass-test", 22, 7000)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := awslab.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	for _, subnet := range []string{l.Public, l.Private} {
		if _, err := l.Instance(t.Context(), subnet, group, role, keys.Script(awslab.Server)); err != nil {
			t.Fatal(err)
		}
	}
	if vpcs, addresses, roles, profiles, running := count(); vpcs != 1 || addresses == 0 || roles != 1 || profiles != 1 || running != 2 {
		t.Errorf("made: %d VPCs, %d addresses, %d roles, %d profiles, %d instances", vpcs, addresses, roles, profiles, running)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if vpcs, addresses, roles, profiles, running := count(); vpcs+addresses+roles+profiles+running != 0 {
		t.Errorf("left: %d VPCs, %d addresses, %d roles, %d profiles, %d instances", vpcs, addresses, roles, profiles, running)
	}
}
