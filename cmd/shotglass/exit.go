package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The exit codes. They are an API: scripts branch on them. 2 is never ours, since
// a Go program that panics exits 2.
const (
	exitOK          = 0
	exitFailed      = 1
	exitPartial     = 3
	exitMismatch    = 4
	exitContainment = 5
	exitUsage       = 64
	exitInterrupted = 130
)

// exitCodes is the table of `help exit-codes`, of the man page and of the README.
var exitCodes = []struct {
	Code    int
	Meaning string
}{
	{exitOK, "every image is complete; verify: every image is intact, complete and signed by a trusted key; ready: all passes"},
	{exitFailed, "failed: no image was captured, or the program could not do what was asked"},
	{exitPartial, "not all of it: a host failed, or an image is partial; swap, a symbol file or what AWS has of an instance was asked for and is not all there; something was left on a host, or it was not frozen to the end; a region was not searched for instances, or for what a key did; the audit log or a notification failed; ready, bucket check: something fails, or could not be read"},
	{exitMismatch, "verification found a mismatch, or no trusted signer"},
	{exitContainment, "containment failed or was withheld, was tampered with, left something open, or its release met a conflict"},
	{exitUsage, "wrong usage or configuration; nothing was done"},
	{exitInterrupted, "interrupted by a signal"},
}

// severity orders codes for commands that do several things: the first that
// occurred is the answer. An altered image weighs more than one that could not
// be read.
var severity = []int{exitInterrupted, exitUsage, exitMismatch, exitFailed, exitPartial, exitContainment, exitOK}

// worse returns the more severe of two codes.
func worse(a, b int) int {
	for _, c := range severity {
		if a == c || b == c {
			return c
		}
	}
	return exitFailed // unknown is failure
}

// An exitError carries an exit code through the CLI library. Err nil means that
// everything was said already.
type exitError struct {
	Code int
	Err  error
}

func (e *exitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *exitError) Unwrap() error { return e.Err }

// exitWith returns an error for a code whose reasons were printed, nil for 0.
func exitWith(code int) error {
	if code == exitOK {
		return nil
	}
	return &exitError{Code: code}
}

// exitCode maps an error to a code.
func exitCode(err error) int {
	var e *exitError
	var u *usageError
	var s *signalError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &s):
		return exitInterrupted
	case errors.As(err, &e):
		if !slices.Contains(severity, e.Code) {
			return exitFailed
		}
		return e.Code
	case errors.As(err, &u):
		return exitUsage
	default:
		return exitFailed
	}
}

// exitCodeTable is the table as Markdown, for the README.
func exitCodeTable() string {
	var b strings.Builder
	b.WriteString("| code | meaning |\n| --- | --- |\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", c.Code, c.Meaning)
	}
	return b.String()
}
