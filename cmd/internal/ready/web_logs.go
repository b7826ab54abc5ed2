package ready

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/wafv2"
	"github.com/aws/aws-sdk-go-v2/service/wafv2/types"
)

// cloudFrontRegion is where what protects CloudFront is asked for, alone.
const cloudFrontRegion = "us-east-1"

// webPage is how many ACLs WAF lists at once.
const webPage = 100

var webLogs = Check{
	ID: "waf-logs", Title: "WAF logs the requests that its web ACLs see",
	Why:      "The requests by which a web server was tried, and those that got through, with their addresses and headers, as the host that was broken into cannot change them. WAF's own samples last three hours.",
	Severity: Medium, Prowler: "wafv2_webacl_logging_enabled",
	Fix:     "aws wafv2 put-logging-configuration --logging-configuration ResourceArn={resource},LogDestinationConfigs=arn:aws:s3:::aws-waf-logs-NAME --region {region}",
	Actions: []string{"wafv2:ListWebACLs", "wafv2:ListLoggingConfigurations"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		scopes := []types.Scope{types.ScopeRegional}
		if s.Region == cloudFrontRegion {
			scopes = append(scopes, types.ScopeCloudfront)
		}
		var errs []error
		for _, scope := range scopes {
			found, err := s.webACLs(ctx, scope)
			list, errs = append(list, found...), append(errs, err)
		}
		return list, errors.Join(errs...)
	},
}

// webACLs looks at those of a scope. All that are logged are listed at once: whoever may, sees all.
func (s *Site) webACLs(ctx context.Context, scope types.Scope) (list []Finding, err error) {
	api := wafv2.NewFromConfig(s.Config)
	acls, err := marked(func(marker *string) ([]types.WebACLSummary, *string, error) {
		out, err := api.ListWebACLs(ctx, &wafv2.ListWebACLsInput{Scope: scope, Limit: aws.Int32(webPage), NextMarker: marker})
		if err != nil {
			return nil, nil, err
		}
		return out.WebACLs, out.NextMarker, nil
	})
	if err != nil || len(acls) == 0 {
		return nil, err
	}
	configs, err := marked(func(marker *string) ([]types.LoggingConfiguration, *string, error) {
		out, err := api.ListLoggingConfigurations(ctx, &wafv2.ListLoggingConfigurationsInput{Scope: scope, Limit: aws.Int32(webPage), NextMarker: marker})
		if err != nil {
			return nil, nil, err
		}
		return out.LoggingConfigurations, out.NextMarker, nil
	})
	if err != nil {
		return nil, err
	}
	logged := map[string]bool{}
	for _, c := range configs {
		logged[aws.ToString(c.ResourceArn)] = len(c.LogDestinationConfigs) > 0
	}
	for _, a := range acls {
		if arn := aws.ToString(a.ARN); logged[arn] {
			list = append(list, pass(arn, "on"))
		} else {
			list = append(list, fail(arn, "off"))
		}
	}
	return list, nil
}

// marked lists what is on all pages of WAF, whose SDK has no pagers. A marker may come with the last page, too: an empty page or the same marker is the end.
func marked[T any](page func(marker *string) ([]T, *string, error)) (all []T, err error) {
	var marker *string
	for {
		list, next, err := page(marker)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if aws.ToString(next) == "" || len(list) == 0 || aws.ToString(next) == aws.ToString(marker) {
			return all, nil
		}
		marker = next
	}
}
