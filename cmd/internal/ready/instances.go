package ready

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

var imdsV2 = Check{
	ID: "imdsv2", Title: "instances answer for their credentials with a token only (IMDSv2)",
	Why:      "Without the token, a web server that can be made to fetch an address gives away the role's credentials. Most stolen credentials of instances were taken so.",
	Severity: Medium, Prowler: "ec2_instance_imdsv2_enabled",
	Fix:     "aws ec2 modify-instance-metadata-options --instance-id {resource} --http-tokens required --region {region}",
	Actions: []string{"ec2:DescribeInstances"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		all, err := s.instances(ctx)
		for _, i := range all {
			switch {
			case !i.IMDS.On:
				list = append(list, pass(i.ID, "its metadata service is off"))
			case i.IMDS.V2Only:
				list = append(list, pass(i.ID, "a token is required"))
			default:
				list = append(list, fail(i.ID, "it answers without a token"))
			}
		}
		return list, err
	},
}

// typesAtOnce is how many types EC2 may be asked about at once.
const typesAtOnce = 100

var nitro = Check{
	ID: "nitro", Title: "instances are of Nitro types, whose idle connections can be cut short",
	Why:      "To isolate an instance for good, tracked connections must be forgotten, and only Nitro types can be told to forget within a minute. On Xen an attacker's open connection survives isolation.",
	Severity: Medium,
	Fix:      "aws ec2 modify-instance-attribute --instance-id {resource} --instance-type Value=m7i.large --region {region}, while it is stopped; on Xen, contain --cut nacl-subnet does it",
	Actions:  []string{"ec2:DescribeInstances", "ec2:DescribeInstanceTypes"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		all, err := s.instances(ctx)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		var names []types.InstanceType
		for _, i := range all {
			if n := types.InstanceType(i.Type); !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		kinds := map[string]types.InstanceTypeInfo{}
		for chunk := range slices.Chunk(names, typesAtOnce) {
			pager := ec2.NewDescribeInstanceTypesPaginator(ec2.NewFromConfig(s.Config), &ec2.DescribeInstanceTypesInput{InstanceTypes: chunk})
			infos, err := pages(ctx, pager, func(o *ec2.DescribeInstanceTypesOutput) []types.InstanceTypeInfo { return o.InstanceTypes })
			if err != nil {
				return nil, err
			}
			for _, t := range infos {
				kinds[string(t.InstanceType)] = t
			}
		}
		for _, i := range all {
			t, known := kinds[i.Type]
			switch {
			case !known:
				list = append(list, unknown(i.ID, errors.New("EC2 does not say what runs "+i.Type)))
			case t.Hypervisor == types.InstanceTypeHypervisorNitro || aws.ToBool(t.BareMetal):
				list = append(list, pass(i.ID, "%s", i.Type))
			default:
				list = append(list, fail(i.ID, "%s runs on %s", i.Type, t.Hypervisor))
			}
		}
		return list, nil
	},
}

var ssmManaged = Check{
	ID: "ssm-managed", Title: "Systems Manager reaches the running instances",
	Why:      "It is a way in without a key, a rule or a public address, and says what is installed. It is not for memory: its sessions carry less than 1 MB/s.",
	Severity: Medium, Prowler: "ec2_instance_managed_by_ssm",
	Fix:     "aws ssm update-service-setting --setting-id /ssm/managed-instance/default-ec2-instance-management-role --setting-value service-role/AWSSystemsManagerDefaultEC2InstanceManagementRole --region {region}; the agent must run on {resource}",
	Actions: []string{"ec2:DescribeInstances", "ssm:DescribeInstanceInformation"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		all, err := s.running(ctx)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		pager := ssm.NewDescribeInstanceInformationPaginator(ssm.NewFromConfig(s.Config), &ssm.DescribeInstanceInformationInput{MaxResults: aws.Int32(50)})
		known, err := pages(ctx, pager, func(o *ssm.DescribeInstanceInformationOutput) []ssmtypes.InstanceInformation {
			return o.InstanceInformationList
		})
		if err != nil {
			return nil, err
		}
		by := map[string]ssmtypes.InstanceInformation{}
		for _, k := range known {
			by[aws.ToString(k.InstanceId)] = k
		}
		for _, i := range all {
			k, ok := by[i.ID]
			switch {
			case !ok:
				list = append(list, fail(i.ID, "it is not managed"))
			case k.PingStatus != ssmtypes.PingStatusOnline && k.LastPingDateTime != nil:
				list = append(list, fail(i.ID, "its agent is %s, and was heard %s ago", k.PingStatus, s.Now.Sub(*k.LastPingDateTime).Round(time.Minute)))
			case k.PingStatus != ssmtypes.PingStatusOnline:
				list = append(list, fail(i.ID, "its agent is %s", k.PingStatus))
			default:
				list = append(list, pass(i.ID, "its agent is online"))
			}
		}
		return list, nil
	},
}
