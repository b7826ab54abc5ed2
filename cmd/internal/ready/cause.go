package ready

import (
	"context"
	"errors"
	"strings"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A Cause is why something is unknown.
type Cause string

// The causes.
const (
	Denied     Cause = "denied"      // the caller may not read it
	Throttled  Cause = "throttled"   // AWS had too many calls, and patience ended
	NotEnabled Cause = "not_enabled" // the region is off, or the service there
	TooSlow    Cause = "too_slow"    // the time for a check ended
	Failed     Cause = "failed"      // anything else
)

// codes are what AWS calls the causes that it has many names for.
var codes = map[string]Cause{
	"AccessDeniedForDependencyException": Denied, "NotAuthorized": Denied, "Forbidden": Denied, "AllAccessDisabled": Denied,
	"Throttling": Throttled, "ThrottlingException": Throttled, "ThrottledException": Throttled, "RequestLimitExceeded": Throttled, "RequestThrottled": Throttled,
	"RequestThrottledException": Throttled, "TooManyRequestsException": Throttled, "SlowDown": Throttled, "LimitExceededException": Throttled, "PriorRequestNotComplete": Throttled,
	"OptInRequired": NotEnabled, "AuthFailure": NotEnabled, "UnrecognizedClientException": NotEnabled, "InvalidClientTokenId": NotEnabled,
	"SubscriptionRequiredException": NotEnabled, "RegionDisabledException": NotEnabled,
}

func causeOf(err error) Cause {
	if c, ok := codes[awsconfig.Code(err)]; ok {
		return c
	}
	switch {
	case errors.Is(awsconfig.Explain(err), containment.ErrDenied):
		return Denied
	case errors.Is(err, context.DeadlineExceeded):
		return TooSlow
	}
	return Failed
}

// explain is an error in one line.
func explain(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	switch causeOf(err) {
	case NotEnabled:
		return "the account has not enabled it there, or your credentials do not hold there: " + text
	case TooSlow:
		return "it took too long: " + text
	}
	return text
}
