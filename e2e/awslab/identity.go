package awslab

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// Role makes a role that a service assumes, with nothing allowed but ec2:DescribeRegions, by which one sees whether it is denied.
func (l *Lab) Role(ctx context.Context, service string) (name, arn string, err error) {
	name = "shotglass-test-" + l.Run + "-" + service
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"%s.amazonaws.com"},"Action":"sts:AssumeRole"}]}`, service)
	out, err := l.IAM.CreateRole(ctx, &awsiam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust, Tags: []types.Tag{{Key: aws.String("shotglass-test"), Value: &l.Run}}})
	if err != nil {
		return "", "", err
	}
	l.made("role "+name, func(ctx context.Context) error {
		list, err := l.IAM.ListRolePolicies(ctx, &awsiam.ListRolePoliciesInput{RoleName: &name})
		if err != nil {
			return err
		}
		for _, p := range list.PolicyNames { // also those of a containment that was not released
			if _, err := l.IAM.DeleteRolePolicy(ctx, &awsiam.DeleteRolePolicyInput{RoleName: &name, PolicyName: &p}); err != nil {
				return err
			}
		}
		_, err = l.IAM.DeleteRole(ctx, &awsiam.DeleteRoleInput{RoleName: &name})
		return err
	})
	_, err = l.IAM.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("regions"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:DescribeRegions","Resource":"*"}]}`)})
	return name, aws.ToString(out.Role.Arn), err
}

// Profile makes an instance profile of the role, with its name.
func (l *Lab) Profile(ctx context.Context, role string) error {
	if _, err := l.IAM.CreateInstanceProfile(ctx, &awsiam.CreateInstanceProfileInput{InstanceProfileName: &role}); err != nil {
		return err
	}
	l.made("instance profile "+role, func(ctx context.Context) error {
		_, err := l.IAM.DeleteInstanceProfile(ctx, &awsiam.DeleteInstanceProfileInput{InstanceProfileName: &role})
		return err
	})
	if _, err := l.IAM.AddRoleToInstanceProfile(ctx, &awsiam.AddRoleToInstanceProfileInput{InstanceProfileName: &role, RoleName: &role}); err != nil {
		return err
	}
	l.made("the role in the instance profile "+role, func(ctx context.Context) error {
		_, err := l.IAM.RemoveRoleFromInstanceProfile(ctx, &awsiam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &role, RoleName: &role})
		return err
	})
	return nil
}

// leak is a function that tells its credentials to who invokes it, and whether they are good for something from within.
const leak = `import os, boto3
def handler(event, context):
    try:
        boto3.client("ec2").describe_regions()
        allowed = "yes"
    except Exception as e:
        allowed = str(e)
    return {k: os.environ[k] for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")} | {"allowed": allowed}
`

// Function makes a function with a role, and waits until it can be invoked.
func (l *Lab) Function(ctx context.Context, role string) (string, error) {
	name := "shotglass-test-" + l.Run
	var code bytes.Buffer
	z := zip.NewWriter(&code)
	w, err := z.Create("leak.py")
	if err == nil {
		_, err = w.Write([]byte(leak))
	}
	if err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	err = Until(ctx, 2*time.Minute, func() error { // a new role is not known at once
		_, err := l.Lambda.CreateFunction(ctx, &awslambda.CreateFunctionInput{
			FunctionName: &name, Role: &role, Runtime: lambdatypes.RuntimePython313, Handler: aws.String("leak.handler"), Timeout: aws.Int32(30),
			Code: &lambdatypes.FunctionCode{ZipFile: code.Bytes()}, Tags: map[string]string{"shotglass-test": l.Run},
		})
		return err
	})
	if err != nil {
		return "", err
	}
	l.made("function "+name, func(ctx context.Context) error {
		_, err := l.Lambda.DeleteFunction(ctx, &awslambda.DeleteFunctionInput{FunctionName: &name})
		return err
	})
	return name, awslambda.NewFunctionActiveV2Waiter(l.Lambda).Wait(ctx, &awslambda.GetFunctionInput{FunctionName: &name}, 2*time.Minute)
}
