package ready

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
)

// trails are those that record the site's region: its own, and those of other regions that record all.
func (s *Site) trails(ctx context.Context) ([]types.Trail, error) {
	return read(ctx, s, "trails", func(ctx context.Context) ([]types.Trail, error) {
		out, err := cloudtrail.NewFromConfig(s.Config).DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(true)})
		if err != nil {
			return nil, err
		}
		return out.TrailList, nil
	})
}

// homeTrails are those of the site's own region: each trail is at home in one.
func (s *Site) homeTrails(ctx context.Context) ([]types.Trail, error) {
	all, err := s.trails(ctx)
	return slices.DeleteFunc(slices.Clone(all), func(t types.Trail) bool { return aws.ToString(t.HomeRegion) != s.Region }), err
}

func (s *Site) trailStatus(ctx context.Context, t types.Trail, region string) (*cloudtrail.GetTrailStatusOutput, error) {
	return read(ctx, s, "trail status "+region+aws.ToString(t.TrailARN), func(ctx context.Context) (*cloudtrail.GetTrailStatusOutput, error) {
		return cloudtrail.NewFromConfig(s.at(region)).GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: t.TrailARN})
	})
}

// selectors are what a trail records, asked where it is at home.
func (s *Site) selectors(ctx context.Context, t types.Trail) (*cloudtrail.GetEventSelectorsOutput, error) {
	return read(ctx, s, "trail selectors "+aws.ToString(t.TrailARN), func(ctx context.Context) (*cloudtrail.GetEventSelectorsOutput, error) {
		return cloudtrail.NewFromConfig(s.at(aws.ToString(t.HomeRegion))).GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: t.TrailARN})
	})
}

// recorded looks for a trail of all regions that is on and records something.
func (s *Site) recorded(ctx context.Context, what string, fits func(*cloudtrail.GetEventSelectorsOutput) bool) ([]Finding, error) {
	trails, err := s.trails(ctx)
	if err != nil {
		return nil, err
	}
	list := each(ctx, trails, func(ctx context.Context, t types.Trail) Finding {
		arn := aws.ToString(t.TrailARN)
		switch {
		case !aws.ToBool(t.IsMultiRegionTrail):
			return fail(arn, "it records one region")
		case !aws.ToBool(t.IncludeGlobalServiceEvents):
			return fail(arn, "it leaves out the events of global services, such as IAM")
		}
		status, err := s.trailStatus(ctx, t, aws.ToString(t.HomeRegion))
		if err != nil {
			return unknown(arn, err)
		}
		if !aws.ToBool(status.IsLogging) {
			return fail(arn, "it is stopped")
		}
		selectors, err := s.selectors(ctx, t)
		if err != nil {
			return unknown(arn, err)
		}
		if !fits(selectors) {
			return fail(arn, "it does not record %s", what)
		}
		return pass(arn, "it records %s", what)
	})
	return []Finding{oneOf(s.Account, "there is no trail", list)}, nil
}

// managementEvents reports whether a trail records all management events. Those of KMS and of the RDS Data API may be left out, as the console
// offers: no attacker's path shows in them alone.
func managementEvents(o *cloudtrail.GetEventSelectorsOutput) bool {
	for _, e := range o.EventSelectors {
		if aws.ToBool(e.IncludeManagementEvents) && (e.ReadWriteType == types.ReadWriteTypeAll || e.ReadWriteType == "") {
			return true
		}
	}
	return slices.ContainsFunc(o.AdvancedEventSelectors, func(a types.AdvancedEventSelector) bool {
		return fieldIs(a, "eventCategory", "Management") && only(a, "eventCategory", "eventSource") && !fieldNarrows(a, "eventSource")
	})
}

// dataEvents reports whether a trail records reading and writing of all resources of a type, such as AWS::S3::Object.
func dataEvents(o *cloudtrail.GetEventSelectorsOutput, kind, all string) bool {
	for _, e := range o.EventSelectors {
		if e.ReadWriteType != types.ReadWriteTypeAll && e.ReadWriteType != "" {
			continue
		}
		for _, d := range e.DataResources {
			if aws.ToString(d.Type) == kind && slices.ContainsFunc(d.Values, func(v string) bool { return strings.TrimSuffix(v, ":::") == all }) {
				return true
			}
		}
	}
	return slices.ContainsFunc(o.AdvancedEventSelectors, func(a types.AdvancedEventSelector) bool {
		return fieldIs(a, "eventCategory", "Data") && fieldIs(a, "resources.type", kind) && only(a, "eventCategory", "resources.type")
	})
}

// fieldIs reports whether a selector wants exactly a value in a field.
func fieldIs(a types.AdvancedEventSelector, name, value string) bool {
	return slices.ContainsFunc(a.FieldSelectors, func(f types.AdvancedFieldSelector) bool {
		return aws.ToString(f.Field) == name && slices.Contains(f.Equals, value)
	})
}

// only reports whether a selector looks at no other fields, each of which would let less through.
func only(a types.AdvancedEventSelector, names ...string) bool {
	return !slices.ContainsFunc(a.FieldSelectors, func(f types.AdvancedFieldSelector) bool { return !slices.Contains(names, aws.ToString(f.Field)) })
}

// noisy are the sources whose management events may be left out.
var noisy = []string{"kms.amazonaws.com", "rdsdata.amazonaws.com"}

// fieldNarrows reports whether a selector leaves out more than the noisy sources.
func fieldNarrows(a types.AdvancedEventSelector, name string) bool {
	return slices.ContainsFunc(a.FieldSelectors, func(f types.AdvancedFieldSelector) bool {
		if aws.ToString(f.Field) != name {
			return false
		}
		return len(f.Equals)+len(f.StartsWith)+len(f.EndsWith)+len(f.NotStartsWith)+len(f.NotEndsWith) > 0 ||
			slices.ContainsFunc(f.NotEquals, func(v string) bool { return !slices.Contains(noisy, v) })
	})
}
