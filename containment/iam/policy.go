package iam

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/shotglass-ir/shotglass/containment"
)

// The names of the inline policies. Each purpose has one of its own: two containments with one item would set it
// against each other, and the release of one would take the other's.
const (
	PolicyName = "shotglass-quarantine" // denies everything
	RevokeName = "shotglass-revoke"     // denies the sessions that there are
)

// FunctionDenyName is the name of a role's policy that denies everything to one Lambda function.
func FunctionDenyName(region, function string) string {
	return PolicyName + functionPart(region, function)
}

// FunctionRevokeName is the name of a role's policy that denies the sessions that there are for the sake of one Lambda
// function.
func FunctionRevokeName(region, function string) string {
	return RevokeName + functionPart(region, function)
}

// functionPart keeps names within IAM's 128 characters: a function's has 64 at most.
func functionPart(region, function string) string { return "-lambda-" + region + "-" + function }

// denyAll is the name of AWS's own managed policy that denies everything.
const denyAll = "AWSDenyAll"

// A Condition restricts a policy to some requests.
type Condition struct{ Operator, Key, Value string }

// FromInstance is met by requests with the credentials of one instance, wherever they are sent from: AWS
// puts its ARN into every role session that an instance begins.
func FromInstance(arn string) Condition {
	return Condition{"ArnEquals", "ec2:SourceInstanceARN", arn}
}

// FromFunction is met by requests from the execution environment of one Lambda function, whose ARN has no
// version.
func FromFunction(arn string) Condition {
	return Condition{"ArnEquals", "lambda:SourceFunctionArn", arn}
}

// issuedBefore is met by temporary credentials that were issued before t.
func issuedBefore(t time.Time) Condition {
	return Condition{"DateLessThan", "aws:TokenIssueTime", t.UTC().Format(time.RFC3339)}
}

// Deny is the state of an inline policy (see RolePolicy) that denies everything to requests that meet
// the condition; without one, to all.
func Deny(where ...Condition) containment.State {
	statement := map[string]any{"Sid": "ShotglassQuarantine", "Effect": "Deny", "Action": "*", "Resource": "*"}
	if len(where) > 0 {
		conditions := map[string]map[string]string{}
		for _, c := range where {
			if conditions[c.Operator] == nil {
				conditions[c.Operator] = map[string]string{}
			}
			conditions[c.Operator][c.Key] = c.Value
		}
		statement["Condition"] = conditions
	}
	return state(map[string]any{"Version": "2012-10-17", "Statement": []any{statement}})
}

// Revoke is the state of a role's inline policy that denies its sessions from before the time that the policy is set, at
// the earliest planned. Setting it makes that time AWS's own (see Service.Resolve).
func Revoke(planned time.Time) containment.State { return Deny(issuedBefore(planned)) }

// trustNobody is the trust policy of a role that nobody may assume. A policy that allows nothing would do, but
// must have a statement.
func trustNobody() containment.State {
	return state(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Sid": "ShotglassQuarantine", "Effect": "Deny", "Principal": map[string]any{"AWS": "*"},
		"Action": []string{"sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity"},
	}}})
}

// revokedBefore returns the time of a policy that denies sessions issued before it, and nothing else.
func revokedBefore(s containment.State) (time.Time, bool) {
	var d struct {
		Statement []struct {
			Condition map[string]map[string]any
		}
	}
	if json.Unmarshal(s, &d) != nil || len(d.Statement) != 1 {
		return time.Time{}, false
	}
	text, _ := d.Statement[0].Condition["DateLessThan"]["aws:TokenIssueTime"].(string)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !containment.Same(s, Deny(issuedBefore(t))) {
		return time.Time{}, false
	}
	return t, true
}

// decode makes a state of a policy document as IAM returns it: JSON, URL-encoded as RFC 3986 has it, where a
// plus sign is one.
func decode(document string) (containment.State, error) {
	text, err := url.PathUnescape(document)
	if err != nil {
		return nil, fmt.Errorf("decode policy: %w", err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		return nil, fmt.Errorf("decode policy: %w", err)
	}
	return b.Bytes(), nil
}

// trusted returns who may assume a role by its trust policy: its Allow statements' principals, in
// order, each once.
func trusted(s containment.State) []string {
	var d struct{ Statement json.RawMessage }
	if json.Unmarshal(s, &d) != nil {
		return nil
	}
	type statement struct {
		Effect    string
		Principal any
	}
	var statements []statement
	if json.Unmarshal(d.Statement, &statements) != nil {
		var one statement
		if json.Unmarshal(d.Statement, &one) != nil {
			return nil
		}
		statements = []statement{one}
	}
	var names []string
	for _, st := range statements {
		if st.Effect == "Allow" {
			names = append(names, words(st.Principal)...)
		}
	}
	return unique(names)
}

// words are all strings in a part of a policy: one, a list, or by kind. Truths may be written without quotes.
func words(v any) []string {
	switch v := v.(type) {
	case bool:
		return []string{strconv.FormatBool(v)}
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, x := range v {
			all = append(all, words(x)...)
		}
		return all
	case map[string]any:
		var all []string
		for _, k := range sorted(v) {
			all = append(all, words(v[k])...)
		}
		return all
	}
	return nil
}

// state is JSON of a value that always has some.
func state(v any) containment.State {
	s, err := containment.NewState(v)
	if err != nil {
		panic("iam: " + err.Error())
	}
	return s
}
