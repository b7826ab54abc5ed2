package iam

import (
	"context"
	"errors"
	"fmt"
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
	q := FindQuarantine(list, d.partition, account, key, value)
	for _, err := range q.Unread {
		d.warn("%v", err)
	}
	found := q.By
	if found == nil {
		d.open("scp-none", fmt.Sprintf("the tag %s=%s has no effect: none of the %d service control policies on account %s denies everything to its bearers", key, value, len(list), account),
			"attach the one in docs/containment.md from the management account")
		return "which nothing acts on"
	}
	d.evidence["service_control_policy"] = containment.State(found.Document)
	name := fmt.Sprintf("the service control policy %s (%s, on %s)", found.Name, found.ID, found.On)
	if q.Unless != "" {
		d.open("scp-condition", fmt.Sprintf("%s denies only requests that also meet %s", name, q.Unless), "see whether that leaves the attacker out")
	}
	d.unguarded(name, key, q)
	return "to which " + name + " denies everything"
}

// unguarded says by which calls the tag may be taken off again by others than the responder.
func (d *draft) unguarded(name, key string, q Quarantine) {
	free := q.Free(UserTagging...)
	if d.role {
		free = q.Free(RoleTagging...)
	}
	if len(free) > 0 {
		d.known("scp-tag-not-protected", fmt.Sprintf("no service control policy keeps others from %s with the key %s%s: another principal of the attacker may take the tag off", strings.Join(free, ", "), key, q.InAnySpelling()),
			"add the statement ProtectQuarantine of docs/containment.md to "+name)
	}
}
