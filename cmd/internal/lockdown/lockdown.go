// Package lockdown is what those who ask for a containment by a message, and the function that carries it out, agree
// on: the attributes of an SNS message. Two of them, Arn and ExternalId, are those of Vectra's entity lockdown, so that what
// publishes for it can publish for this.
package lockdown

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/containment"
)

// The names of the attributes. They are of type String; what is not there has its default.
const (
	AttrARN        = "Arn"        // of the target, or the id of an access key, which has no ARN
	AttrExternalID = "ExternalId" // the secret that those who may ask have
	AttrAction     = "Action"     // default: contain
	AttrCase       = "CaseId"     // default: DefaultCase
	AttrDryRun     = "DryRun"     // "true" or "false", the default
)

// An Action is what is asked for.
type Action string

const (
	Contain Action = "contain"
	Release Action = "release"
	Status  Action = "status"
)

// Actions are all actions.
var Actions = []Action{Contain, Release, Status}

// DefaultCase is the case of messages that name none. A target has one journal in a case.
const DefaultCase = "lockdown"

// A Request is what a message asks for, but for its secret.
type Request struct {
	Target containment.Target
	Action Action
	Case   string
	DryRun bool
}

// cases are ids of cases, which become parts of the names of objects and sessions.
var cases = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// MinExternalID is the least length of the secret, in bytes, as with Vectra's; STS takes no longer one than
// MaxExternalID.
const (
	MinExternalID = 9
	MaxExternalID = 1224
)

// CheckExternalID returns an error for a secret that is too short, too long, or has characters that an attribute or a
// shell could change. It does not tell the secret.
func CheckExternalID(id string) error {
	if len(id) < MinExternalID || len(id) > MaxExternalID {
		return fmt.Errorf("an external id has %d to %d characters, this has %d", MinExternalID, MaxExternalID, len(id))
	}
	if strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("an external id has printable ASCII characters without spaces")
	}
	return nil
}

// Attributes are those of a message.
func (r Request) Attributes(externalID string) map[string]string {
	arn := r.Target.String()
	if r.Target.Kind == containment.AccessKey {
		arn = r.Target.Name
	}
	m := map[string]string{AttrARN: arn, AttrExternalID: externalID, AttrAction: string(r.Action), AttrCase: r.Case}
	if r.DryRun {
		m[AttrDryRun] = "true"
	}
	return m
}

// Parse reads attributes, which anyone who may publish has written. Its error repeats nothing of them, since a secret may stand
// in the wrong place.
func Parse(attributes map[string]string) (Request, error) {
	r := Request{Action: Contain, Case: DefaultCase}
	arn, ok := attributes[AttrARN]
	if !ok {
		return r, fmt.Errorf("the message has no attribute %s", AttrARN)
	}
	var err error
	if r.Target, err = ParseTarget(arn); err != nil {
		return r, err
	}
	if a, ok := attributes[AttrAction]; ok {
		if r.Action = Action(a); !slices.Contains(Actions, r.Action) {
			r.Action = ""
			return r, fmt.Errorf("the attribute %s is none of %v", AttrAction, Actions)
		}
	}
	if c, ok := attributes[AttrCase]; ok {
		if !cases.MatchString(c) {
			return r, fmt.Errorf("the attribute %s is no id of a case: up to 64 letters, digits, dots, dashes and underscores, first a letter or digit", AttrCase)
		}
		r.Case = c
	}
	switch attributes[AttrDryRun] {
	case "true":
		r.DryRun = true
	case "false", "":
	default:
		return r, fmt.Errorf("the attribute %s is neither true nor false", AttrDryRun)
	}
	return r, nil
}

// maxARN bounds what is looked at: an ARN of IAM has 12 digits, a path of 512 and a name of 64 characters.
const maxARN = 2048

// ParseTarget reads an ARN, or the id of an access key: a short form such as role/web does not say in which account. Its
// error does not repeat what it was given.
func ParseTarget(s string) (containment.Target, error) {
	if len(s) > maxARN {
		return containment.Target{}, fmt.Errorf("the attribute %s has %d bytes: that is no ARN", AttrARN, len(s))
	}
	t, err := containment.ParseTarget(s)
	switch {
	case errors.Is(err, containment.ErrRefused): // it is an ARN, of root
		return t, err
	case err != nil:
		return t, fmt.Errorf("the attribute %s is no ARN of an EC2 instance, IAM user or role, or Lambda function, and no access key id", AttrARN)
	case t.Kind != containment.AccessKey && t.Account == "":
		return t, fmt.Errorf("the attribute %s is no ARN: a short form does not say in which account the target is", AttrARN)
	}
	return t, nil
}
