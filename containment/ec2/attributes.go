package ec2

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
)

// The attributes that are set, by the second part of an item's id.
const (
	noTermination = "disable-api-termination"
	noStop        = "disable-api-stop"
	onShutdown    = "shutdown-behavior"
)

func readAttribute(ctx context.Context, c *conn, id string) (containment.State, error) {
	instance, name, _ := strings.Cut(id, "/")
	in := &sdk.DescribeInstanceAttributeInput{InstanceId: &instance}
	switch name {
	case noTermination:
		in.Attribute = types.InstanceAttributeNameDisableApiTermination
	case noStop:
		in.Attribute = types.InstanceAttributeNameDisableApiStop
	case onShutdown:
		in.Attribute = types.InstanceAttributeNameInstanceInitiatedShutdownBehavior
	default:
		return nil, fmt.Errorf("no such attribute: %q", name)
	}
	if _, err := c.instance(ctx, instance); err != nil { // attributes of what was terminated can be read for a while
		return nil, err
	}
	out, err := c.ec2.DescribeInstanceAttribute(ctx, in)
	if err != nil {
		return nil, failed("ec2:DescribeInstanceAttribute", err)
	}
	switch name {
	case noTermination:
		return state(out.DisableApiTermination != nil && aws.ToBool(out.DisableApiTermination.Value)), nil
	case noStop:
		return state(out.DisableApiStop != nil && aws.ToBool(out.DisableApiStop.Value)), nil
	}
	if out.InstanceInitiatedShutdownBehavior == nil {
		return containment.Absent, nil
	}
	return state(aws.ToString(out.InstanceInitiatedShutdownBehavior.Value)), nil
}

func setAttribute(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	instance, name, _ := strings.Cut(id, "/")
	in := &sdk.ModifyInstanceAttributeInput{InstanceId: &instance, DryRun: c.dryRun()}
	if name == onShutdown {
		v, err := decode[string](to)
		if err != nil {
			return containment.Reply{}, err
		}
		in.InstanceInitiatedShutdownBehavior = &types.AttributeValue{Value: &v}
	} else {
		v, err := decode[bool](to)
		if err != nil {
			return containment.Reply{}, err
		}
		if name == noStop {
			in.DisableApiStop = &types.AttributeBooleanValue{Value: &v}
		} else {
			in.DisableApiTermination = &types.AttributeBooleanValue{Value: &v}
		}
	}
	return c.modifyInstance(ctx, in)
}

// modifyInstance sets one attribute: EC2 takes no more at once.
func (c *conn) modifyInstance(ctx context.Context, in *sdk.ModifyInstanceAttributeInput) (containment.Reply, error) {
	out, err := c.ec2.ModifyInstanceAttribute(ctx, in)
	if err != nil {
		return containment.Reply{}, failed("ec2:ModifyInstanceAttribute", err)
	}
	return reply(out.ResultMetadata, ""), nil
}

// readVolume tells whether a device's volume goes with the instance. The id is the instance's, a slash, and the device's name.
func readVolume(ctx context.Context, c *conn, id string) (containment.State, error) {
	instance, device, _ := strings.Cut(id, "/")
	i, err := c.instance(ctx, instance)
	if err != nil {
		return nil, err
	}
	for _, d := range i.BlockDeviceMappings {
		if aws.ToString(d.DeviceName) == device && d.Ebs != nil {
			return state(aws.ToBool(d.Ebs.DeleteOnTermination)), nil
		}
	}
	return nil, gone("the volume at " + device + " of " + instance)
}

func setVolume(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	instance, device, _ := strings.Cut(id, "/")
	v, err := decode[bool](to)
	if err != nil {
		return containment.Reply{}, err
	}
	return c.modifyInstance(ctx, &sdk.ModifyInstanceAttributeInput{
		InstanceId: &instance, DryRun: c.dryRun(),
		BlockDeviceMappings: []types.InstanceBlockDeviceMappingSpecification{{
			DeviceName: &device, Ebs: &types.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: &v},
		}},
	})
}

func readTag(ctx context.Context, c *conn, id string) (containment.State, error) {
	instance, key, _ := strings.Cut(id, "/")
	i, err := c.instance(ctx, instance)
	if err != nil {
		return nil, err
	}
	for _, t := range i.Tags {
		if aws.ToString(t.Key) == key {
			return state(aws.ToString(t.Value)), nil
		}
	}
	return containment.Absent, nil
}

func setTag(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	instance, key, _ := strings.Cut(id, "/")
	if absent(to) {
		out, err := c.ec2.DeleteTags(ctx, &sdk.DeleteTagsInput{Resources: []string{instance}, Tags: []types.Tag{{Key: &key}}, DryRun: c.dryRun()})
		if err != nil {
			return containment.Reply{}, failed("ec2:DeleteTags", err)
		}
		return reply(out.ResultMetadata, ""), nil
	}
	v, err := decode[string](to)
	if err != nil {
		return containment.Reply{}, err
	}
	out, err := c.ec2.CreateTags(ctx, &sdk.CreateTagsInput{Resources: []string{instance}, Tags: []types.Tag{{Key: &key, Value: &v}}, DryRun: c.dryRun()})
	if err != nil {
		return containment.Reply{}, failed("ec2:CreateTags", err)
	}
	return reply(out.ResultMetadata, ""), nil
}

// powerPatience is how long an instance has to stop or to start.
const powerPatience = 10 * time.Minute

func readPower(ctx context.Context, c *conn, id string) (containment.State, error) {
	i, err := c.instance(ctx, id)
	if err != nil {
		return nil, err
	}
	return state(string(i.State.Name)), nil
}

// setPower stops the instance, or starts it. Shutdown scripts are passed over, for they may be the attacker's.
func setPower(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	want, err := decode[string](to)
	if err != nil {
		return containment.Reply{}, err
	}
	var r containment.Reply
	if want == string(types.InstanceStateNameStopped) {
		out, err := c.ec2.StopInstances(ctx, &sdk.StopInstancesInput{InstanceIds: []string{id}, SkipOsShutdown: aws.Bool(true), DryRun: c.dryRun()})
		if err != nil {
			return r, failed("ec2:StopInstances", err)
		}
		r = reply(out.ResultMetadata, "")
	} else {
		out, err := c.ec2.StartInstances(ctx, &sdk.StartInstancesInput{InstanceIds: []string{id}, DryRun: c.dryRun()})
		if err != nil {
			return r, failed("ec2:StartInstances", err)
		}
		r = reply(out.ResultMetadata, "what was in its memory before is lost")
	}
	err = c.until(ctx, powerPatience, func() (bool, error) {
		now, err := readPower(ctx, c, id)
		return err == nil && containment.Same(now, to), err
	})
	if err != nil {
		return r, fmt.Errorf("%s is not %s: %w", id, want, err)
	}
	return r, nil
}

// instance describes an instance that still is one.
func (c *conn) instance(ctx context.Context, id string) (*types.Instance, error) {
	i, _, err := c.reservation(ctx, id)
	return i, err
}

func (c *conn) reservation(ctx context.Context, id string) (i *types.Instance, owner string, err error) {
	out, err := c.ec2.DescribeInstances(ctx, &sdk.DescribeInstancesInput{InstanceIds: []string{id}, IncludeManagedResources: aws.Bool(true)})
	if missing(err) {
		return nil, "", fmt.Errorf("the instance %s is not in the region %q of this account: %w", id, c.t.Region, containment.ErrGone)
	}
	if err != nil {
		return nil, "", failed("ec2:DescribeInstances", err)
	}
	if len(out.Reservations) == 0 || len(out.Reservations[0].Instances) == 0 {
		return nil, "", gone("the instance " + id)
	}
	i = &out.Reservations[0].Instances[0]
	if i.State == nil {
		return nil, "", fmt.Errorf("ec2:DescribeInstances tells no state of %s", id)
	}
	switch i.State.Name {
	case types.InstanceStateNameTerminated, types.InstanceStateNameShuttingDown:
		return nil, "", fmt.Errorf("the instance %s is %s: %w", id, i.State.Name, containment.ErrGone)
	}
	return i, aws.ToString(out.Reservations[0].OwnerId), nil
}
