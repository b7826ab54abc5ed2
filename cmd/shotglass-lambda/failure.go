package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/shotglass-ir/shotglass/containment"
)

// A kind says why a message was not carried out. Lambda shows it as the type of the error.
type kind string

const (
	misconfigured kind = "Misconfigured" // the function's own environment
	badRequest    kind = "BadRequest"    // the message: malformed, the wrong secret
	refused       kind = "Refused"       // the target, by a guard rail or the list of accounts
	denied        kind = "Denied"        // a permission is missing
	gone          kind = "Gone"          // there is no such target, or no journal of it
	overtaken     kind = "Overtaken"     // the opposite was asked for later
	unfinished    kind = "Unfinished"    // out of time, or AWS did not answer: goes on when delivered again
	notContained  kind = "NotContained"  // the end is not what was asked for
	unaudited     kind = "Unaudited"     // all is done, but nobody could be told
)

// again reports whether a further delivery may come to a better end. Lambda delivers again whatever the error is; those who read
// the audit want to know.
func (k kind) again() bool {
	return k == unfinished || k == notContained || k == unaudited
}

// A failure is what Lambda is told, so that the message is delivered again.
type failure struct {
	kind kind
	err  error
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// errTime is the cause of the end of a context whose time was nearly up.
var errTime = errors.New("the function's time is nearly up: it stopped between two changes, and goes on when the message is delivered again")

// classify says what kind of failure an error of the engine is.
func classify(err error) *failure {
	k := unfinished
	switch {
	case errors.Is(err, containment.ErrRefused):
		k = refused
	case errors.Is(err, errTime), errors.Is(err, containment.ErrBusy), errors.Is(err, context.DeadlineExceeded):
	case errors.Is(err, containment.ErrDenied):
		k = denied
	case errors.Is(err, containment.ErrGone), errors.Is(err, containment.ErrNoJournal):
		k = gone
	case errors.Is(err, containment.ErrChain):
		k = refused // nothing is undone by a journal that was altered
	}
	return &failure{k, err}
}

func fail(k kind, format string, args ...any) *failure {
	return &failure{k, fmt.Errorf(format, args...)}
}

// maxError bounds what Lambda is told; the dead-letter queue keeps 1 KiB of it.
const maxError = 1 << 10

// answer is a failure as Lambda takes it.
func (f *failure) answer() error {
	return messages.InvokeResponse_Error{Type: string(f.kind), Message: cut(f.Error(), maxError)}
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}
