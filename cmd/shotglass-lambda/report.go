package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/shotglass-ir/shotglass/cmd/internal/lockdown"
	"github.com/shotglass-ir/shotglass/containment"
)

// The states that a message goes through, in Vectra's words.
const (
	started  = "Started"
	complete = "Complete"
	failed   = "Failed"
)

// A report is what the audit topic is told: a line in Vectra's words, and this as JSON. Fields are only
// added. It never has the secret.
type report struct {
	V       int             `json:"v"`
	Type    string          `json:"message_type"` // "lockdown"
	Status  string          `json:"status"`
	Time    time.Time       `json:"time"`
	Message string          `json:"message_id"` // of SNS; CloudTrail has it with who published
	Target  string          `json:"target,omitempty"`
	Stands  string          `json:"stands_for,omitempty"` // what the target turned out to be: the user of an access key
	Action  lockdown.Action `json:"action,omitempty"`
	Case    string          `json:"case,omitempty"`
	DryRun  bool            `json:"dry_run"`

	// Error and its kind; Again says that a further delivery may come to a better end.
	Error string `json:"error,omitempty"`
	Kind  kind   `json:"error_type,omitempty"`
	Again bool   `json:"again,omitempty"`
	Note  string `json:"note,omitempty"`

	Outcome   containment.Outcome      `json:"outcome,omitempty"`
	Changes   []containment.ItemResult `json:"changes,omitempty"`
	Residuals []containment.Residual   `json:"residuals,omitempty"`
	Tampering int                      `json:"tampering,omitempty"`
	Warnings  []string                 `json:"warnings,omitempty"`
	Planned   []string                 `json:"planned,omitempty"` // of a dry run
	Missing   []containment.Denial     `json:"missing,omitempty"` // permissions
	Unchecked []string                 `json:"unchecked,omitempty"`
	Journal   string                   `json:"journal,omitempty"` // with its place
	Head      string                   `json:"journal_head,omitempty"`
	Caller    string                   `json:"caller,omitempty"`
	Tool      string                   `json:"tool"`
}

func (r *report) standsFor(t containment.Target) {
	if s := t.String(); s != r.Target {
		r.Stands = s
	}
}

// plan takes in what a plan says before anything is changed.
func (r *report) plan(p *containment.Plan) {
	r.standsFor(p.Target)
	r.Caller, r.Warnings, r.Missing, r.Unchecked, r.Residuals = p.Caller.ARN, p.Warnings, p.Missing, p.Unchecked, p.Residuals
	if r.DryRun {
		for _, c := range p.Changes {
			s := c.Summary
			if containment.Same(c.Prior, c.Want) {
				s += " (already so)"
			}
			r.Planned = append(r.Planned, string(c.Stage)+": "+s)
		}
	}
}

// result takes in what came of it.
func (r *report) result(res *containment.Result, journals containment.Journals) {
	if res == nil {
		return
	}
	r.standsFor(res.Target)
	r.Outcome, r.Changes, r.Residuals, r.Tampering, r.Head = res.Outcome, res.Changes, res.Residuals, res.Tampering, res.Head
	if res.Journal != "" {
		r.Journal = strings.TrimSuffix(journals.String(), "/") + "/" + res.Journal
	}
}

// line is the first line, which Vectra's function wrote too. What is no containment does not begin as one.
func (r *report) line() string {
	what := "Entity Lockdown"
	if r.Action == lockdown.Release || r.Action == lockdown.Status {
		what += " " + string(r.Action)
	}
	if r.DryRun {
		what += " dry run"
	}
	target := r.Target
	if target == "" {
		target = "no valid target"
	}
	s := fmt.Sprintf("%s status: %s. Details: %s", what, r.Status, target)
	if r.Error != "" {
		s += " - with error: " + r.Error
	}
	return s
}

// maxBody bounds a message: SNS takes 256 KiB with the attributes.
const maxBody = 200 << 10

// body is the message's: the line, what a person should know, and JSON in one line.
func (r *report) body() (string, error) {
	var b strings.Builder
	b.WriteString(r.line() + "\n")
	if r.Outcome != "" {
		fmt.Fprintf(&b, "Outcome: %s\n", r.Outcome)
	}
	for _, m := range r.Missing {
		fmt.Fprintf(&b, "Permission missing: %s on %s\n", m.Action, m.Resource)
	}
	for _, x := range r.Residuals {
		if !x.Known {
			fmt.Fprintf(&b, "Stays open: %s: %s. %s\n", x.Path, x.What, x.Do)
		}
	}
	if r.Note != "" {
		b.WriteString(r.Note + "\n")
	}
	short := *r
	j, err := json.Marshal(short)
	if err == nil && len(j)+b.Len() > maxBody { // the journal has all of it
		short.Changes, short.Planned, short.Residuals, short.Missing, short.Unchecked = nil, nil, nil, nil, nil
		short.Note = strings.TrimSpace(short.Note + " Too long for a message: the journal has the changes.")
		j, err = json.Marshal(short)
	}
	if err != nil {
		return "", fmt.Errorf("encode report: %w", err)
	}
	return cut(b.String(), maxBody-len(j)) + "\n" + string(j) + "\n", nil
}

// attributes are those of the message, for filter policies.
func (r *report) attributes() map[string]string {
	return map[string]string{"status": r.Status, "action": string(r.Action), "case": r.Case, "outcome": string(r.Outcome), "error_type": string(r.Kind)}
}

// The subject of Vectra's messages.
const auditSubject = "Entity Lockdown Notification"

// An auditor tells the audit topic.
type auditor struct {
	api   lockdown.Publisher
	topic string
}

func (a auditor) tell(ctx context.Context, r *report) error {
	body, err := r.body()
	if err != nil {
		return err
	}
	_, err = a.api.Publish(ctx, &sns.PublishInput{
		TopicArn: &a.topic, Subject: aws.String(auditSubject), Message: &body, MessageAttributes: lockdown.Strings(r.attributes()),
	})
	if err != nil {
		return fmt.Errorf("tell %s: %w", a.topic, err)
	}
	return nil
}
