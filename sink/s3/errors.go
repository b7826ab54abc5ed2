package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/shotglass-ir/shotglass/sink"
)

// An Error is a call that the service refused or that did not get through.
type Error struct {
	Op       string // what was tried, for people
	Location string
	Code     string        // of the service: NoSuchBucket; empty when it did not answer
	Status   int           // of HTTP
	Skew     time.Duration // by which our clock is ahead of the service's, for RequestTimeTooSkewed
	Err      error
}

func (e *Error) Error() string {
	why := e.Err.Error()
	var api smithy.APIError
	var link *url.Error
	var slow *slowError
	switch {
	case errors.As(e.Err, &api):
		why = fmt.Sprintf("%q (%q, HTTP %d)", api.ErrorCode(), api.ErrorMessage(), e.Status)
		switch {
		case e.Skew > 0:
			why += fmt.Sprintf(": the clock of this machine is %s ahead of the service's", e.Skew)
		case e.Skew < 0:
			why += fmt.Sprintf(": the clock of this machine is %s behind the service's", -e.Skew)
		}
	case errors.As(e.Err, &slow):
		why = slow.Error()
	case errors.Is(e.Err, context.Canceled), errors.Is(e.Err, context.DeadlineExceeded):
		why = "cut short"
	case errors.As(e.Err, &link):
		why = link.Err.Error()
	case e.Status != 0:
		why = fmt.Sprintf("HTTP %d", e.Status)
	}
	return fmt.Sprintf("%s: %s: %s", e.Location, e.Op, why)
}

func (e *Error) Unwrap() error { return e.Err }

// Is makes the errors of the service those of package sink.
func (e *Error) Is(target error) bool {
	switch target {
	case sink.ErrExists:
		return e.Status == http.StatusPreconditionFailed || e.Code == "ConditionalRequestConflict"
	case fs.ErrNotExist:
		return e.Code == "NoSuchKey" || e.Code == "NotFound" || e.Code == "NoSuchBucket" || e.Code == "NoSuchUpload"
	}
	return false
}

// Hint says what helps.
func (e *Error) Hint() string {
	var api smithy.APIError
	if errors.As(e.Err, &api) && strings.Contains(api.ErrorMessage(), "kms:") {
		return "the policy of the key of --s3-kms-key must allow who we are kms:GenerateDataKey and kms:Decrypt; see docs/s3.md"
	}
	switch e.Code {
	case "NoSuchBucket":
		return "check the name of the bucket; another server than AWS is named with --s3-endpoint and, mostly, --s3-path-style"
	case "AccessDenied", "Forbidden", "AllAccessDisabled":
		return "who we are needs the policy of docs/s3.md; see who we are with: aws sts get-caller-identity"
	case "KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException", "KMS.InvalidKeyUsageException":
		return "check the key of --s3-kms-key: it must be enabled and in the region of the bucket"
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId":
		return "get new credentials; for long captures use a profile or role that renews them (--s3-profile, --s3-role-arn)"
	case "RequestTimeTooSkewed":
		return "set the clock of this machine"
	case "SignatureDoesNotMatch":
		return "check the secret key"
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "MovedPermanently":
		return "name the region of the bucket with --s3-region"
	case "ObjectLockConfigurationNotFoundError":
		return "the bucket has no Object Lock; it is switched on in the settings of the bucket"
	}
	return ""
}

// fail makes an Error of what the SDK returned.
func (s *Sink) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Location: s.location(name), Err: err}
	var api smithy.APIError
	if errors.As(err, &api) {
		e.Code = api.ErrorCode()
	}
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) {
		e.Status = resp.HTTPStatusCode()
		if t, err := http.ParseTime(resp.Response.Header.Get("Date")); err == nil && e.Code == "RequestTimeTooSkewed" {
			e.Skew = time.Since(t).Round(time.Minute)
		}
	}
	if e.Status == http.StatusForbidden && (e.Code == "" || e.Code == "UnknownError") {
		e.Code = "AccessDenied"
	}
	return e
}

// denied says that the service would not tell us.
func denied(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusForbidden
}

// cancelled makes what ended by a context say so.
func cancelled(ctx context.Context, op, name string) error {
	return fmt.Errorf("%s %s: %w", op, name, context.Cause(ctx))
}
