package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A part is one thing that is asked about the instances of a place.
type part struct {
	what string // for who reads that it could not be read
	read func(context.Context, clients, []*Instance) error
}

// The parts of Images and Describe.
var (
	imagePart = part{"the name of its AMI", readImages}
	waysParts = []part{
		{"whether its VPC has an endpoint of EC2 Instance Connect", readEndpoints},
		{"whether Systems Manager manages it", readManaged},
	}
	parts = append([]part{
		imagePart,
		{"whether it is of Nitro or Xen", readTypes},
		{"which rules let everybody in", readRules},
		{"its state in Auto Scaling", readScaling},
	}, waysParts...)
)

// clients are those of one place.
type clients struct {
	ec2     ec2API
	scaling scalingAPI
	ssm     ssmAPI
	fips    bool // the configuration wants endpoints of FIPS 140
}

// Images fills in the images' names, and from them how to log in.
func (f *Finder) Images(ctx context.Context, found *Found) error {
	return f.describe(ctx, found.Instances, imagePart)
}

// Ways fills in the ways in that lead through AWS: endpoints of EC2 Instance Connect, and Systems Manager.
func (f *Finder) Ways(ctx context.Context, found *Found) error {
	return f.describe(ctx, found.Instances, waysParts...)
}

// Describe fills in all that DescribeInstances does not say. What cannot be read is among the Unknown of the instances that
// it is about; an error is only that ctx ended.
func (f *Finder) Describe(ctx context.Context, found *Found) error {
	return f.describe(ctx, found.Instances, parts...)
}

func (f *Finder) describe(ctx context.Context, all []*Instance, parts ...part) error {
	byPlace := map[Place][]*Instance{}
	for _, i := range all {
		p := Place{i.Account, i.Region}
		byPlace[p] = append(byPlace[p], i)
	}
	var g errgroup.Group
	g.SetLimit(cmp.Or(f.Parallel, parallel))
	for p, list := range byPlace {
		g.Go(func() error {
			cfg, err := f.Config(ctx, p.Target())
			api := ec2.NewFromConfig(cfg)
			c := clients{api, autoscaling.NewFromConfig(cfg), ssm.NewFromConfig(cfg), api.Options().EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled}
			var mu sync.Mutex
			var reads errgroup.Group
			for _, part := range parts {
				reads.Go(func() error {
					perr := err
					if perr == nil {
						perr = part.read(ctx, c, list)
					}
					if perr != nil {
						mu.Lock()
						defer mu.Unlock()
						for _, i := range list {
							i.Unknown = append(i.Unknown, fmt.Sprintf("%s: %v", part.what, awsconfig.Explain(perr)))
						}
					}
					return nil
				})
			}
			reads.Wait() //nolint:errcheck // none is returned
			for _, i := range list {
				slices.Sort(i.Unknown)
				i.Ways.Key, i.Ways.Push = i.Key, takesPushed(i)
				i.Login, i.Module = loginOf(i), GuessOf(i)
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// grouped are the instances by what of gives of each, without the empty.
func grouped(list []*Instance, of func(*Instance) []string) (map[string][]*Instance, []string) {
	by := map[string][]*Instance{}
	for _, i := range list {
		for _, k := range of(i) {
			if k != "" {
				by[k] = append(by[k], i)
			}
		}
	}
	var keys []string
	for k := range by {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return by, keys
}

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: &name, Values: values}}
}

// readImages reads the images' names. One that is gone, or not shared any more, is not in the answer.
func readImages(ctx context.Context, c clients, list []*Instance) error {
	by, ids := grouped(list, func(i *Instance) []string { return []string{i.Image.ID} })
	for chunk := range slices.Chunk(ids, perFilter) {
		// Deprecated ones are what old instances run; one that is disabled is as if gone.
		pages := ec2.NewDescribeImagesPaginator(c.ec2, &ec2.DescribeImagesInput{Filters: filter("image-id", chunk...), IncludeDeprecated: aws.Bool(true)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, m := range page.Images {
				for _, i := range by[aws.ToString(m.ImageId)] {
					i.Image.Name, i.Image.About = aws.ToString(m.Name), aws.ToString(m.Description)
					i.Image.Owner = cmp.Or(aws.ToString(m.ImageOwnerAlias), aws.ToString(m.OwnerId))
				}
			}
		}
	}
	return nil
}

// typesAtOnce is how many types are asked for at once.
const typesAtOnce = 100

// readTypes reads what runs the instances: the hypervisor that DescribeInstances tells is xen for all.
func readTypes(ctx context.Context, c clients, list []*Instance) error {
	by, names := grouped(list, func(i *Instance) []string { return []string{i.Type} })
	for chunk := range slices.Chunk(names, typesAtOnce) {
		in := &ec2.DescribeInstanceTypesInput{}
		for _, n := range chunk {
			in.InstanceTypes = append(in.InstanceTypes, types.InstanceType(n))
		}
		pages := ec2.NewDescribeInstanceTypesPaginator(c.ec2, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, t := range page.InstanceTypes {
				for _, i := range by[string(t.InstanceType)] {
					i.Hypervisor, i.BareMetal = string(t.Hypervisor), aws.ToBool(t.BareMetal)
				}
			}
		}
	}
	return nil
}

// everybody are the sources that are all addresses.
var everybody = []string{"0.0.0.0/0", "::/0"}

const sshPort = 22

// readRules reads the rules of the instances' groups that let everybody in on the port of SSH.
func readRules(ctx context.Context, c clients, list []*Instance) error {
	by, ids := grouped(list, func(i *Instance) (ids []string) {
		for _, g := range i.Groups {
			ids = append(ids, g.ID)
		}
		return ids
	})
	for chunk := range slices.Chunk(ids, perFilter) {
		pages := ec2.NewDescribeSecurityGroupRulesPaginator(c.ec2, &ec2.DescribeSecurityGroupRulesInput{Filters: filter("group-id", chunk...), MaxResults: aws.Int32(pageSize)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, r := range page.SecurityGroupRules {
				if open, ok := openRule(r); ok {
					for _, i := range by[open.Group] {
						i.OpenSSH = append(i.OpenSSH, open)
					}
				}
			}
		}
	}
	return nil
}

// openRule reads a rule, if it lets everybody in on the port of SSH.
func openRule(r types.SecurityGroupRule) (OpenRule, bool) {
	from := cmp.Or(aws.ToString(r.CidrIpv4), aws.ToString(r.CidrIpv6))
	low, high := int(aws.ToInt32(r.FromPort)), int(aws.ToInt32(r.ToPort))
	protocol := aws.ToString(r.IpProtocol)
	all := protocol == "-1" || low == -1
	if aws.ToBool(r.IsEgress) || !slices.Contains(everybody, from) || protocol != "-1" && protocol != "tcp" && protocol != "6" || !all && (sshPort < low || high < sshPort) {
		return OpenRule{}, false
	}
	ports := "all"
	if !all {
		ports = strconv.Itoa(low)
		if high != low {
			ports += "-" + strconv.Itoa(high)
		}
	}
	return OpenRule{Group: aws.ToString(r.GroupId), From: from, Ports: ports}, true
}

// scalingAtOnce is how many instances Auto Scaling is asked about at once.
const scalingAtOnce = 50

// readScaling reads the states of the instances that have a group.
func readScaling(ctx context.Context, c clients, list []*Instance) error {
	by, ids := grouped(list, func(i *Instance) []string {
		if i.Scaling == nil {
			return nil
		}
		return []string{i.ID}
	})
	for chunk := range slices.Chunk(ids, scalingAtOnce) {
		out, err := c.scaling.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: chunk})
		if err != nil {
			return err
		}
		for _, s := range out.AutoScalingInstances {
			for _, i := range by[aws.ToString(s.InstanceId)] {
				i.Scaling.State, i.Scaling.Protected = aws.ToString(s.LifecycleState), aws.ToBool(s.ProtectedFromScaleIn)
			}
		}
	}
	return nil
}

// managedAtOnce is the page of DescribeInstanceInformation.
const managedAtOnce = 50

// readManaged reads which instances Systems Manager manages. It lists all of the place: to ask for each would be as many calls.
func readManaged(ctx context.Context, c clients, list []*Instance) error {
	by, _ := grouped(list, func(i *Instance) []string { return []string{i.ID} })
	pages := ssm.NewDescribeInstanceInformationPaginator(c.ssm, &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(managedAtOnce)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, m := range page.InstanceInformationList {
			for _, i := range by[aws.ToString(m.InstanceId)] {
				i.Ways.SSM, i.Ways.Agent = string(m.PingStatus), aws.ToString(m.AgentVersion)
			}
		}
	}
	return nil
}
