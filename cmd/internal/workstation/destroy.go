package workstation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A Left is something of a stack that is still there.
type Left struct {
	Name string `json:"name"` // in the template
	Type string `json:"type"`
	ID   string `json:"id"`
	Why  string `json:"why,omitempty"`
}

// Destroy ends the instance, deletes the stack of a case, waits, and returns what of it is left. Nothing left and no error: all of it is gone. A stack that
// was gone before is ErrNone. It can be repeated. Cancelling leaves what is under way to itself: an instance that was ended is not made again.
func (s *Stacks) Destroy(ctx context.Context, caseID string, tell func(string)) ([]Left, error) {
	name, err := StackName(caseID)
	if err != nil {
		return nil, err
	}
	st, err := s.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if st.Case != caseID {
		return nil, fmt.Errorf("the stack %s is of case %q, not of %q: it is not touched", name, st.Case, caseID)
	}
	if st.State != string(types.StackStatusCreateInProgress) && st.State != string(types.StackStatusRollbackInProgress) {
		if err := s.terminate(ctx, st, tell); err != nil {
			return nil, err
		}
	}
	if st.State != string(types.StackStatusDeleteInProgress) {
		if _, err := s.api().DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &name}); err != nil {
			return nil, fmt.Errorf("delete the stack %s: %w", name, awsconfig.Explain(err))
		}
	}
	// By its id a deleted stack can still be described; by its name it is gone.
	end, err := s.wait(ctx, st.ID, tell, func(state string) bool {
		return state == string(types.StackStatusDeleteInProgress) || state == st.State && state != string(types.StackStatusDeleteFailed)
	})
	if err != nil && !errors.Is(err, ErrNone) {
		return nil, err
	}
	left, err := s.left(ctx, st.ID)
	if err != nil {
		return nil, err
	}
	if end != nil && end.State != string(types.StackStatusDeleteComplete) && len(left) == 0 {
		return nil, fmt.Errorf("the stack %s is %s: %s", name, end.State, end.Why)
	}
	return left, nil
}

// terminate ends the instance and waits for it. CloudFormation takes the volumes of snapshots from it first, and a filesystem that is mounted does not let go
// of its volume: the deletion would fail.
func (s *Stacks) terminate(ctx context.Context, st *Stack, tell func(string)) error {
	parts, err := s.left(ctx, st.ID)
	if err != nil {
		return err
	}
	api := ec2.NewFromConfig(s.Config)
	for _, p := range parts {
		if p.Type != "AWS::EC2::Instance" {
			continue
		}
		tell(p.Name + " is terminated: " + p.ID)
		if _, err := api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{p.ID}}); gone(err) {
			continue
		} else if err != nil {
			return fmt.Errorf("terminate %s: %w", p.ID, awsconfig.Explain(err))
		}
		for waited := time.Duration(0); ; {
			state, err := instanceState(ctx, api, p.ID)
			if err != nil {
				return fmt.Errorf("look whether %s is terminated: %w", p.ID, awsconfig.Explain(err))
			}
			if state == ec2types.InstanceStateNameTerminated {
				break
			}
			if waited >= patience {
				return fmt.Errorf("%s is %s for %s and more: run this again to wait on", p.ID, state, patience)
			}
			if waited, err = s.pause(ctx, waited); err != nil {
				return err
			}
		}
	}
	return nil
}

func gone(err error) bool { return awsconfig.Code(err) == "InvalidInstanceID.NotFound" }

// instanceState is terminated also of an instance that EC2 has forgotten.
func instanceState(ctx context.Context, api *ec2.Client, id string) (ec2types.InstanceStateName, error) {
	out, err := api.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if gone(err) {
		return ec2types.InstanceStateNameTerminated, nil
	}
	if err != nil {
		return "", err
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			if i.State != nil {
				return i.State.Name, nil
			}
		}
	}
	return ec2types.InstanceStateNameTerminated, nil
}

// left are the resources of a stack that were not deleted.
func (s *Stacks) left(ctx context.Context, id string) (list []Left, err error) {
	out, err := s.api().DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: &id})
	if err != nil {
		if awsconfig.Code(err) == "ValidationError" {
			return nil, nil // gone, with its records
		}
		return nil, fmt.Errorf("what is left of the stack could not be read: %w", awsconfig.Explain(err))
	}
	for _, r := range out.StackResources {
		if r.ResourceStatus != types.ResourceStatusDeleteComplete && aws.ToString(r.PhysicalResourceId) != "" {
			list = append(list, Left{aws.ToString(r.LogicalResourceId), aws.ToString(r.ResourceType), aws.ToString(r.PhysicalResourceId), aws.ToString(r.ResourceStatusReason)})
		}
	}
	return list, nil
}
