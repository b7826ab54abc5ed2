package iam

import (
	"fmt"
	"slices"
	"strings"
)

// A KeyUse is what the principals of an account want to do, through EC2, with a key of KMS, as to make volumes of snapshots that were shared with it.
type KeyUse struct {
	Key     string // ARN
	Account string
	Actions []string // "kms:Decrypt"
}

// SnapshotUse is what AWS asks of an account that makes volumes or copies of snapshots that are shared with it, on the key that they are under.
var SnapshotUse = []string{"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"}

const (
	mostKeyPolicy  = 64 << 10 // bytes; KMS takes 32 KiB
	mostPrincipals = 50       // of those that a policy names, whose rights are told apart
)

// Judge says what a key's policy makes of it. By are the principals of the account that the policy lets, if it does not let the account as a whole:
// then its own policies do not decide. A condition that a request of EC2 may meet or not leaves its action open. Grants are not known here, nor what the
// account's own policies allow, which another account's key needs as well. The error is of a policy that cannot be read.
func (u KeyUse) Judge(policy []byte) (a Answer, by string, err error) {
	if len(policy) > mostKeyPolicy {
		return a, "", fmt.Errorf("the key's policy has %d bytes, more than any key's", len(policy))
	}
	list, err := statements(policy)
	if err != nil {
		return a, "", fmt.Errorf("the key's policy could not be read: %w", err)
	}
	root := "arn:" + u.part(1) + ":iam::" + u.Account + ":root"
	for n, who := range append([]string{root}, u.named(list, root)...) {
		one := u.of(list, root, who)
		if n == 0 || len(one.Denied) < len(a.Denied) || len(one.Denied) == len(a.Denied) && len(one.Open) < len(a.Open) {
			if a, by = one, who; who == root {
				by = ""
			}
		}
	}
	return a, by, nil
}

// part is one of the key's ARN: 1 is the partition, 3 the region.
func (u KeyUse) part(n int) string {
	if f := strings.Split(u.Key, ":"); len(f) > n {
		return f[n]
	}
	return ""
}

// named are the principals of the account that statements name, but for the account itself.
func (u KeyUse) named(list []statement, root string) (names []string) {
	for _, s := range list {
		for _, p := range append(principals(s.Principal), principals(s.NotPrincipal)...) {
			if p != root && strings.HasPrefix(p, strings.TrimSuffix(root, "root")) && !slices.Contains(names, p) {
				names = append(names, p)
			}
		}
	}
	return names[:min(len(names), mostPrincipals)]
}

// of is what statements make of the actions for one principal of the account; root stands for any.
func (u KeyUse) of(list []statement, root, who string) (a Answer) {
	for _, action := range u.Actions {
		allowed, denied := false, false
		var may, mayNot []string // the keys of conditions that decide
		for _, s := range list {
			if !s.about(action) || !u.isFor(s, root, who) || s.Resource != nil && !matchesAny(words(s.Resource), u.Key) {
				continue
			}
			met, open := u.met(s.Condition, action)
			switch {
			case !met:
			case s.Effect == "Deny" && len(open) == 0:
				denied = true
			case s.Effect == "Deny":
				mayNot = append(mayNot, open...)
			case s.Effect == "Allow" && len(open) == 0:
				allowed = true
			case s.Effect == "Allow":
				may = append(may, open...)
			}
		}
		switch {
		case denied || !allowed && len(may) == 0:
			a.Denied = append(a.Denied, action)
		case !allowed:
			a.Open = append(a.Open, Doubt{action, "it depends on " + strings.Join(unique(append(may, mayNot...)), ", ")})
		case len(mayNot) > 0:
			a.Open = append(a.Open, Doubt{action, "it depends on " + strings.Join(unique(mayNot), ", ")})
		}
	}
	return a
}

// isFor reports whether a statement is about a principal of the account.
func (u KeyUse) isFor(s statement, root, who string) bool {
	is := func(p string) bool { return p == "*" || p == u.Account || p == root || p == who }
	if s.NotPrincipal == nil {
		return slices.ContainsFunc(principals(s.Principal), is)
	}
	not := principals(s.NotPrincipal)
	if s.Effect == "Allow" {
		return !slices.ContainsFunc(not, is)
	}
	// To leave one principal out takes its account in the list, too; the account alone leaves out nobody but its root user.
	return who == root || !slices.Contains(not, who) || !slices.Contains(not, root) && !slices.Contains(not, u.Account)
}

// met reports whether a request of EC2 for the account meets conditions, as far as that is known; open are the keys of those of which it is not.
func (u KeyUse) met(conditions map[string]map[string]any, action string) (ok bool, open []string) {
	for _, op := range sorted(conditions) {
		for _, key := range sorted(conditions[op]) {
			value, known := u.says(key, action)
			if !known {
				open = append(open, key)
				continue
			}
			switch ok, known := compare(op, words(conditions[op][key]), value); {
			case !known:
				open = append(open, op+" "+key)
			case !ok:
				return false, nil
			}
		}
	}
	return true, open
}

// says is what a request of EC2 says of a key, nothing if it has none; known is false for what differs from one to the other.
func (u KeyUse) says(key, action string) (value string, known bool) {
	switch strings.ToLower(key) {
	case "kms:grantisforawsresource":
		if strings.EqualFold(action, "kms:CreateGrant") {
			return "true", true
		}
		return "", true
	case "kms:calleraccount", "aws:principalaccount":
		return u.Account, true
	case "kms:viaservice":
		host := "ec2." + u.part(3) + ".amazonaws.com"
		if u.part(1) == "aws-cn" {
			host += ".cn"
		}
		return host, true
	case "aws:securetransport":
		return "true", true
	}
	return "", false
}

// compare judges one condition on a value, which is empty if the request has none; known is false for operators that are not known here.
func compare(operator string, values []string, value string) (ok, known bool) {
	op, ifExists := strings.CutSuffix(operator, "IfExists")
	if value == "" && ifExists {
		return true, true
	}
	equal := slices.ContainsFunc(values, func(v string) bool { return v == value })
	fold := slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, value) })
	switch op {
	case "StringEquals":
		return equal && value != "", true
	case "StringNotEquals":
		return !equal, true
	case "StringEqualsIgnoreCase", "Bool":
		return fold && value != "", true
	case "StringNotEqualsIgnoreCase":
		return !fold, true
	case "StringLike":
		return value != "" && matchesAny(values, value), true
	case "StringNotLike":
		return value == "" || !matchesAny(values, value), true
	case "Null":
		return len(values) == 1 && strings.EqualFold(values[0], fmt.Sprint(value == "")), true
	}
	return false, false
}

// principals are those of AWS that a statement names: services and the users of others' identity providers are not accounts.
func principals(v any) []string {
	if m, ok := v.(map[string]any); ok {
		return words(m["AWS"])
	}
	return words(v)
}

// about reports whether a statement is about an action.
func (s statement) about(action string) bool {
	if s.NotAction != nil {
		return !matchesAny(lower(words(s.NotAction)), strings.ToLower(action))
	}
	return matchesAny(lower(words(s.Action)), strings.ToLower(action))
}
