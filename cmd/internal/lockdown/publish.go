package lockdown

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A Publisher is what is needed of SNS; *sns.Client is one.
type Publisher interface {
	Publish(context.Context, *sns.PublishInput, ...func(*sns.Options)) (*sns.PublishOutput, error)
}

// CheckTopic returns an error unless s is the ARN of a topic that Lambda can be subscribed to.
func CheckTopic(s string) error {
	_, err := topic(s)
	return err
}

func topic(s string) (arn.ARN, error) {
	a, err := arn.Parse(s)
	switch {
	case err != nil || a.Service != "sns" || a.Region == "" || a.AccountID == "" || a.Resource == "" || strings.Contains(a.Resource, ":"):
		return a, fmt.Errorf("%q is not the ARN of an SNS topic, arn:aws:sns:REGION:ACCOUNT:NAME", s)
	case strings.HasSuffix(a.Resource, ".fifo"):
		return a, fmt.Errorf("%q is a FIFO topic, which calls no function", s)
	}
	return a, nil
}

// Client returns SNS in the region of a topic. Nothing is sent. Profile and endpoint may be empty.
func Client(ctx context.Context, topicARN, profile, endpoint string) (*sns.Client, error) {
	a, err := topic(topicARN)
	if err != nil {
		return nil, err
	}
	cfg, err := awsconfig.Load(ctx, profile, a.Region)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	return sns.NewFromConfig(cfg, func(o *sns.Options) {
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
	}), nil
}

// subject is that of requests.
const subject = "Entity Lockdown Request"

// Publish asks for it on a topic, and returns the message's id. That it was published says nothing about what comes of it. The
// secret goes into the message alone.
func (r Request) Publish(ctx context.Context, api Publisher, topicARN, externalID string) (id string, err error) {
	in := &sns.PublishInput{TopicArn: &topicARN, Subject: aws.String(subject), Message: aws.String(r.words()), MessageAttributes: Strings(r.Attributes(externalID))}
	out, err := api.Publish(ctx, in)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("publish to %s: %w", topicARN, awsconfig.Explain(err))
	}
	if aws.ToString(out.MessageId) == "" {
		return "", errors.New("SNS took the message and gave it no id")
	}
	return *out.MessageId, nil
}

// words are the request for people; the function reads the attributes alone.
func (r Request) words() string {
	s := fmt.Sprintf("%s %s, case %s", r.Action, r.Target, r.Case)
	if r.DryRun {
		s += ", as a dry run"
	}
	return s
}

// Strings are attributes of a message.
func Strings(m map[string]string) map[string]types.MessageAttributeValue {
	out := map[string]types.MessageAttributeValue{}
	for k, v := range m {
		if v != "" { // SNS takes no empty ones
			out[k] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(v)}
		}
	}
	return out
}
