package ready

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

var flowLogs = Check{
	ID: "flow-logs", Title: "flow logs record all traffic of every VPC that is in use",
	Why:      "Where an attacker came from, where data went and which other hosts were touched is in no other place. They cannot be made after the fact.",
	Severity: High, Prowler: "vpc_flow_logs_enabled",
	Fix:     "aws ec2 create-flow-logs --resource-type VPC --resource-ids {resource} --traffic-type ALL --log-destination-type s3 --log-destination arn:aws:s3:::BUCKET --region {region}",
	Actions: []string{"ec2:DescribeVpcs", "ec2:DescribeNetworkInterfaces", "ec2:DescribeFlowLogs"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		vpcs, err := s.vpcs(ctx)
		if err != nil {
			return nil, err
		}
		api := ec2.NewFromConfig(s.Config)
		logs, err := pages(ctx, ec2.NewDescribeFlowLogsPaginator(api, &ec2.DescribeFlowLogsInput{MaxResults: aws.Int32(1000)}), func(o *ec2.DescribeFlowLogsOutput) []types.FlowLog { return o.FlowLogs })
		if err != nil {
			return nil, err
		}
		for _, v := range vpcs {
			if !v.used {
				list = append(list, without(v.id, "nothing is in it"))
				continue
			}
			var own []Finding
			for _, l := range logs {
				if aws.ToString(l.ResourceId) == v.id {
					own = append(own, judgeFlowLog(l))
				}
			}
			if len(own) == 0 && slices.ContainsFunc(logs, func(l types.FlowLog) bool { return slices.Contains(v.parts, aws.ToString(l.ResourceId)) }) {
				list = append(list, v.orShared(v.byParts(logs)))
				continue
			}
			list = append(list, v.orShared(oneOf(v.id, "it has none", own)))
		}
		return list, nil
	},
}

// judgeFlowLog says whether a flow log records all traffic and gets it delivered.
func judgeFlowLog(l types.FlowLog) Finding {
	id := aws.ToString(l.FlowLogId)
	switch {
	case aws.ToString(l.FlowLogStatus) != "ACTIVE":
		return fail(id, "it is %s", strings.ToLower(aws.ToString(l.FlowLogStatus)))
	case aws.ToString(l.DeliverLogsErrorMessage) != "" || aws.ToString(l.DeliverLogsStatus) == "FAILED":
		return fail(id, "its delivery fails: %s", aws.ToString(l.DeliverLogsErrorMessage))
	case l.TrafficType != types.TrafficTypeAll:
		return fail(id, "it records %s traffic alone", strings.ToLower(string(l.TrafficType)))
	}
	lacks := []string{}
	for _, field := range []string{"pkt-srcaddr", "tcp-flags"} {
		if !strings.Contains(aws.ToString(l.LogFormat), field) {
			lacks = append(lacks, field)
		}
	}
	if len(lacks) > 0 {
		return pass(id, "it records all traffic, without %s, which would tell more", strings.Join(lacks, " and "))
	}
	return pass(id, "it records all traffic")
}

// byParts says whether the flow logs of a VPC's subnets and interfaces see all of these.
func (v vpc) byParts(logs []types.FlowLog) Finding {
	sees := func(id string) bool {
		return slices.ContainsFunc(logs, func(l types.FlowLog) bool { return aws.ToString(l.ResourceId) == id && judgeFlowLog(l).State == Pass })
	}
	var dark []string
	for _, e := range v.interfaces {
		if !sees(e.subnet) && !sees(e.id) {
			dark = append(dark, e.id)
		}
	}
	if len(dark) == 0 {
		return pass(v.id, "those of its subnets or interfaces see all %d interfaces; new ones may not be seen", len(v.interfaces))
	}
	return fail(v.id, "%d of its %d interfaces are seen by no flow log that works, among them %s", len(dark), len(v.interfaces), dark[0])
}

// A vpc is one with what is in it.
type vpc struct {
	id         string
	used       bool
	interfaces []netInterface
	parts      []string // the ids of its interfaces and of their subnets
	shared     error    // not nil: it is another account's, whose logs and firewalls only that account sees
}

// orShared is a finding about a VPC, or that it is not known whether its owner has what is missing.
func (v vpc) orShared(f Finding) Finding {
	if v.shared != nil && f.State == Fail {
		return unknown(v.id, v.shared)
	}
	return f
}

type netInterface struct{ id, subnet string }

// vpcs are those of the site. One without a network interface carries no traffic.
func (s *Site) vpcs(ctx context.Context) ([]vpc, error) {
	return read(ctx, s, "vpcs", func(ctx context.Context) ([]vpc, error) {
		api := ec2.NewFromConfig(s.Config)
		all, err := pages(ctx, ec2.NewDescribeVpcsPaginator(api, &ec2.DescribeVpcsInput{MaxResults: aws.Int32(1000)}), func(o *ec2.DescribeVpcsOutput) []types.Vpc { return o.Vpcs })
		if err != nil {
			return nil, fmt.Errorf("list the VPCs: %w", err)
		}
		interfaces, err := pages(ctx, ec2.NewDescribeNetworkInterfacesPaginator(api, &ec2.DescribeNetworkInterfacesInput{MaxResults: aws.Int32(1000)}),
			func(o *ec2.DescribeNetworkInterfacesOutput) []types.NetworkInterface { return o.NetworkInterfaces })
		if err != nil {
			return nil, fmt.Errorf("list the network interfaces: %w", err)
		}
		var list []vpc
		for _, one := range all {
			v := vpc{id: aws.ToString(one.VpcId)}
			if owner := aws.ToString(one.OwnerId); owner != "" && s.Account != "" && owner != s.Account {
				v.shared = fmt.Errorf("it is shared by account %s, which is to be asked", owner)
			}
			for _, e := range interfaces {
				if aws.ToString(e.VpcId) == v.id {
					v.used = true
					v.interfaces = append(v.interfaces, netInterface{aws.ToString(e.NetworkInterfaceId), aws.ToString(e.SubnetId)})
					v.parts = append(v.parts, aws.ToString(e.NetworkInterfaceId), aws.ToString(e.SubnetId))
				}
			}
			list = append(list, v)
		}
		return list, nil
	})
}
