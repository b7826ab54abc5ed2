package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
)

func TestExitCodes(t *testing.T) {
	seen := map[int]bool{}
	for _, c := range exitCodes {
		if seen[c.Code] || c.Code == 2 || c.Meaning == "" || !slices.Contains(severity, c.Code) {
			t.Errorf("code %d: twice, Go's own, unexplained or without severity", c.Code)
		}
		seen[c.Code] = true
	}
	if len(severity) != len(exitCodes) {
		t.Errorf("%d codes have a severity, %d a meaning", len(severity), len(exitCodes))
	}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{usagef("x"), 64},
		{fmt.Errorf("wrapped: %w", usagef("x")), 64},
		{exitWith(3), 3},
		{fmt.Errorf("wrapped: %w", &exitError{4, errors.New("x")}), 4},
		{&exitError{2, nil}, 1},
		{&exitError{77, nil}, 1},
		{fmt.Errorf("dial: %w", &signalError{"SIGTERM"}), 130},
		{context.Canceled, 1},
	} {
		if have := exitCode(c.err); have != c.want {
			t.Errorf("exitCode(%v) = %d, want %d", c.err, have, c.want)
		}
	}
	for _, c := range [][3]int{{0, 3, 3}, {3, 1, 1}, {1, 4, 4}, {4, 130, 130}, {3, 5, 3}, {0, 0, 0}, {99, 98, 1}} {
		if have := worse(c[0], c[1]); have != c[2] || worse(c[1], c[0]) != c[2] {
			t.Errorf("worse(%d, %d) = %d, want %d", c[0], c[1], have, c[2])
		}
	}
}

func TestCaptureCode(t *testing.T) {
	r := func(states ...acquire.State) (out []acquire.Result) {
		for _, s := range states {
			out = append(out, acquire.Result{State: s})
		}
		return out
	}
	interrupted := []acquire.Result{{State: acquire.StatePartial, Interrupted: true}}
	signal := &signalError{"SIGINT"}
	for _, c := range []struct {
		results []acquire.Result
		cause   error
		want    int
	}{
		{r("complete", "complete"), nil, 0},
		{r("complete", "complete"), signal, 0},
		{r("complete", "failed"), nil, 3},
		{r("complete", "partial"), nil, 3},
		{r("partial", "failed"), nil, 3},
		{r("partial"), nil, 3},
		{r("failed", "failed"), nil, 1},
		{r("what"), nil, 1},
		{nil, nil, 1},
		{[]acquire.Result{{State: acquire.StateComplete, Left: []string{"a frozen cgroup"}}}, nil, 3},
		{[]acquire.Result{{State: acquire.StateComplete, Unfrozen: "the lease ended"}}, nil, 3},
		{r("complete", "failed"), signal, 130},
		{interrupted, nil, 130},
		{[]acquire.Result{{State: acquire.StateComplete}, {State: acquire.StateComplete, Err: &acquire.SwapError{}}}, nil, 3},
		{[]acquire.Result{{State: acquire.StateComplete, Err: &acquire.SwapError{}}}, signal, 130},
	} {
		if have := captureCode(c.results, c.cause, nil); have != c.want {
			t.Errorf("captureCode(%v, %v) = %d, want %d", c.results, c.cause, have, c.want)
		}
	}
	for v, want := range map[string]int{acquire.VerdictOK: 0, acquire.VerdictPartial: 3, acquire.VerdictUntrusted: 4, acquire.VerdictMismatch: 4, "": 1, "new": 1} {
		if have := verdictCode(&acquire.VerifyReport{Verdict: v}, nil); have != want {
			t.Errorf("verdict %q: code %d, want %d", v, have, want)
		}
	}
	if have := verdictCode(&acquire.VerifyReport{Verdict: acquire.VerdictOK, Swap: []acquire.SwapReport{{Verdict: acquire.VerdictOK}, {Verdict: acquire.VerdictPartial}}}, nil); have != exitPartial {
		t.Errorf("a swap area that is partial: code %d", have)
	}
	if verdictCode(&acquire.VerifyReport{Verdict: acquire.VerdictOK}, errors.New("x")) != exitFailed {
		t.Error("a verdict counts in spite of an error")
	}
}
