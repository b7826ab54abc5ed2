// Package workstation makes, lists and destroys analysis instances: each a stack of CloudFormation, whose template a person can read, with a
// VPC of its own that has no way in but the examiner's, and no way out but to the evidence of its case.
//
//	s := &workstation.Stacks{Config: cfg}
//	stack, err := s.Create(ctx, terms, tell)
//
// A stack is found again by its name, which is made of the case: a run that died is gone on with by the next.
package workstation

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// Template is CloudFormation's for an analysis instance.
//
//go:embed template.yaml
var Template string

// The tags of a stack and all that it makes.
const (
	TagKey   = "shotglass"
	TagMade  = "workstation"
	TagCase  = "shotglass-case"
	TagOwner = "shotglass-owner"
)

// A Stack is an instance with all around it.
type Stack struct {
	Name     string    `json:"stack"`
	ID       string    `json:"stack_id"`
	Case     string    `json:"case"`
	Owner    string    `json:"owner"`
	Region   string    `json:"region"`
	State    string    `json:"state"`
	Why      string    `json:"why,omitempty"`
	Created  time.Time `json:"created"`
	Instance string    `json:"instance,omitempty"`
	Address  string    `json:"address,omitempty"`
	Type     string    `json:"instance_type,omitempty"`

	parameters map[string]string
}

// Good reports whether the stack is complete.
func (s *Stack) Good() bool { return s.State == string(types.StackStatusCreateComplete) }

// Stacks are the workstations of an account in a region. It is for one goroutine.
type Stacks struct {
	Config aws.Config
	// Sleep waits between two looks; nil: time passes.
	Sleep func(context.Context, time.Duration) error

	seen map[string]bool // events that were told
}

func (s *Stacks) api() *cloudformation.Client { return cloudformation.NewFromConfig(s.Config) }

var unsafe = regexp.MustCompile(`[^A-Za-z0-9-]+`)

// StackName is the name of a case's stack.
func StackName(caseID string) (string, error) {
	name := strings.Trim(unsafe.ReplaceAllString(caseID, "-"), "-")
	if name == "" || len(name) > 100 || name != caseID {
		return "", fmt.Errorf("case %q: want 1 to 100 letters, digits and dashes, since the stack has its name", caseID)
	}
	return "shotglass-workstation-" + name, nil
}

// Errors that callers tell apart.
var (
	ErrNone    = errors.New("there is no workstation of that case here")
	ErrBroken  = errors.New("the workstation is not usable")
	ErrDiffers = errors.New("the workstation of that case was made on other terms")
)

// find returns the stack of a name, ErrNone if there is none.
func (s *Stacks) find(ctx context.Context, name string) (*Stack, error) {
	out, err := s.api().DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	if err != nil {
		if awsconfig.Code(err) == "ValidationError" && strings.Contains(err.Error(), "does not exist") {
			return nil, ErrNone
		}
		return nil, fmt.Errorf("look for the stack %s: %w", name, awsconfig.Explain(err))
	}
	if len(out.Stacks) == 0 {
		return nil, ErrNone
	}
	return s.stack(out.Stacks[0]), nil
}

func (s *Stacks) stack(in types.Stack) *Stack {
	st := &Stack{Name: aws.ToString(in.StackName), ID: aws.ToString(in.StackId), Region: s.Config.Region, State: string(in.StackStatus), Why: aws.ToString(in.StackStatusReason), Created: aws.ToTime(in.CreationTime)}
	for _, t := range in.Tags {
		switch aws.ToString(t.Key) {
		case TagCase:
			st.Case = aws.ToString(t.Value)
		case TagOwner:
			st.Owner = aws.ToString(t.Value)
		}
	}
	for _, o := range in.Outputs {
		switch aws.ToString(o.OutputKey) {
		case "Instance":
			st.Instance = aws.ToString(o.OutputValue)
		case "Address":
			st.Address = aws.ToString(o.OutputValue)
		}
	}
	st.parameters = map[string]string{}
	for _, p := range in.Parameters {
		st.parameters[aws.ToString(p.ParameterKey)] = aws.ToString(p.ParameterValue)
	}
	st.Type = st.parameters["InstanceType"]
	return st
}

// List returns the workstations, all of them or an error.
func (s *Stacks) List(ctx context.Context) (list []*Stack, err error) {
	pages := cloudformation.NewDescribeStacksPaginator(s.api(), &cloudformation.DescribeStacksInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list stacks in %s: %w", s.Config.Region, awsconfig.Explain(err))
		}
		for _, in := range page.Stacks {
			for _, t := range in.Tags {
				if aws.ToString(t.Key) == TagKey && aws.ToString(t.Value) == TagMade {
					list = append(list, s.stack(in))
				}
			}
		}
	}
	return list, nil
}

// prefixList is that of S3 in the region, which a security group lets out to.
func (s *Stacks) prefixList(ctx context.Context) (string, error) {
	name := "com.amazonaws." + s.Config.Region + ".s3"
	out, err := ec2.NewFromConfig(s.Config).DescribePrefixLists(ctx, &ec2.DescribePrefixListsInput{Filters: []ec2types.Filter{{Name: aws.String("prefix-list-name"), Values: []string{name}}}})
	if err != nil {
		return "", fmt.Errorf("look up the prefix list %s: %w", name, awsconfig.Explain(err))
	}
	for _, l := range out.PrefixLists {
		if aws.ToString(l.PrefixListName) == name {
			return aws.ToString(l.PrefixListId), nil
		}
	}
	return "", fmt.Errorf("%s has no prefix list %s: without it the way out to S3 cannot be named", s.Config.Region, name)
}
