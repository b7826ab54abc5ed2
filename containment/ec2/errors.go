package ec2

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

var (
	errNotYet = errors.New("it does not show yet")
	// errAllowed is what a dry run comes to that would have succeeded.
	errAllowed = errors.New("a dry run: it would have succeeded")
)

// failed says which call failed, and whether for want of a permission.
func failed(call string, err error) error {
	if err == nil {
		return nil
	}
	switch awsconfig.Code(err) {
	case "DryRunOperation":
		return errAllowed
	case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess":
		var e smithy.APIError
		errors.As(err, &e)
		// What follows can only be decoded by who may, and fills a screen.
		text, _, _ := strings.Cut(e.ErrorMessage(), "Encoded authorization failure message")
		return fmt.Errorf("%s: %w: %s", call, containment.ErrDenied, strings.TrimSpace(text))
	case "OptInRequired", "AuthFailure":
		return fmt.Errorf("%s: the region is not enabled for the account, or its credentials are not valid there: %w", call, err)
	}
	return fmt.Errorf("%s: %w", call, err)
}

// missing reports whether the service says that something is not there.
func missing(err error) bool {
	c := awsconfig.Code(err)
	return strings.HasSuffix(c, ".NotFound") || strings.HasSuffix(c, "NotFound") || c == "NoSuchEntity"
}

// unknown reports whether the service does not have the call at all, in this region or partition.
func unknown(err error) bool {
	switch awsconfig.Code(err) {
	case "InvalidAction", "UnsupportedOperation", "NotImplemented":
		return true
	}
	return false
}

// gone is the error about something that no longer exists.
func gone(what string) error { return fmt.Errorf("%s %w", what, containment.ErrGone) }

// reply is what a call answered, with what a person should know.
func reply(m middleware.Metadata, note string) containment.Reply {
	r := awsconfig.Reply(m)
	r.Note = note
	return r
}

// state is a value as a state. What is made here can always be encoded.
func state(v any) containment.State {
	s, err := containment.NewState(v)
	if err != nil {
		panic(err)
	}
	return s
}

// decode reads a state that was made by state, and may have been in a journal since.
func decode[T any](s containment.State) (T, error) {
	var v T
	if err := json.Unmarshal(s, &v); err != nil {
		return v, fmt.Errorf("state %s: %w", s, err)
	}
	return v, nil
}

func absent(s containment.State) bool { return containment.Same(s, containment.Absent) }

// dryRun is the flag of the calls of EC2.
func (c *conn) dryRun() *bool {
	if c.dry {
		return aws.Bool(true)
	}
	return nil
}
