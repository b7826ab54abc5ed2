package ready

import (
	"context"
	"time"
)

var rootKeys = Check{
	ID: "root-keys", Title: "the root user has no access key",
	Why:      "No policy can deny anything to root: a stolen key of root cannot be contained in the account at all.",
	Severity: High, Prowler: "iam_no_root_access_key", Account: true,
	Fix:     "sign in to the console as root: Security credentials, Access keys, Delete; the API cannot do it for root",
	Actions: []string{"iam:GetAccountSummary"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		n, err := s.summary(ctx, "AccountAccessKeysPresent")
		switch {
		case err != nil:
			return nil, err
		case n > 0:
			return []Finding{fail("root", "it has an access key")}, nil
		}
		return []Finding{pass("root", "it has none")}, nil
	},
}

var rootMFA = Check{
	ID: "root-mfa", Title: "the root user has a second factor",
	Why:      "A password of root alone gives everything, the audit trail and the evidence bucket among it, and no policy stands against it.",
	Severity: High, Prowler: "iam_root_mfa_enabled", Account: true,
	Fix:     "sign in to the console as root: Security credentials, Assign MFA device; the API cannot do it for root",
	Actions: []string{"iam:GetAccountSummary"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		n, err := s.summary(ctx, "AccountMFAEnabled")
		switch {
		case err != nil:
			return nil, err
		case n != 1:
			return []Finding{fail("root", "it has none")}, nil
		}
		return []Finding{pass("root", "it has one")}, nil
	},
}

// rootQuiet is how long root was not used if nobody uses it.
const rootQuiet = 30 * 24 * time.Hour

var rootUnused = Check{
	ID: "root-unused", Title: "nobody has used the root user for 30 days",
	Why:      "Where root is used every day, an attacker as root does not stand out.",
	Severity: Medium, Prowler: "iam_avoid_root_usage", Account: true,
	Fix:     "aws cloudtrail lookup-events --lookup-attributes AttributeKey=Username,AttributeValue=root shows what for; give that work a role of its own",
	Actions: []string{"iam:GenerateCredentialReport", "iam:GetCredentialReport"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		root, err := s.root(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range []string{"password_last_used", "access_key_1_last_used_date", "access_key_2_last_used_date"} {
			if t, ok := root.when(c); ok && s.Now.Sub(t) < rootQuiet {
				return []Finding{fail("root", "it was used %d days ago", s.days(t))}, nil
			}
		}
		return []Finding{pass("root", "it was not used")}, nil
	},
}
