package main

import (
	"fmt"
	"slices"
)

// A usageError is the user's mistake: nothing was done.
type usageError struct {
	Command string // "capture", empty for the program
	Msg     string
	Fix     string // the hint
	Err     error  // behind it, if there is one
}

func (e *usageError) Error() string { return e.Msg }

func (e *usageError) Unwrap() error { return e.Err }

// Hint says what to do instead.
func (e *usageError) Hint() string { return e.Fix }

func usagef(format string, args ...any) *usageError {
	return &usageError{Msg: fmt.Sprintf(format, args...)}
}

// fix adds a hint.
func (e *usageError) fix(format string, args ...any) *usageError {
	e.Fix = fmt.Sprintf(format, args...)
	return e
}

// hints collects what the errors in the tree of err advise, or what we know about their
// kind. Of a chain the outermost counts.
func hints(err error) []string {
	var out []string
	var walk func(err error)
	walk = func(err error) {
		if h, ok := err.(interface{ Hint() string }); ok && h.Hint() != "" {
			if !slices.Contains(out, h.Hint()) {
				out = append(out, h.Hint())
			}
			return
		}
		switch u := err.(type) {
		case interface{ Unwrap() []error }:
			for _, e := range u.Unwrap() {
				walk(e)
			}
		case interface{ Unwrap() error }:
			if e := u.Unwrap(); e != nil {
				walk(e)
			}
		}
	}
	walk(err)
	if len(out) == 0 {
		if h := knownHint(err); h != "" {
			out = append(out, h)
		}
	}
	return out
}

// A signalError is the cause of a context that a signal cancelled.
type signalError struct{ Signal string }

func (e *signalError) Error() string { return "interrupted by " + e.Signal }
