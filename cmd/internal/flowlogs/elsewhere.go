package flowlogs

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// notRead says of a log that goes neither to CloudWatch Logs nor to S3 what its destination is, and how to get at it.
func notRead(s *scan, l types.FlowLog) string {
	if a, err := arn.Parse(s.To); err == nil && a.Service == "firehose" {
		stream := strings.TrimPrefix(a.Resource, "deliverystream/")
		return fmt.Sprintf("%s was not read: it goes to the Firehose stream %q of account %s in %s, which stores it where and as its own settings say; "+
			"aws firehose describe-delivery-stream --region %s --delivery-stream-name %s --query DeliveryStreamDescription.Destinations tells the bucket, its prefix and the format",
			s.ID, stream, a.AccountID, a.Region, a.Region, stream)
	}
	return fmt.Sprintf("%s was not read: it goes to %s (%s), and only those in CloudWatch Logs and S3 are read", s.ID, l.LogDestinationType, s.To)
}

// transits names what transit gateways that the VPC is attached to may have on record: its traffic with other networks. It is asked for
// where the VPC's own logs do not tell all, and not read.
func (w *work) transits(ctx context.Context, api ec2API) {
	var ids []string
	pages := ec2.NewDescribeTransitGatewayAttachmentsPaginator(api, &ec2.DescribeTransitGatewayAttachmentsInput{
		Filters: []types.Filter{{Name: aws.String("resource-id"), Values: []string{w.i.VPC}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			w.missed("whether a transit gateway records traffic of %s: %v", w.i.VPC, awsconfig.Explain(err))
			return
		}
		for _, a := range page.TransitGatewayAttachments {
			ids = append(ids, aws.ToString(a.TransitGatewayId), aws.ToString(a.TransitGatewayAttachmentId))
			if owner := aws.ToString(a.TransitGatewayOwnerId); owner != w.i.Account {
				w.missed("%s is attached to the transit gateway %s of account %s: if that account has flow logs of it, they have traffic of %s with other networks", w.i.VPC, aws.ToString(a.TransitGatewayId), owner, w.i.VPC)
			}
		}
	}
	if len(ids) == 0 {
		return
	}
	found, err := logsOn(ctx, api, ids)
	if err != nil {
		w.missed("which flow logs transit gateways have: %v", awsconfig.Explain(err))
	}
	for _, l := range found {
		s := logOf(l)
		w.missed("%s was not read: it is of the transit gateway or attachment %s and goes to %s; it has traffic of %s with other networks", s.ID, s.On, s.To, w.i.VPC)
	}
}
