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
	// Spelled says that some calls are denied for the key as it is spelled alone. IAM takes tag keys for the same whatever their case, so that
	// this keeps nobody from them.
	Spelled bool

	guarded []string // patterns of calls on the tag that are denied to others, in small letters
}

// The calls by which the tag of a user, and that of a role, is set or taken off.
var (
	UserTagging = []string{"iam:TagUser", "iam:UntagUser"}
	RoleTagging = []string{"iam:TagRole", "iam:UntagRole", "sts:TagSession"}
)

// ordinary are ARNs of what may be in an account and is no responder: a policy that excepts one of them, excepts all of its kind.
func ordinary(partition, account string) (list []string) {
	for _, s := range []string{"role/" + nobody, "user/" + nobody, "root", "role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_" + nobody, "role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_" + nobody} {
		list = append(list, "arn:"+partition+":iam::"+account+":"+s)
	}
	return list
}

// nobody is a name that no policy has but by a pattern that most names match.
const nobody = "0123456789abcdef0"

// FindQuarantine looks for a policy that denies everything to the bearers of a tag, and for what keeps others in an account from the tag.
func FindQuarantine(list []ControlPolicy, partition, account, key, value string) (q Quarantine) {
	others := ordinary(partition, account)
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
			calls, spelled := s.protected(key, others)
			if spelled {
				q.Spelled = true
			} else {
				q.guarded = append(q.guarded, lower(calls)...)
			}
		}
	}
	return q
}

// Free are those of some calls by which others than the responder may set the tag, or take it off.
func (q Quarantine) Free(calls ...string) []string {
	return slices.DeleteFunc(slices.Clone(calls), func(a string) bool { return matchesAny(q.guarded, strings.ToLower(a)) })
}

// InAnySpelling says what is wrong with a policy that goes by how the key is spelled; empty: none does.
func (q Quarantine) InAnySpelling() string {
	if !q.Spelled {
		return ""
	}
	return " in any spelling (IAM takes it for the same whatever its case, and ForAnyValue:StringEquals does not: ForAnyValue:StringEqualsIgnoreCase does)"
}

// Unshielded are those of some actions that no service control policy denies on a resource to principals of an account in general: a
// statement counts if it excepts some principals at most, by their ARNs, and not all users, roles, administrators of IAM Identity Center, or
// the root user. The error is of policies that could not be read.
func Unshielded(list []ControlPolicy, partition, account, resource string, actions ...string) (free []string, err error) {
	shielded, others := map[string]bool{}, ordinary(partition, account)
	for _, p := range list {
		all, perr := statements(p.Document)
		if perr != nil {
			err = fmt.Errorf("the service control policy %s (%s) could not be read: %w", p.Name, p.ID, perr)
			continue
		}
		for _, s := range all {
			if s.Effect != "Deny" || !matchesAny(words(s.Resource), resource) || !exceptsOnly(s.Condition, others) {
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

// exceptsOnly reports whether conditions except principals by their ARNs, and nothing else, and do not except one of others.
func exceptsOnly(conditions map[string]map[string]any, others []string) bool {
	for op, keys := range conditions {
		if !slices.Contains([]string{"ArnNotLike", "ArnNotEquals", "StringNotLike", "StringNotEquals"}, op) {
			return false
		}
		for k, values := range keys {
			if !strings.EqualFold(k, "aws:PrincipalArn") || slices.ContainsFunc(others, func(o string) bool { return matchesAny(words(values), o) }) {
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

// A statement is one of a policy, as far as it is judged here. Control policies have no principals.
type statement struct {
	Effect                  string
	Principal, NotPrincipal any
	Action, NotAction       any
	Resource                any
	Condition               map[string]map[string]any
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

// protected are the patterns of calls that a statement denies to others with the tag, and whether with its key as it is spelled alone.
func (s statement) protected(key string, others []string) (calls []string, spelled bool) {
	if s.Effect != "Deny" || !slices.Contains(words(s.Resource), "*") {
		return nil, false
	}
	rest := map[string]map[string]any{}
	for op, keys := range s.Condition {
		for k, values := range keys {
			same := func(v string) bool { return strings.EqualFold(v, key) }
			switch {
			case !strings.EqualFold(k, "aws:TagKeys"):
				if rest[op] == nil {
					rest[op] = map[string]any{}
				}
				rest[op][k] = values
			case op == "ForAnyValue:StringEqualsIgnoreCase" && slices.ContainsFunc(words(values), same):
			case op == "ForAnyValue:StringEquals" && slices.Contains(words(values), key):
				spelled = true
			default:
				return nil, false
			}
		}
	}
	if !exceptsOnly(rest, others) {
		return nil, false
	}
	return words(s.Action), spelled
}
