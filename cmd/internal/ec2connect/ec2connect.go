// Package ec2connect leads into EC2 instances by what AWS offers: a key that EC2 Instance Connect pushes for a minute, a tunnel
// through one of its endpoints, Session Manager's, and the host keys that an instance wrote on its console.
//
// What it makes are a transport.Grant, a transport.Tunnel and a proxy command; package transport does the rest.
package ec2connect

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/shotglass-ir/shotglass/transport"
)

// A hinted error knows what to do about it, and whether that is to try again.
type hinted struct {
	error
	hint string
	last bool // no later try will end otherwise
}

func (e *hinted) Unwrap() error { return e.error }

// Hint implements transport.Hinter.
func (e *hinted) Hint() string { return e.hint }

// MayPass is what transport.GrantError asks.
func (e *hinted) MayPass() bool { return !e.last }

var _ transport.Hinter = (*hinted)(nil)

// explain adds a hint to an answer of AWS to an action on an instance.
func explain(err error, action, instance, region string) error {
	var hint string
	last := true
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode() {
	case "AccessDenied", "AccessDeniedException", "AuthException", "UnauthorizedOperation":
		hint = fmt.Sprintf("the credentials need %s on %s; docs/ec2-connect-policy.json has all that is needed", action, instance)
	case "EC2InstanceNotFoundException", "InvalidInstanceID.NotFound":
		hint = fmt.Sprintf("%s is gone since it was looked up: terminated, or its account's region is another. Ask for its snapshots", instance)
	case "EC2InstanceUnavailableException":
		hint, last = fmt.Sprintf("AWS calls %s unavailable at the moment: try again in some minutes", instance), false
	case "EC2InstanceStateInvalidException", "IncorrectInstanceState":
		hint = fmt.Sprintf("%s does not run any more: its memory is gone, its volumes are not", instance)
	case "InvalidArgsException":
		hint = "the login name may be the reason: name it with --user or --ec2-user"
	case "OptInRequired", "UnrecognizedClientException", "InvalidClientTokenId":
		hint = fmt.Sprintf("the account may not have enabled %s, or the credentials are not valid there", region)
	case "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException":
		hint, last = "AWS takes no more calls at the moment: go on with fewer hosts at once, --parallel", false
	default:
		return err
	}
	return &hinted{err, hint, last}
}

// httpClient is the one that a configuration calls AWS with, so that its proxy and its certificate authorities are used for tunnels too.
func httpClient(cfg aws.Config) *http.Client {
	switch c := cfg.HTTPClient.(type) {
	case *http.Client:
		return c
	case *awshttp.BuildableClient:
		return &http.Client{Transport: c.GetTransport()}
	}
	return nil
}
