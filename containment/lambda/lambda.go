// Package lambda contains Lambda functions: no invocation begins any more, what polls for it is paused, its URLs
// ask for IAM, and its role is denied everything for this function alone.
//
// The concurrency reserved for it becomes 0, which holds for all versions and aliases; what runs already runs
// to its timeout, of 15 minutes at most. Nothing is deleted, since deleted URLs and
// provisioned concurrency do not come back as they were; of the latter the number is kept and asked for again.
package lambda

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"

	"github.com/shotglass-ir/shotglass/containment"
)

// API are the calls of Lambda that this package makes. The SDK's client has them.
type API interface {
	GetFunctionConfiguration(context.Context, *awslambda.GetFunctionConfigurationInput, ...func(*awslambda.Options)) (*awslambda.GetFunctionConfigurationOutput, error)
	GetPolicy(context.Context, *awslambda.GetPolicyInput, ...func(*awslambda.Options)) (*awslambda.GetPolicyOutput, error)
	ListVersionsByFunction(context.Context, *awslambda.ListVersionsByFunctionInput, ...func(*awslambda.Options)) (*awslambda.ListVersionsByFunctionOutput, error)
	ListAliases(context.Context, *awslambda.ListAliasesInput, ...func(*awslambda.Options)) (*awslambda.ListAliasesOutput, error)

	GetFunctionConcurrency(context.Context, *awslambda.GetFunctionConcurrencyInput, ...func(*awslambda.Options)) (*awslambda.GetFunctionConcurrencyOutput, error)
	PutFunctionConcurrency(context.Context, *awslambda.PutFunctionConcurrencyInput, ...func(*awslambda.Options)) (*awslambda.PutFunctionConcurrencyOutput, error)
	DeleteFunctionConcurrency(context.Context, *awslambda.DeleteFunctionConcurrencyInput, ...func(*awslambda.Options)) (*awslambda.DeleteFunctionConcurrencyOutput, error)

	ListProvisionedConcurrencyConfigs(context.Context, *awslambda.ListProvisionedConcurrencyConfigsInput, ...func(*awslambda.Options)) (*awslambda.ListProvisionedConcurrencyConfigsOutput, error)
	GetProvisionedConcurrencyConfig(context.Context, *awslambda.GetProvisionedConcurrencyConfigInput, ...func(*awslambda.Options)) (*awslambda.GetProvisionedConcurrencyConfigOutput, error)
	PutProvisionedConcurrencyConfig(context.Context, *awslambda.PutProvisionedConcurrencyConfigInput, ...func(*awslambda.Options)) (*awslambda.PutProvisionedConcurrencyConfigOutput, error)
	DeleteProvisionedConcurrencyConfig(context.Context, *awslambda.DeleteProvisionedConcurrencyConfigInput, ...func(*awslambda.Options)) (*awslambda.DeleteProvisionedConcurrencyConfigOutput, error)

	ListEventSourceMappings(context.Context, *awslambda.ListEventSourceMappingsInput, ...func(*awslambda.Options)) (*awslambda.ListEventSourceMappingsOutput, error)
	GetEventSourceMapping(context.Context, *awslambda.GetEventSourceMappingInput, ...func(*awslambda.Options)) (*awslambda.GetEventSourceMappingOutput, error)
	UpdateEventSourceMapping(context.Context, *awslambda.UpdateEventSourceMappingInput, ...func(*awslambda.Options)) (*awslambda.UpdateEventSourceMappingOutput, error)

	ListFunctionUrlConfigs(context.Context, *awslambda.ListFunctionUrlConfigsInput, ...func(*awslambda.Options)) (*awslambda.ListFunctionUrlConfigsOutput, error)
	GetFunctionUrlConfig(context.Context, *awslambda.GetFunctionUrlConfigInput, ...func(*awslambda.Options)) (*awslambda.GetFunctionUrlConfigOutput, error)
	UpdateFunctionUrlConfig(context.Context, *awslambda.UpdateFunctionUrlConfigInput, ...func(*awslambda.Options)) (*awslambda.UpdateFunctionUrlConfigOutput, error)

	GetFunctionScalingConfig(context.Context, *awslambda.GetFunctionScalingConfigInput, ...func(*awslambda.Options)) (*awslambda.GetFunctionScalingConfigOutput, error)
	PutFunctionScalingConfig(context.Context, *awslambda.PutFunctionScalingConfigInput, ...func(*awslambda.Options)) (*awslambda.PutFunctionScalingConfigOutput, error)

	ListDurableExecutionsByFunction(context.Context, *awslambda.ListDurableExecutionsByFunctionInput, ...func(*awslambda.Options)) (*awslambda.ListDurableExecutionsByFunctionOutput, error)
	GetDurableExecution(context.Context, *awslambda.GetDurableExecutionInput, ...func(*awslambda.Options)) (*awslambda.GetDurableExecutionOutput, error)
	StopDurableExecution(context.Context, *awslambda.StopDurableExecutionInput, ...func(*awslambda.Options)) (*awslambda.StopDurableExecutionOutput, error)
}

var _ API = (*awslambda.Client)(nil)

// A Service contains functions. It is safe for concurrent use.
type Service struct {
	// Config returns the configuration for the account and region of a target.
	Config func(context.Context, containment.Target) (aws.Config, error)
	// Roles reads the policies of roles: containment/iam's service, which also sets them.
	Roles interface {
		Read(context.Context, containment.Target, containment.Item) (containment.State, error)
	}
}

var _ containment.Service = (*Service)(nil)

// Name begins the kinds of this service's items.
func (s *Service) Name() string { return "lambda" }

// Targets are functions.
func (s *Service) Targets() []containment.Kind { return []containment.Kind{containment.Function} }

func (s *Service) api(ctx context.Context, t containment.Target) (API, error) {
	cfg, err := s.Config(ctx, t)
	if err != nil {
		return nil, err
	}
	return awslambda.NewFromConfig(cfg), nil
}
