package workstation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// How long a stack may take, and the longest pause between looks.
const (
	patience  = 30 * time.Minute
	mostPause = 5 * time.Second
)

// Create makes the stack of a case, or waits for the one that an earlier run began, and tells what happens to its parts. A stack that could not be made is
// rolled back by CloudFormation; the error says why, and wraps ErrBroken. One that is there with other terms is ErrDiffers, and stays as it is. Cancelling leaves the stack as it is, under way.
func (s *Stacks) Create(ctx context.Context, t Terms, tell func(string)) (*Stack, error) {
	name, err := StackName(t.Case)
	if err != nil {
		return nil, err
	}
	made := false
	st, err := s.find(ctx, name)
	switch {
	case errors.Is(err, ErrNone):
		if made, err = s.begin(ctx, name, t); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case !st.Good() && st.State != string(types.StackStatusCreateInProgress):
		return st, fmt.Errorf("%w: its stack %s is %s: %s", ErrBroken, name, st.State, st.Why)
	default:
		if err := st.agrees(t); err != nil || st.Good() {
			return st, err
		}
	}
	st, err = s.wait(ctx, name, tell, func(state string) bool {
		return state == string(types.StackStatusCreateInProgress) || strings.HasSuffix(state, "ROLLBACK_IN_PROGRESS")
	})
	if err != nil {
		return st, err
	}
	if !st.Good() {
		return st, fmt.Errorf("%w: its stack %s is %s: %s", ErrBroken, name, st.State, s.why(ctx, st))
	}
	if !made { // another run did
		err = st.agrees(t)
	}
	return st, err
}

// begin asks for the stack, and reports whether it is this call that made it.
func (s *Stacks) begin(ctx context.Context, name string, t Terms) (made bool, err error) {
	list, err := s.prefixList(ctx)
	if err != nil {
		return false, err
	}
	values := append(t.parameters(), [2]string{"S3PrefixList", list})
	in := &cloudformation.CreateStackInput{
		StackName: &name, TemplateBody: &Template, Capabilities: []types.Capability{types.CapabilityCapabilityIam}, OnFailure: types.OnFailureRollback, ClientRequestToken: &name,
		Tags: []types.Tag{{Key: aws.String(TagKey), Value: aws.String(TagMade)}, {Key: aws.String(TagCase), Value: &t.Case}},
	}
	if t.Owner != "" { // an empty tag is refused
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(TagOwner), Value: &t.Owner})
	}
	for _, v := range values {
		in.Parameters = append(in.Parameters, types.Parameter{ParameterKey: aws.String(v[0]), ParameterValue: aws.String(v[1])})
	}
	_, err = s.api().CreateStack(ctx, in)
	if awsconfig.Code(err) == "AlreadyExistsException" { // another run, just now, or this call's first attempt
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("make the stack %s: %w", name, awsconfig.Explain(err))
	}
	return true, nil
}

// wait looks at a stack until it is no longer in a state that passes.
func (s *Stacks) wait(ctx context.Context, id string, tell func(string), passing func(string) bool) (st *Stack, err error) {
	for waited := time.Duration(0); ; {
		if st, err = s.find(ctx, id); err != nil {
			return st, err
		}
		s.events(ctx, id, tell)
		if !passing(st.State) {
			return st, nil
		}
		if waited >= patience {
			return st, fmt.Errorf("the stack %s is %s for %s and more: it goes on by itself; run this again to wait on", st.Name, st.State, patience)
		}
		if waited, err = s.pause(ctx, waited); err != nil {
			return st, err
		}
	}
}

// pause waits until the next look, the longer the longer it took so far, and returns the time that passed in all.
func (s *Stacks) pause(ctx context.Context, waited time.Duration) (time.Duration, error) {
	d := min(mostPause, time.Second+waited/4)
	if s.Sleep != nil {
		return waited + d, s.Sleep(ctx, d)
	}
	select {
	case <-ctx.Done():
		return waited, context.Cause(ctx)
	case <-time.After(d):
		return waited + d, nil
	}
}

// events tells what happened to the stack's parts since the last look. That it cannot be read is no failure: the state is what counts.
func (s *Stacks) events(ctx context.Context, id string, tell func(string)) {
	out, err := s.api().DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: &id})
	if err != nil {
		return
	}
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	for _, e := range slices.Backward(out.StackEvents) {
		if k := aws.ToString(e.EventId); !s.seen[k] {
			s.seen[k] = true
			text := fmt.Sprintf("%s %s", aws.ToString(e.LogicalResourceId), e.ResourceStatus)
			if why := aws.ToString(e.ResourceStatusReason); why != "" {
				text += fmt.Sprintf(": %.300q", why)
			}
			tell(text)
		}
	}
}

// why is what failed first.
func (s *Stacks) why(ctx context.Context, st *Stack) string {
	out, err := s.api().DescribeStackEvents(ctx, &cloudformation.DescribeStackEventsInput{StackName: &st.ID})
	if err != nil {
		return st.Why
	}
	for _, e := range slices.Backward(out.StackEvents) {
		if strings.HasSuffix(string(e.ResourceStatus), "_FAILED") {
			return fmt.Sprintf("%s: %.300q", aws.ToString(e.LogicalResourceId), aws.ToString(e.ResourceStatusReason))
		}
	}
	return st.Why
}
