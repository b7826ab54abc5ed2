package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// A runLog is the audit log of a run and the place that it goes to.
type runLog struct {
	*audit.Log
	o    *captureOptions
	dest sink.Sink
}

// startLog begins the audit log, where the images go. On its way to S3 it lies in the state
// folder of this machine.
func (o *captureOptions) startLog(ctx context.Context, problem func(error)) *runLog {
	l := o.openLog(ctx, problem)
	tool := o.Engine.Tool
	e := audit.Entry{
		Event: audit.EventStart, Operator: o.Engine.Operator, Tool: &tool, Options: o.Engine.Settings,
		Hosts: targetNames(o), Location: l.dest.String(), Reasons: o.Warnings,
	}
	e.Message = fmt.Sprintf("%s starts a capture of %s into %s with %s %s", e.Operator, plural(len(e.Hosts), "host"), e.Location, tool.Name, tool.Version)
	l.Add(e)
	return l
}

// openLog opens the log of a run, which has no line yet.
func (o *captureOptions) openLog(ctx context.Context, problem func(error)) *runLog {
	l := &runLog{o: o, dest: o.logPlace()}
	live := l.dest
	if _, disk := live.(*sink.Disk); !disk {
		live = nil
		dir, err := stateDir()
		if err == nil {
			live, err = sink.NewDisk(dir)
		}
		if err != nil {
			problem(fmt.Errorf("the audit log has no place on this machine until it is stored in %s: %w", l.dest, err))
		}
	}
	l.Log = audit.Start(ctx, audit.Options{
		Case: o.Engine.Case, Live: live,
		Problem: func(err error) {
			problem(&hinted{err, "the capture goes on; the log is kept in memory and written again at the end"})
		},
	})
	return l
}

// logPlace is where the run's images go. When each host has a place of its own, it is
// that of the first.
func (o *captureOptions) logPlace() sink.Sink {
	for _, j := range o.Jobs {
		if j.Sink == nil || j.Sink == o.Engine.Sink {
			return o.Engine.Sink
		}
	}
	if len(o.Jobs) == 0 {
		return o.Engine.Sink
	}
	return o.Jobs[0].Sink
}

// end ends the log of a run that ends with code.
func (l *runLog) end(ctx context.Context, results []acquire.Result, code int) (audit.Saved, error) {
	count := map[acquire.State]int{}
	for _, r := range results {
		count[r.State]++
	}
	e := audit.Entry{Code: &code, Message: fmt.Sprintf("the run ends with exit code %d: %d complete, %d partial, %d failed",
		code, count[acquire.StateComplete], count[acquire.StatePartial], len(l.o.Jobs)-count[acquire.StateComplete]-count[acquire.StatePartial])}
	free := context.WithoutCancel(ctx)
	if ctx.Err() != nil { // the user waits, and a bucket may hang: the log is here too
		var cancel context.CancelFunc
		free, cancel = context.WithTimeout(free, 30*time.Second)
		defer cancel()
	}
	return l.Close(free, l.dest, l.o.Engine.Signer, e)
}

// stateDir is where what must survive a crash lies, $XDG_STATE_HOME/shotglass.
func stateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "shotglass"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "state", "shotglass"), nil
}

// logMessage is a "log_verification" line.
type logMessage struct {
	File string `json:"file"`
	Code int    `json:"code"`
	*audit.Report
	Error string `json:"error,omitempty"`
}

// verifyLog checks an audit log, prints what it found and returns the exit code. The error is that
// of printing.
func verifyLog(ctx context.Context, c *console, name string, access s3.Options, o acquire.VerifyOptions) (int, error) {
	var r *audit.Report
	where, base, err := place(ctx, name, access)
	if err == nil {
		r, err = audit.Verify(ctx, where, base, audit.VerifyOptions{Signers: o.Signers, At: o.At})
	}
	code := logCode(r, err)
	if c.json {
		m := logMessage{File: name, Code: code, Report: r}
		if err != nil {
			m.Error = err.Error()
		}
		if err := c.message("log_verification", m); err != nil {
			return code, err
		}
	} else if r != nil {
		printLog(c, name, r)
	}
	if err != nil {
		c.fail(name, err)
	} else if r.Verdict == acquire.VerdictUntrusted {
		c.hint(signersHint)
	}
	return code, nil
}

func logCode(r *audit.Report, err error) int {
	if r == nil {
		return exitFailed
	}
	return verdictCode(&acquire.VerifyReport{Verdict: r.Verdict}, err)
}

func printLog(c *console, name string, r *audit.Report) {
	fmt.Fprintf(c, "%s: %s; %d lines, %d bytes, chain head %s\n", printable(name), r.Verdict, r.Lines, r.Bytes, r.Head)
	printSignature(c, r.Signature)
	switch {
	case !r.Ended:
		fmt.Fprintf(c, "  no end: the run was killed, or the log was cut after line %d\n", r.Lines)
	case r.Code != nil:
		fmt.Fprintf(c, "  the run ended with exit code %d\n", *r.Code)
	}
	found := map[string]int{}
	for _, m := range r.Manifests {
		found[m.Found]++
	}
	if n := len(r.Manifests); n > 0 {
		line := fmt.Sprintf("  manifests: %d of %d as the log says", found[audit.FoundGood], n)
		if k := found[audit.FoundElsewhere]; k > 0 {
			line += fmt.Sprintf(", %d in another place and not looked at", k)
		}
		fmt.Fprintln(c, line)
	}
	if r.Anchored > 0 && !r.Signature.Trusted {
		fmt.Fprintf(c, "  lines 1 to %d are vouched for by the trusted signature of a manifest\n", r.Anchored)
	}
	for _, p := range r.Problems {
		where := ""
		if p.Line > 0 {
			where = fmt.Sprintf("line %d: ", p.Line)
		}
		fmt.Fprintf(c, "  mismatch: %s%s\n", where, strings.ReplaceAll(printable(p.Detail), "\n", " "))
	}
}
