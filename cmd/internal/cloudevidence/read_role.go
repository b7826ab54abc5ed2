package cloudevidence

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// A profileDocument is the instance profile with all that its roles may do, as far as policies of the roles say.
type profileDocument struct {
	InstanceProfile *iamtypes.InstanceProfile
	Roles           []*roleDocument
}

type roleDocument struct {
	Role     *iamtypes.Role
	Inline   map[string]string // policies, by name
	Attached []*policyDocument
}

type policyDocument struct {
	Arn      string
	Version  string
	Document string
}

// profileName is the name of the instance's profile; empty: it has none.
func (r *reading) profileName() (string, error) {
	i, err := r.instance()
	if err != nil {
		return "", fmt.Errorf("its description: %w", err)
	}
	if i.IamInstanceProfile == nil {
		return "", nil
	}
	arn := aws.ToString(i.IamInstanceProfile.Arn)
	return arn[strings.LastIndexByte(arn, '/')+1:], nil
}

// readProfile reads what may be read: of what may not, the error tells.
func readProfile(r *reading, ctx context.Context) (answer, error) {
	name, err := r.profileName()
	if err != nil {
		return answer{}, err
	}
	if name == "" {
		return answer{absent: "the instance has no instance profile"}, nil
	}
	out, err := r.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
	if err != nil {
		return answer{}, fmt.Errorf("the profile %s: %w", name, err)
	}
	doc := profileDocument{InstanceProfile: out.InstanceProfile}
	var errs []error
	for _, role := range out.InstanceProfile.Roles {
		d, err := r.role(ctx, aws.ToString(role.RoleName))
		doc.Roles = append(doc.Roles, d)
		errs = append(errs, err)
	}
	return content(doc, errors.Join(errs...))
}

func (r *reading) role(ctx context.Context, name string) (*roleDocument, error) {
	d := &roleDocument{Inline: map[string]string{}}
	var errs []error
	failed := func(what string, err error) {
		errs = append(errs, fmt.Errorf("%s of the role %s: %w", what, name, err))
	}
	if out, err := r.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); err != nil {
		failed("the description", err)
	} else {
		d.Role = out.Role
		text := unescape(aws.ToString(d.Role.AssumeRolePolicyDocument))
		d.Role.AssumeRolePolicyDocument = &text
	}
	inline := iam.NewListRolePoliciesPaginator(r.iam, &iam.ListRolePoliciesInput{RoleName: &name})
	for inline.HasMorePages() {
		page, err := inline.NextPage(ctx)
		if err != nil {
			failed("the inline policies", err)
			break
		}
		for _, p := range page.PolicyNames {
			out, err := r.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &p})
			if err != nil {
				failed(fmt.Sprintf("the inline policy %q", p), err)
				continue
			}
			d.Inline[p] = unescape(aws.ToString(out.PolicyDocument))
		}
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(r.iam, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			failed("the attached policies", err)
			break
		}
		for _, p := range page.AttachedPolicies {
			one := &policyDocument{Arn: aws.ToString(p.PolicyArn)}
			d.Attached = append(d.Attached, one)
			if err := r.policy(ctx, one); err != nil {
				failed("the policy "+one.Arn, err)
			}
		}
	}
	return d, errors.Join(errs...)
}

// policy reads the version of a managed policy that is in force.
func (r *reading) policy(ctx context.Context, p *policyDocument) error {
	out, err := r.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &p.Arn})
	if err != nil {
		return err
	}
	p.Version = aws.ToString(out.Policy.DefaultVersionId)
	version, err := r.iam.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &p.Arn, VersionId: &p.Version})
	if err != nil {
		return err
	}
	p.Document = unescape(aws.ToString(version.PolicyVersion.Document))
	return nil
}

// unescape takes off the encoding that IAM gives policies.
func unescape(s string) string {
	if text, err := url.PathUnescape(s); err == nil {
		return text
	}
	return s
}
