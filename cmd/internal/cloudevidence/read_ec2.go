package cloudevidence

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// An instance has at most a few dozen of each of these, so one page is asked for; what does not fit is said to be missing.
var errMore = errors.New("there is more than one page: what follows is missing")

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

func content(v any, err error) (answer, error) {
	b, derr := document(v)
	if derr != nil {
		return answer{}, derr
	}
	return answer{content: b}, err
}

// describe reads the description of the instance.
func (r *reading) describe(ctx context.Context) (*types.Instance, error) {
	out, err := r.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{r.t.Name}})
	if err != nil {
		return nil, err
	}
	r.described = out
	for _, res := range out.Reservations {
		for i := range res.Instances {
			if aws.ToString(res.Instances[i].InstanceId) == r.t.Name {
				return &res.Instances[i], nil
			}
		}
	}
	return nil, fmt.Errorf("EC2 knows no instance %s here", r.t.Name)
}

func readInstance(r *reading, _ context.Context) (answer, error) {
	if _, err := r.instance(); err != nil {
		return answer{}, err
	}
	return content(r.described, nil)
}

// attributes are those that only DescribeInstanceAttribute tells. It tells one at a time.
var attributes = []types.InstanceAttributeName{
	types.InstanceAttributeNameDisableApiTermination, types.InstanceAttributeNameDisableApiStop, types.InstanceAttributeNameInstanceInitiatedShutdownBehavior,
}

func readAttributes(r *reading, ctx context.Context) (answer, error) {
	all := map[string]any{}
	var errs []error
	for _, name := range attributes {
		out, err := r.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &r.t.Name, Attribute: name})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		all[string(name)] = out
	}
	if len(all) == 0 {
		return answer{}, errors.Join(errs...)
	}
	return content(all, errors.Join(errs...))
}

func readUserData(r *reading, ctx context.Context) (answer, error) {
	out, err := r.ec2.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &r.t.Name, Attribute: types.InstanceAttributeNameUserData})
	if err != nil {
		return answer{}, err
	}
	if out.UserData == nil || aws.ToString(out.UserData.Value) == "" {
		return answer{absent: "the instance has none"}, nil
	}
	return decoded(*out.UserData.Value)
}

// decoded is what AWS sends as base64. What is none is kept as it came.
func decoded(s string) (answer, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return answer{content: []byte(s)}, fmt.Errorf("it is no base64, and is kept as AWS sent it: %w", err)
	}
	if b == nil {
		b = []byte{}
	}
	return answer{content: b}, nil
}

func readVolumes(r *reading, ctx context.Context) (answer, error) {
	out, err := r.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: filter("attachment.instance-id", r.t.Name)})
	if err != nil {
		return answer{}, err
	}
	if out.NextToken != nil {
		err = errMore
	}
	a, err := content(out, err)
	if len(out.Volumes) == 0 {
		a.notes = append(a.notes, "no volume is attached; instance stores are not listed by EC2")
	}
	return a, err
}

// list reads the interfaces: also those that services manage.
func (r *reading) list(ctx context.Context) ([]types.NetworkInterface, error) {
	out, err := r.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		IncludeManagedResources: aws.Bool(true), Filters: filter("attachment.instance-id", r.t.Name),
	})
	if err != nil {
		return nil, err
	}
	r.listed = out
	return out.NetworkInterfaces, nil
}

func readInterfaces(r *reading, _ context.Context) (answer, error) {
	if _, err := r.interfaces(); err != nil {
		return answer{}, err
	}
	if r.listed.NextToken != nil {
		return content(r.listed, errMore)
	}
	return content(r.listed, nil)
}

// ids are what of gives of each interface, each once.
func (r *reading) ids(of func(types.NetworkInterface) []string) (ids []string, err error) {
	list, err := r.interfaces()
	if err != nil {
		return nil, fmt.Errorf("its interfaces: %w", err)
	}
	for _, e := range list {
		for _, id := range of(e) {
			if id != "" && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

const noInterface = "the instance has no network interface any more"

func readGroups(r *reading, ctx context.Context) (answer, error) {
	ids, err := r.ids(func(e types.NetworkInterface) (ids []string) {
		for _, g := range e.Groups {
			ids = append(ids, aws.ToString(g.GroupId))
		}
		return ids
	})
	if err != nil {
		return answer{}, err
	}
	if len(ids) == 0 {
		return answer{absent: noInterface}, nil
	}
	var all struct {
		SecurityGroups     []types.SecurityGroup
		SecurityGroupRules []types.SecurityGroupRule
	}
	groups := ec2.NewDescribeSecurityGroupsPaginator(r.ec2, &ec2.DescribeSecurityGroupsInput{Filters: filter("group-id", ids...)})
	for groups.HasMorePages() {
		out, err := groups.NextPage(ctx)
		if err != nil {
			return answer{}, err
		}
		all.SecurityGroups = append(all.SecurityGroups, out.SecurityGroups...)
	}
	rules := ec2.NewDescribeSecurityGroupRulesPaginator(r.ec2, &ec2.DescribeSecurityGroupRulesInput{Filters: filter("group-id", ids...)})
	for rules.HasMorePages() {
		out, err := rules.NextPage(ctx)
		if err != nil {
			return content(all, fmt.Errorf("their rules: %w", err))
		}
		all.SecurityGroupRules = append(all.SecurityGroupRules, out.SecurityGroupRules...)
	}
	return content(all, nil)
}

func (r *reading) subnets() ([]string, error) {
	return r.ids(func(e types.NetworkInterface) []string { return []string{aws.ToString(e.SubnetId)} })
}

func readRoutes(r *reading, ctx context.Context) (answer, error) {
	subnets, err := r.subnets()
	if err != nil {
		return answer{}, err
	}
	vpcs, err := r.ids(func(e types.NetworkInterface) []string { return []string{aws.ToString(e.VpcId)} })
	if err != nil {
		return answer{}, err
	}
	if len(subnets) == 0 {
		return answer{absent: noInterface}, nil
	}
	var all struct {
		Subnets     []types.Subnet
		RouteTables []types.RouteTable
	}
	nets, err := r.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: filter("subnet-id", subnets...)})
	if err != nil {
		return answer{}, err
	}
	all.Subnets = nets.Subnets
	pages := ec2.NewDescribeRouteTablesPaginator(r.ec2, &ec2.DescribeRouteTablesInput{Filters: filter("vpc-id", vpcs...)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return content(all, fmt.Errorf("the route tables: %w", err))
		}
		all.RouteTables = append(all.RouteTables, out.RouteTables...)
	}
	return content(all, nil)
}

func readACLs(r *reading, ctx context.Context) (answer, error) {
	subnets, err := r.subnets()
	if err != nil {
		return answer{}, err
	}
	if len(subnets) == 0 {
		return answer{absent: noInterface}, nil
	}
	var all struct{ NetworkAcls []types.NetworkAcl }
	pages := ec2.NewDescribeNetworkAclsPaginator(r.ec2, &ec2.DescribeNetworkAclsInput{Filters: filter("association.subnet-id", subnets...)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return answer{}, err
		}
		all.NetworkAcls = append(all.NetworkAcls, out.NetworkAcls...)
	}
	return content(all, nil)
}

func readTags(r *reading, ctx context.Context) (answer, error) {
	ids := []string{r.t.Name}
	var missing error
	if i, err := r.instance(); err == nil {
		for _, d := range i.BlockDeviceMappings {
			if d.Ebs != nil {
				ids = append(ids, aws.ToString(d.Ebs.VolumeId))
			}
		}
	} else {
		missing = fmt.Errorf("of the instance alone: which volumes it has is not known: %w", err)
	}
	if list, err := r.ids(func(e types.NetworkInterface) []string { return []string{aws.ToString(e.NetworkInterfaceId)} }); err == nil {
		ids = append(ids, list...)
	} else {
		missing = errors.Join(missing, err)
	}
	var all struct{ Tags []types.TagDescription }
	pages := ec2.NewDescribeTagsPaginator(r.ec2, &ec2.DescribeTagsInput{Filters: filter("resource-id", ids...)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return answer{}, err
		}
		all.Tags = append(all.Tags, out.Tags...)
	}
	return content(all, missing)
}

func readConsole(r *reading, ctx context.Context) (answer, error)       { return r.console(ctx, false) }
func readLatestConsole(r *reading, ctx context.Context) (answer, error) { return r.console(ctx, true) }

func (r *reading) console(ctx context.Context, latest bool) (answer, error) {
	in := &ec2.GetConsoleOutputInput{InstanceId: &r.t.Name}
	if latest {
		in.Latest = aws.Bool(true)
	}
	out, err := r.ec2.GetConsoleOutput(ctx, in)
	if latest && awsconfig.Code(err) == "UnsupportedOperation" {
		return answer{absent: "the type of the instance has none of now, but of the last boot alone: " + err.Error()}, nil
	}
	if err != nil {
		return answer{}, err
	}
	if aws.ToString(out.Output) == "" {
		return answer{absent: "EC2 has none yet, or keeps none"}, nil
	}
	a, err := decoded(strings.Join(strings.Fields(*out.Output), ""))
	if out.Timestamp != nil {
		a.notes = append(a.notes, "last changed "+out.Timestamp.UTC().Format("2006-01-02T15:04:05Z"))
	}
	return a, err
}

// readScreenshot does not wake the console: that would be a key press.
func readScreenshot(r *reading, ctx context.Context) (answer, error) {
	out, err := r.ec2.GetConsoleScreenshot(ctx, &ec2.GetConsoleScreenshotInput{InstanceId: &r.t.Name, WakeUp: aws.Bool(false)})
	if awsconfig.Code(err) == "UnsupportedOperation" {
		return answer{absent: "the type of the instance has none: " + err.Error()}, nil
	}
	if err != nil {
		return answer{}, err
	}
	if aws.ToString(out.ImageData) == "" {
		return answer{absent: "EC2 gave none"}, nil
	}
	return decoded(*out.ImageData)
}
