package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/journals"
	"github.com/shotglass-ir/shotglass/cmd/internal/lockdown"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// A function carries out messages. It is safe for concurrent use.
type function struct {
	settings
	journals containment.Journals
	auditor  auditor
	// engine returns an engine for a case, at the request of a message.
	engine func(ctx context.Context, caseID, request string) (*containment.Engine, error)
	// limit returns a context that ends with errTime, with enough left to leave everything in order.
	limit func(context.Context) (context.Context, context.CancelFunc)
	now   func() time.Time
	log   *slog.Logger
}

var _ lambda.Handler = (*function)(nil)

// start makes the function that the environment describes; if it describes none, one that says so to every
// message: each then reaches the dead-letter queue, with the reason in the log.
func start(ctx context.Context, getenv func(string) string, out io.Writer) lambda.Handler {
	log := slog.New(slog.NewJSONHandler(out, nil))
	f, err := newFunction(ctx, getenv, log)
	if err != nil {
		log.Error("the function is not set up", "error", err.Error())
		return broken{&failure{misconfigured, err}}
	}
	return f
}

func newFunction(ctx context.Context, getenv func(string) string, log *slog.Logger) (*function, error) {
	s, err := readSettings(getenv)
	if err != nil {
		return nil, err
	}
	place, err := s3.New(ctx, s.bucket)
	if err != nil {
		return nil, err
	}
	api, err := lockdown.Client(ctx, s.audit, "", "")
	if err != nil {
		return nil, err
	}
	access := awsaccess.Access{Role: s.role, ExternalID: s.roleID, Allow: s.reaches, NoMetadata: true, BreakGlass: s.glass, Journals: journals.Bucket{Place: place}, Tool: tool()}
	return &function{
		settings: s, journals: access.Journals, auditor: auditor{api, s.audit}, limit: inTime, now: time.Now, log: log,
		engine: func(ctx context.Context, caseID, request string) (*containment.Engine, error) {
			a := access
			a.Request = request
			return a.Engine(ctx, caseID)
		},
	}, nil
}

func tool() string { return "shotglass-lambda " + version }

// broken is a function that was not set up.
type broken struct{ *failure }

func (b broken) Invoke(context.Context, []byte) ([]byte, error) { return nil, b.answer() }

// margin is what is left of the function's time when it stops: to isolate what is open, to look at it once
// more, and to tell. Of a short time, half is.
const margin = 90 * time.Second

func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, end.Add(-min(margin, time.Until(end)/2)), errTime)
}

// Invoke implements lambda.Handler. It returns an error whenever a message was not carried out.
func (f *function) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	all, err := readEvent(payload)
	if err != nil {
		r := f.report(message{}, lockdown.Request{}, failed)
		return nil, f.conclude(ctx, r, &failure{badRequest, err}).answer()
	}
	var worst *failure
	for _, m := range all {
		if e := f.handle(ctx, m); e != nil {
			worst = e
		}
	}
	if worst != nil {
		return nil, worst.answer()
	}
	return []byte("{}"), nil
}

// handle carries out one message, and tells at its start and its end. It returns nil if all is done.
func (f *function) handle(ctx context.Context, m message) *failure {
	req, err := m.accept(f.secret)
	r := f.report(m, req, started)
	if err != nil {
		return f.conclude(ctx, r, &failure{badRequest, err})
	}
	f.log.Info("started", "message_id", m.ID, "target", r.Target, "action", r.Action, "case", r.Case, "dry_run", r.DryRun)
	if err := f.auditor.tell(ctx, r); err != nil { // what was asked for comes first
		f.log.Error("the start was not told", "message_id", m.ID, "error", err.Error())
		r.Note = "The start could not be told."
	}
	soft, cancel := f.limit(ctx)
	defer cancel()
	var bad *failure
	if err := f.carryOut(soft, m, req, r); err != nil && !errors.As(err, &bad) {
		bad = classify(err)
	}
	return f.conclude(ctx, r, bad)
}

// conclude tells the end. That nobody could be told is a failure, too.
func (f *function) conclude(ctx context.Context, r *report, bad *failure) *failure {
	r.Status, r.Time = complete, f.now().UTC()
	if bad != nil {
		r.Status, r.Error, r.Kind, r.Again = failed, cut(bad.Error(), maxError), bad.kind, bad.kind.again()
	}
	f.log.Info("ended", "message_id", r.Message, "target", r.Target, "action", r.Action, "case", r.Case, "dry_run", r.DryRun,
		"status", r.Status, "outcome", r.Outcome, "error", r.Error, "error_type", r.Kind, "journal", r.Journal)
	if err := f.auditor.tell(ctx, r); err != nil {
		f.log.Error("the end was not told", "message_id", r.Message, "error", err.Error())
		if bad == nil {
			return fail(unaudited, "%s is done, but that could not be told: %w", r.Action, err)
		}
		return &failure{bad.kind, errors.Join(bad.err, err)}
	}
	return bad
}

func (f *function) report(m message, req lockdown.Request, status string) *report {
	r := &report{V: 1, Type: "lockdown", Status: status, Time: f.now().UTC(), Message: m.ID, Action: req.Action, Case: req.Case, DryRun: req.DryRun, Tool: tool()}
	if req.Target.Name != "" {
		r.Target = req.Target.String()
	}
	return r
}

// allowed refuses targets in accounts that the function is not for.
func (f *function) allowed(t containment.Target, own string) error {
	if t.Account == "" || t.Account == own {
		return nil
	}
	if err := f.reaches(t.Account); err != nil {
		return fmt.Errorf("%s: %w", t, err)
	}
	return nil
}

// reaches refuses to assume a role in an account that the function is not for. An access key's account is known by AWS's answer alone: whoever
// asks may name a key of any.
func (s settings) reaches(account string) error {
	if slices.Contains(s.accounts, account) || slices.Contains(s.accounts, "*") {
		return nil
	}
	return fmt.Errorf("account %s is not among those that this function is for (%s): %w", account, envAccounts, containment.ErrRefused)
}
