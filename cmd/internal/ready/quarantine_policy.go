package ready

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/containment/iam"
)

var quarantinePolicy = Check{
	ID: "quarantine-policy", Title: "a service control policy denies everything to who bears the quarantine tag, which only the responder may set",
	Why:      "An attacker who watches puts back within half a second what a deny policy took away. A service control policy cannot be undone from within the account, but must be attached before the case: then quarantine is one tag.",
	Severity: Medium, Account: true,
	Fix:     "attach the policy of docs/containment.md from the organisation's management account: aws organizations create-policy --type SERVICE_CONTROL_POLICY --name quarantine --description quarantine --content file://scp.json && aws organizations attach-policy --policy-id ID --target-id {account}",
	Actions: organizationCalls,
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		list, none, err := s.controlPolicies(ctx)
		if none != nil || err != nil {
			return none, err
		}
		key, value, ok := strings.Cut(s.QuarantineTag, "=")
		if !ok {
			value = "true"
		}
		q := iam.FindQuarantine(list, s.partition(), s.Account, key, value)
		if q.By == nil || q.Unless != "" {
			if len(q.Unread) > 0 {
				return nil, errors.Join(q.Unread...)
			}
			if q.By == nil {
				return []Finding{fail(s.Account, "none of the %d service control policies on it denies everything to who bears %s=%s", len(list), key, value)}, nil
			}
			return []Finding{fail(q.By.ID, "%s, on %s, denies only requests that also meet %s", q.By.Name, q.By.On, q.Unless)}, nil
		}
		calls := slices.Concat(iam.UserTagging, iam.RoleTagging)
		if free := q.Free(calls...); len(free) > 0 {
			return []Finding{fail(q.By.ID, "%s, on %s, acts on %s=%s, but no policy keeps others from %s with that key%s", q.By.Name, q.By.On, key, value, strings.Join(free, ", "), q.InAnySpelling())}, nil
		}
		return []Finding{pass(q.By.ID, "%s, on %s", q.By.Name, q.By.On)}, nil
	},
}
