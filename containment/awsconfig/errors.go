package awsconfig

import (
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	metadata "github.com/aws/smithy-go/middleware"

	"github.com/shotglass-ir/shotglass/containment"
)

// Code returns the code of an error that AWS answered with: "NoSuchEntity". It is empty for others.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Explain wraps containment's errors around what AWS answered: ErrDenied for a permission that is
// missing, ErrRefused for what nobody may change. Other errors stay as they are.
func Explain(err error) error {
	switch Code(err) {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "AuthorizationError":
		return fmt.Errorf("%w: %w", containment.ErrDenied, err)
	case "UnmodifiableEntity", "UnmodifiableEntityException":
		return fmt.Errorf("%w: AWS lets nobody change it: %w", containment.ErrRefused, err)
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return fmt.Errorf("your credentials have expired: get new ones, and run it again: %w", err)
	}
	return err
}

// ServerTime is AWS's time in the Date header of an answer, in whole seconds as the times of sessions are. A responder's clock may be
// wrong; it is taken only for an answer without the header.
func ServerTime(m metadata.Metadata) time.Time {
	t, ok := middleware.GetServerTime(m)
	if !ok {
		t = time.Now()
	}
	return t.UTC().Truncate(time.Second)
}

// Reply is what a journal keeps of an answer: the request's id, which CloudTrail has too.
func Reply(m metadata.Metadata) containment.Reply {
	id, _ := middleware.GetRequestIDMetadata(m)
	return containment.Reply{RequestID: id}
}
