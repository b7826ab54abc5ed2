package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/containment"
)

// quarantine drafts the tag that a policy of the organisation acts on: KEY, or KEY=VALUE.
func (d *draft) quarantine(ctx context.Context, org Organization, tag string) error {
	if tag == "" {
		return nil
	}
	key, value, ok := strings.Cut(tag, "=")
	if !ok {
		value = "true"
	}
	by := d.boundBy(ctx, org, key, value)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c, err := d.change(ctx, d.either(userTag, roleTag), key, state(value), fmt.Sprintf("tag the %s %s=%s, %s", d, key, value, by))
	if err != nil {
		return err
	}
	c.Risk = RiskTag
	return nil
}

// boundBy says which service control policy acts on the tag, and as residuals why none does, or not wholly.
func (d *draft) boundBy(ctx context.Context, org Organization, key, value string) string {
	const unseen = "for the organisation's policy"
	see := "see in the management account that the policy is attached: docs/containment.md has it"
	if org == nil {
		d.known("scp-not-checked", "whether a service control policy denies what is tagged "+key+" was not looked at; none binds the management account", see)
		return unseen
	}
	account := d.plan.Target.Account
	list, err := org.Policies(ctx, account)
	switch {
	case errors.Is(err, ErrUnbound):
		d.open("scp-none", fmt.Sprintf("the tag %s has no effect: %v", key, err), "rely on the deny policies, and watch")
		return "which nothing acts on"
	case err != nil:
		d.known("scp-not-checked", fmt.Sprintf("whether a service control policy denies what is tagged %s cannot be seen with your credentials (%v); none binds the management account", key, err), see)
		return unseen
	}
	var found *ControlPolicy
	except := ""
	guarded := map[string]bool{}
	for i, p := range list {
		all, err := statements(p.Document)
		if err != nil {
			d.warn("the service control policy %s (%s) could not be read: %v", p.Name, p.ID, err)
			continue
		}
		for _, s := range all {
			if ok, unless := s.quarantines(key, value); ok && (found == nil || except != "" && unless == "") {
				found, except = &list[i], unless
			}
			for _, a := range s.protected(key) {
				guarded[strings.ToLower(a)] = true
			}
		}
	}
	if found == nil {
		d.open("scp-none", fmt.Sprintf("the tag %s=%s has no effect: none of the %d service control policies on account %s denies everything to its bearers", key, value, len(list), account),
			"attach the one in docs/containment.md from the management account")
		return "which nothing acts on"
	}
	d.evidence["service_control_policy"] = containment.State(found.Document)
	name := fmt.Sprintf("the service control policy %s (%s, on %s)", found.Name, found.ID, found.On)
	if except != "" {
		d.open("scp-condition", fmt.Sprintf("%s denies only requests that also meet %s", name, except), "see whether that leaves the attacker out")
	}
	d.unguarded(name, key, guarded)
	return "to which " + name + " denies everything"
}

// unguarded says by which calls the tag may be taken off again by others than the responder.
func (d *draft) unguarded(name, key string, guarded map[string]bool) {
	need := []string{"iam:TagUser", "iam:UntagUser"}
	if d.role {
		need = []string{"iam:TagRole", "iam:UntagRole", "sts:TagSession"}
	}
	free := slices.DeleteFunc(need, func(a string) bool { return guarded[strings.ToLower(a)] || guarded["*"] })
	if len(free) > 0 {
		d.known("scp-tag-not-protected", fmt.Sprintf("no service control policy keeps others from %s with the key %s: another principal of the attacker may take the tag off", strings.Join(free, ", "), key),
			"add the statement ProtectQuarantine of docs/containment.md to "+name)
	}
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
