package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// The kinds of items.
const (
	concurrency = "lambda/concurrency"  // ID: function; state: what is reserved, null for nothing
	provisioned = "lambda/provisioned"  // ID: function:qualifier; state: what is asked for
	eventSource = "lambda/event-source" // ID: its UUID; state: whether it polls
	urlAuth     = "lambda/url-auth"     // ID: function, or function:alias; state: "NONE" or "AWS_IAM"
	scaling     = "lambda/scaling"      // ID: function:version; state: a limits
	execution   = "lambda/execution"    // ID: its ARN; state: "running" or "ended"
)

// limits are those of a function on managed instances.
type limits struct {
	Min *int32 `json:"min"`
	Max *int32 `json:"max"`
}

// missing reports whether Lambda says that something is not there.
func missing(err error) bool {
	c := awsconfig.Code(err)
	return c == "ResourceNotFoundException" || c == "ProvisionedConcurrencyConfigNotFoundException"
}

// split returns the function and the qualifier of an ID; nil for none.
func split(id string) (function string, qualifier *string) {
	function, q, ok := strings.Cut(id, ":")
	if ok {
		qualifier = &q
	}
	return function, qualifier
}

// Read returns the state of an item.
func (s *Service) Read(ctx context.Context, t containment.Target, i containment.Item) (containment.State, error) {
	api, err := s.api(ctx, t)
	if err != nil {
		return nil, err
	}
	v, err := read(ctx, api, i)
	if missing(err) {
		return nil, fmt.Errorf("%s %w", i, containment.ErrGone)
	}
	if err != nil {
		return nil, awsconfig.Explain(err)
	}
	return containment.NewState(v)
}

func read(ctx context.Context, api API, i containment.Item) (any, error) {
	function, qualifier := split(i.ID)
	switch i.Kind {
	case concurrency:
		out, err := api.GetFunctionConcurrency(ctx, &awslambda.GetFunctionConcurrencyInput{FunctionName: &function})
		if err != nil {
			return nil, err
		}
		return out.ReservedConcurrentExecutions, nil
	case provisioned:
		out, err := api.GetProvisionedConcurrencyConfig(ctx, &awslambda.GetProvisionedConcurrencyConfigInput{FunctionName: &function, Qualifier: qualifier})
		if awsconfig.Code(err) == "ProvisionedConcurrencyConfigNotFoundException" {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return out.RequestedProvisionedConcurrentExecutions, nil
	case eventSource:
		out, err := api.GetEventSourceMapping(ctx, &awslambda.GetEventSourceMappingInput{UUID: &i.ID})
		if err != nil {
			return nil, err
		}
		return polls(out.State)
	case urlAuth:
		out, err := api.GetFunctionUrlConfig(ctx, &awslambda.GetFunctionUrlConfigInput{FunctionName: &function, Qualifier: qualifier})
		if err != nil {
			return nil, err
		}
		return out.AuthType, nil
	case scaling:
		out, err := api.GetFunctionScalingConfig(ctx, &awslambda.GetFunctionScalingConfigInput{FunctionName: &function, Qualifier: qualifier})
		if err != nil || out.RequestedFunctionScalingConfig == nil {
			return nil, err
		}
		return limits{out.RequestedFunctionScalingConfig.MinExecutionEnvironments, out.RequestedFunctionScalingConfig.MaxExecutionEnvironments}, nil
	case execution:
		out, err := api.GetDurableExecution(ctx, &awslambda.GetDurableExecutionInput{DurableExecutionArn: &i.ID, IncludeExecutionData: aws.Bool(false)})
		if err != nil {
			return nil, err
		}
		if out.Status == types.ExecutionStatusRunning {
			return running, nil
		}
		return ended, nil
	}
	return nil, fmt.Errorf("no items of the kind %q are Lambda's", i.Kind)
}

// The states of durable executions.
const running, ended = "running", "ended"

// polls reports whether an event source mapping is on, or about to be.
func polls(state *string) (any, error) {
	switch s := aws.ToString(state); s {
	case "Enabled", "Enabling", "Creating", "Updating":
		return true, nil
	case "Disabled", "Disabling":
		return false, nil
	default:
		return nil, fmt.Errorf("the event source mapping is in the state %q", s)
	}
}

// Set brings an item to a state.
func (s *Service) Set(ctx context.Context, t containment.Target, i containment.Item, from, to containment.State) (containment.Reply, error) {
	api, err := s.api(ctx, t)
	if err != nil {
		return containment.Reply{}, err
	}
	r, err := set(ctx, api, i, to)
	if err != nil {
		return r, explain(err)
	}
	return r, nil
}

// explain says what Lambda's rules have against a change.
func explain(err error) error {
	switch awsconfig.Code(err) {
	case "InvalidParameterValueException":
		return fmt.Errorf("not taken by Lambda; of an account's concurrency 100 must stay unreserved, and what is reserved must cover what is provisioned: %w", err)
	case "ResourceConflictException", "ResourceInUseException":
		return fmt.Errorf("the function is being updated; again in a minute: %w", err)
	}
	return awsconfig.Explain(err)
}

func set(ctx context.Context, api API, i containment.Item, to containment.State) (containment.Reply, error) {
	function, qualifier := split(i.ID)
	switch i.Kind {
	case concurrency:
		var n *int32
		if err := json.Unmarshal(to, &n); err != nil {
			return containment.Reply{}, err
		}
		if n == nil {
			out, err := api.DeleteFunctionConcurrency(ctx, &awslambda.DeleteFunctionConcurrencyInput{FunctionName: &function})
			if err != nil {
				return containment.Reply{}, err
			}
			return awsconfig.Reply(out.ResultMetadata), nil
		}
		out, err := api.PutFunctionConcurrency(ctx, &awslambda.PutFunctionConcurrencyInput{FunctionName: &function, ReservedConcurrentExecutions: n})
		if err != nil {
			return containment.Reply{}, err
		}
		return awsconfig.Reply(out.ResultMetadata), nil
	case provisioned:
		return setProvisioned(ctx, api, function, qualifier, to)
	case eventSource:
		var on bool
		if err := json.Unmarshal(to, &on); err != nil {
			return containment.Reply{}, err
		}
		out, err := api.UpdateEventSourceMapping(ctx, &awslambda.UpdateEventSourceMappingInput{UUID: &i.ID, Enabled: &on})
		if err != nil {
			return containment.Reply{}, err
		}
		return awsconfig.Reply(out.ResultMetadata), nil
	case urlAuth:
		var auth types.FunctionUrlAuthType
		if err := json.Unmarshal(to, &auth); err != nil {
			return containment.Reply{}, err
		}
		out, err := api.UpdateFunctionUrlConfig(ctx, &awslambda.UpdateFunctionUrlConfigInput{FunctionName: &function, Qualifier: qualifier, AuthType: auth})
		if err != nil {
			return containment.Reply{}, err
		}
		return awsconfig.Reply(out.ResultMetadata), nil
	case scaling:
		return setScaling(ctx, api, function, qualifier, to)
	case execution:
		if !containment.Same(to, containment.State(`"`+ended+`"`)) {
			return containment.Reply{}, errors.New("a durable execution that was stopped cannot be resumed")
		}
		out, err := api.StopDurableExecution(ctx, &awslambda.StopDurableExecutionInput{DurableExecutionArn: &i.ID})
		if err != nil {
			return containment.Reply{}, err
		}
		return awsconfig.Reply(out.ResultMetadata), nil
	}
	return containment.Reply{}, fmt.Errorf("no items of the kind %q are Lambda's", i.Kind)
}

func setProvisioned(ctx context.Context, api API, function string, qualifier *string, to containment.State) (containment.Reply, error) {
	var n *int32
	if err := json.Unmarshal(to, &n); err != nil {
		return containment.Reply{}, err
	}
	if n == nil {
		out, err := api.DeleteProvisionedConcurrencyConfig(ctx, &awslambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: &function, Qualifier: qualifier})
		if awsconfig.Code(err) == "ProvisionedConcurrencyConfigNotFoundException" {
			return containment.Reply{}, nil
		}
		if err != nil {
			return containment.Reply{}, err
		}
		return awsconfig.Reply(out.ResultMetadata), nil
	}
	out, err := api.PutProvisionedConcurrencyConfig(ctx, &awslambda.PutProvisionedConcurrencyConfigInput{FunctionName: &function, Qualifier: qualifier, ProvisionedConcurrentExecutions: n})
	if err != nil {
		return containment.Reply{}, err
	}
	r := awsconfig.Reply(out.ResultMetadata)
	r.Note = "the environments are made anew, which takes Lambda minutes"
	return r, nil
}

func setScaling(ctx context.Context, api API, function string, qualifier *string, to containment.State) (containment.Reply, error) {
	var l *limits
	if err := json.Unmarshal(to, &l); err != nil {
		return containment.Reply{}, err
	}
	in := &awslambda.PutFunctionScalingConfigInput{FunctionName: &function, Qualifier: qualifier}
	if l != nil {
		in.FunctionScalingConfig = &types.FunctionScalingConfig{MinExecutionEnvironments: l.Min, MaxExecutionEnvironments: l.Max}
	}
	out, err := api.PutFunctionScalingConfig(ctx, in)
	if err != nil {
		return containment.Reply{}, err
	}
	return awsconfig.Reply(out.ResultMetadata), nil
}
