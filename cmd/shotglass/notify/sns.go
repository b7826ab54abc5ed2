package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A Topic is an SNS topic; FIFO topics get a group for each run and the ID of the message to tell repetitions.
type Topic struct {
	arn arn.ARN
	raw string
	api *sns.Client
}

var _ Target = (*Topic)(nil)

// IsTopic reports whether s is meant to be the ARN of a topic.
func IsTopic(s string) bool { return strings.HasPrefix(s, "arn:") }

// CheckTopic returns an error unless s is the ARN of a topic.
func CheckTopic(s string) error {
	_, err := parseTopic(s)
	return err
}

func parseTopic(s string) (arn.ARN, error) {
	a, err := arn.Parse(s)
	if err != nil || a.Service != "sns" || a.Region == "" || a.AccountID == "" || a.Resource == "" || strings.Contains(a.Resource, ":") {
		return a, fmt.Errorf("%q is not the ARN of an SNS topic, arn:aws:sns:REGION:ACCOUNT:NAME", s)
	}
	return a, nil
}

// NewTopic reads the AWS configuration; nothing is sent. profile may be empty.
func NewTopic(ctx context.Context, raw, profile string) (*Topic, error) {
	a, err := parseTopic(raw)
	if err != nil {
		return nil, err
	}
	load := []func(*config.LoadOptions) error{config.WithRegion(a.Region)}
	if profile != "" {
		load = append(load, config.WithSharedConfigProfile(profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, err
	}
	// The sender tries again by its own clock.
	return &Topic{a, raw, sns.NewFromConfig(cfg, func(o *sns.Options) { o.RetryMaxAttempts = 1 })}, nil
}

// String returns the ARN.
func (t *Topic) String() string { return t.raw }

// Limits of SNS: a subject is ASCII on one line, a message has 256 KiB with its attributes.
const (
	maxSubject = 100
	maxMessage = 256<<10 - 4096
)

// Send makes one attempt.
func (t *Topic) Send(ctx context.Context, m Message, body []byte) error {
	if len(body) > maxMessage {
		return &permanent{fmt.Errorf("the message has %d bytes, SNS takes %d", len(body), maxMessage)}
	}
	in := &sns.PublishInput{TopicArn: &t.raw, Message: aws.String(string(body)), Subject: aws.String(subject(m.Text)), MessageAttributes: map[string]types.MessageAttributeValue{}}
	for name, value := range map[string]string{"event": m.Event, "case": m.Case, "state": m.State, "host": m.Host} {
		if value != "" {
			in.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(value)}
		}
	}
	if strings.HasSuffix(t.arn.Resource, ".fifo") {
		in.MessageGroupId, in.MessageDeduplicationId = &m.Run, &m.ID
	}
	_, err := t.api.Publish(ctx, in)
	if err == nil {
		return nil
	}
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() < 500 && answer.HTTPStatusCode() != http.StatusTooManyRequests {
		var api smithy.APIError
		if errors.As(err, &api) && !strings.Contains(api.ErrorCode(), "Throttl") {
			return &permanent{fmt.Errorf("SNS: %s: %s", api.ErrorCode(), api.ErrorMessage())}
		}
	}
	return fmt.Errorf("SNS: %w", err)
}

// subject makes a subject of a text: it must start with a letter, digit or mark, and hold
// printable ASCII.
func subject(text string) string {
	b := []byte("shotglass: ")
	for _, r := range text {
		if r < ' ' || r > '~' {
			r = '?'
		}
		b = append(b, byte(r))
	}
	if len(b) >= maxSubject {
		b = append(b[:maxSubject-4], "..."...)
	}
	return string(b)
}
