// Package awsconfig has what the services of containment need of AWS's SDK: a configuration for the account and
// region of each target, who it is that calls, and what AWS's errors mean.
//
//	base, err := awsconfig.Load(ctx, profile, region)
//	accounts := &awsconfig.Accounts{Base: base, Role: "incident-response", ExternalID: id, Case: "case-42"}
//	caller, err := accounts.Caller(ctx)
//	engine := &containment.Engine{Caller: caller, Services: []containment.Service{&iam.Service{Config: accounts.Config}}}
package awsconfig

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
)

// Load loads the caller's own configuration, as the SDK finds it; an empty profile and region are the environment's. Its calls
// say in their user agent who makes them, are tried again with patience, and do not wait for a server that is silent for a minute.
// The SDK logs nothing: what it would say stands in errors, and its lines would go past the console.
func Load(ctx context.Context, profile, region string) (aws.Config, error) {
	load := []func(*config.LoadOptions) error{
		config.WithAppID("shotglass"), config.WithRetryer(Patient), config.WithHTTPClient(client()), config.WithLogger(logging.Nop{}),
		config.WithAPIOptions([]func(*middleware.Stack) error{bounded(silence / 2), entitled}),
	}
	if profile != "" {
		load = append(load, config.WithSharedConfigProfile(profile))
	}
	if region != "" {
		load = append(load, config.WithRegion(region))
	}
	return config.LoadDefaultConfig(ctx, load...)
}

// How patient a call is: a minute in all, since a containment is throttled along with the attacker, and
// IAM asks to wait while something is being changed.
const (
	attempts   = 8
	maxBackoff = 20 * time.Second
)

// Patient returns the SDK's own retryer, that also tries again what AWS only refuses for now.
func Patient() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = attempts, maxBackoff
		o.Retryables = append([]retry.IsErrorRetryable{retry.RetryableErrorCode{Codes: passing}}, o.Retryables...)
	})
}

// passing are the codes of errors that pass by themselves.
var passing = map[string]struct{}{
	"ConcurrentModification":        {}, // of IAM
	"EntityTemporarilyUnmodifiable": {},
	"ServiceFailure":                {},
	"ResourceConflictException":     {}, // of Lambda, while a function is updated
	"ResourceInUseException":        {}, // of event source mappings
	"ResourceContention":            {}, // of Auto Scaling
	"ScalingActivityInProgress":     {},
	"IncorrectInstanceState":        {}, // of EC2, while an instance changes it
}
