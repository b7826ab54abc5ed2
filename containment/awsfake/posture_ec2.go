package awsfake

import (
	"cmp"
	"strings"
)

// postureOps are EC2's calls about what a region records and lets be shared.
var postureOps = map[string]operation{
	"DescribeVpcs":     {do: describeVPCs},
	"DescribeFlowLogs": {do: describeFlowLogs},
	"GetEbsEncryptionByDefault": {do: func(r *Request) (any, error) {
		return []X{el("ebsEncryptionByDefault", r.Region.Posture.EncryptByDefault)}, nil
	}},
	"GetSnapshotBlockPublicAccessState": {do: func(r *Request) (any, error) {
		return []X{el("state", cmp.Or(r.Region.Posture.SnapshotSharing, "unblocked"))}, nil
	}},
	"GetImageBlockPublicAccessState": {do: func(r *Request) (any, error) {
		return []X{el("imageBlockPublicAccessState", cmp.Or(r.Region.Posture.ImageSharing, "unblocked"))}, nil
	}},
}

func describeVPCs(r *Request) (any, error) {
	found, err := pick(r, r.Region.VPCs, "VpcId", "InvalidVpcID.NotFound", func(v *VPC) attributes { return attributes{"vpc-id": {v.ID}} })
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, v := range found {
		items = append(items, []X{el("vpcId", v.ID), el("isDefault", v.Default), el("state", "available"), el("ownerId", cmp.Or(v.Owner, r.Account.ID))})
	}
	return r.pages("vpcSet", items)
}

func describeFlowLogs(r *Request) (any, error) {
	var items [][]X
	for _, l := range r.Region.Posture.FlowLogs {
		ok, err := r.matches(attributes{"resource-id": {l.On}, "flow-log-id": {l.ID}})
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		x := []X{el("flowLogId", l.ID), el("resourceId", l.On), el("trafficType", l.Traffic), el("flowLogStatus", cmp.Or(l.Status, "ACTIVE")),
			el("logFormat", cmp.Or(l.Format, "${srcaddr} ${dstaddr} ${pkt-srcaddr} ${tcp-flags}")), el("deliverLogsStatus", "SUCCESS")}
		if l.Made.IsZero() {
			l.Made = Start.AddDate(-1, 0, 0)
		}
		x = append(x, el("creationTime", stamp(l.Made)))
		if l.Error != "" {
			x[len(x)-2] = el("deliverLogsStatus", "FAILED")
			x = append(x, el("deliverLogsErrorMessage", l.Error))
		}
		if l.Group != "" {
			x = append(x, el("logDestinationType", "cloud-watch-logs"), el("logGroupName", l.Group))
		}
		if l.Bucket != "" {
			kind := "plain-text"
			if l.Parquet {
				kind = "parquet"
			}
			where := "s3"
			if strings.Contains(l.Bucket, ":firehose:") {
				where = "kinesis-data-firehose"
			}
			x = append(x, el("logDestinationType", where), el("logDestination", l.Bucket),
				el("destinationOptions", []X{el("fileFormat", kind), el("hiveCompatiblePartitions", l.Hive), el("perHourPartition", l.Hourly)}))
		}
		items = append(items, x)
	}
	return r.pages("flowLogSet", items)
}
