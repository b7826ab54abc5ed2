package iam

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A Quarantine is what service control policies do to whoever bears a tag.
type Quarantine struct {
	// By denies everything to its bearers; nil: none does. Unless are the other conditions under which alone it does; empty: there are none.
	By     *ControlPolicy
	Unless string
	// Unread are policies that could not be read.
	Unread []error

	guarded map[string]bool // calls on the tag that are denied to some, in small letters
}

// The calls by which the tag of a user, and that of a role, is set or taken off.
var (
	UserTagging = []string{"iam:TagUser", "iam:UntagUser"}
	RoleTagging = []string{"iam:TagRole", "iam:UntagRole", "sts:TagSession"}
)

// FindQuarantine looks for a policy that denies everything to the bearers of a tag.
func FindQuarantine(list []ControlPolicy, key, value string) (q Quarantine) {
	q.guarded = map[string]bool{}
	for i, p := range list {
		all, err := statements(p.Document)
		if err != nil {
			q.Unread = append(q.Unread, fmt.Errorf("the service control policy %s (%s) could not be read: %w", p.Name, p.ID, err))
			continue
		}
		for _, s := range all {
			if ok, unless := s.quarantines(key, value); ok && (q.By == nil || q.Unless != "" && unless == "") {
				q.By, q.Unless = &list[i], unless
			}
			for _, a := range s.protected(key) {
				q.guarded[strings.ToLower(a)] = true
			}
		}
	}
	return q
}

// Free are those of some calls by which others than the responder may set the tag, or take it off.
func (q Quarantine) Free(calls ...string) []string {
	return slices.DeleteFunc(slices.Clone(calls), func(a string) bool { return q.guarded[strings.ToLower(a)] || q.guarded["*"] })
}

// Unshielded are those of some actions that no service control policy denies on a resource to principals of the account in general: a
// statement counts if it excepts some principals at most, by their ARNs, and not other, an ordinary one. The error is of policies that could not be read.
func Unshielded(list []ControlPolicy, resource, other string, actions ...string) (free []string, err error) {
	shielded := map[string]bool{}
	for _, p := range list {
		all, perr := statements(p.Document)
		if perr != nil {
			err = fmt.Errorf("the service control policy %s (%s) could not be read: %w", p.Name, p.ID, perr)
			continue
		}
		for _, s := range all {
			if s.Effect != "Deny" || !matchesAny(words(s.Resource), resource) || !s.exceptsOnly(other) {
				continue
			}
			for _, a := range actions {
				if matchesAny(lower(words(s.Action)), strings.ToLower(a)) {
					shielded[a] = true
				}
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return shielded[a] }), err
}

// lower is for actions, which are the same whatever their case.
func lower(list []string) []string {
	for i, s := range list {
		list[i] = strings.ToLower(s)
	}
	return list
}

// exceptsOnly reports whether a statement's conditions except principals by their ARNs, and nothing else, and do not except other.
func (s statement) exceptsOnly(other string) bool {
	for op, keys := range s.Condition {
		if !slices.Contains([]string{"ArnNotLike", "ArnNotEquals", "StringNotLike", "StringNotEquals"}, op) {
			return false
		}
		for k, values := range keys {
			if !strings.EqualFold(k, "aws:PrincipalArn") || matchesAny(words(values), other) {
				return false
			}
		}
	}
	return true
}

// matchesAny reports whether some pattern of a policy, with * and ?, is met.
func matchesAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		q := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(p))
		return regexp.MustCompile("(?s)^" + q + "$").MatchString(s)
	})
}

// A statement is one of a policy, as far as it is judged here.
type statement struct {
	Effect           string
	Action, Resource any
	Condition        map[string]map[string]any
}

// statements are those of a policy document, which has one or a list.
func statements(document []byte) ([]statement, error) {
	var d struct{ Statement json.RawMessage }
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, err
	}
	var list []statement
	if json.Unmarshal(d.Statement, &list) == nil {
		return list, nil
	}
	var one statement
	err := json.Unmarshal(d.Statement, &one)
	return []statement{one}, err
}

// quarantines reports whether a statement denies everything to principals with the tag, and under which other conditions alone.
func (s statement) quarantines(key, value string) (ok bool, unless string) {
	if s.Effect != "Deny" || !slices.Contains(words(s.Action), "*") || !slices.Contains(words(s.Resource), "*") {
		return false, ""
	}
	others := []string{}
	for _, op := range sorted(s.Condition) {
		for _, k := range sorted(s.Condition[op]) {
			values := words(s.Condition[op][k])
			if strings.EqualFold(k, "aws:PrincipalTag/"+key) && holds(op, values, value) {
				ok = true
				continue
			}
			others = append(others, fmt.Sprintf("%s %s %s", op, k, strings.Join(values, ", ")))
		}
	}
	return ok, strings.Join(others, "; ")
}

// holds reports whether a condition on a tag is met by its value. An operator that is not known here is taken not to be.
func holds(operator string, values []string, value string) bool {
	switch operator {
	case "StringEquals", "StringLike": // a pattern other than * is not looked into
		return slices.Contains(values, value) || operator == "StringLike" && slices.Contains(values, "*")
	case "StringEqualsIgnoreCase":
		return slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, value) })
	case "Null":
		return slices.Equal(values, []string{"false"})
	}
	return false
}

// protected are the actions on the tag that a statement denies, at least to some.
func (s statement) protected(key string) []string {
	if s.Effect != "Deny" || !slices.Contains(words(s.Resource), "*") {
		return nil
	}
	keys := words(s.Condition["ForAnyValue:StringEquals"]["aws:TagKeys"])
	if !slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, key) }) {
		return nil
	}
	return words(s.Action)
}
