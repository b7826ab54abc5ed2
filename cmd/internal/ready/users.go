package ready

import (
	"context"
	"fmt"
	"strings"
)

// Ages in days.
const (
	keyAge      = 90
	passwordAge = 90
	idleAge     = 30
)

var userMFA = Check{
	ID: "user-mfa", Title: "users with a password have a second factor",
	Why:      "A phished password is the way in that leaves the least behind: a sign-in that looks like any other.",
	Severity: High, Prowler: "iam_user_mfa_enabled_console_access", Account: true,
	Fix:     "aws iam enable-mfa-device --user-name {resource} --serial-number ARN --authentication-code1 CODE --authentication-code2 CODE",
	Actions: []string{"iam:GenerateCredentialReport", "iam:GetCredentialReport"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		people, err := s.people(ctx)
		for _, u := range people {
			switch {
			case !u.is("password_enabled"):
				list = append(list, without(u["user"], "it has no password"))
			case u.is("mfa_active"):
				list = append(list, pass(u["user"], "it has one"))
			default:
				list = append(list, fail(u["user"], "it has a password and no second factor"))
			}
		}
		return list, err
	},
}

var userKeyAge = Check{
	ID: "key-age", Title: fmt.Sprintf("access keys are younger than %d days", keyAge),
	Why:      "The older a key, the more places it was copied to, and the wider the time in which a leak must be looked for.",
	Severity: Medium, Prowler: "iam_rotate_access_key_90_days", Account: true,
	Fix:     "aws iam create-access-key --user-name {resource}, put it where the old one is used, then aws iam update-access-key --user-name {resource} --access-key-id AKIA... --status Inactive",
	Actions: []string{"iam:GenerateCredentialReport", "iam:GetCredentialReport"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		all, err := s.users(ctx)
		for _, u := range all {
			var old []string
			keys := 0
			for _, n := range []string{"1", "2"} {
				if !u.is("access_key_" + n + "_active") {
					continue
				}
				keys++
				made, known := u.when("access_key_" + n + "_last_rotated")
				switch {
				case !known:
					old = append(old, "nobody knows how old key "+n+" is")
				case s.days(made) >= keyAge:
					old = append(old, fmt.Sprintf("key %s is %d days old", n, s.days(made)))
				}
			}
			switch {
			case keys == 0:
				list = append(list, without(u["user"], "it has no active key"))
			case len(old) > 0:
				list = append(list, fail(u["user"], "%s", strings.Join(old, ", ")))
			default:
				list = append(list, pass(u["user"], "%d active", keys))
			}
		}
		return list, err
	},
}

var userPasswordAge = Check{
	ID: "password-age", Title: fmt.Sprintf("passwords were changed within %d days", passwordAge),
	Why:      "An old password has had time to leak. Where a second factor is asked for, this matters little.",
	Severity: Low, Account: true,
	Fix:     "aws iam update-account-password-policy --max-password-age 90, or delete the user and let people in through an identity provider",
	Actions: []string{"iam:GenerateCredentialReport", "iam:GetCredentialReport"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		people, err := s.people(ctx)
		for _, u := range people {
			changed, known := u.when("password_last_changed")
			switch {
			case !u.is("password_enabled"):
				list = append(list, without(u["user"], "it has no password"))
			case !known:
				list = append(list, fail(u["user"], "nobody knows how old it is"))
			case s.days(changed) >= passwordAge:
				list = append(list, fail(u["user"], "it is %d days old", s.days(changed)))
			default:
				list = append(list, pass(u["user"], "it is %d days old", s.days(changed)))
			}
		}
		return list, err
	},
}

var userIdle = Check{
	ID: "user-idle", Title: fmt.Sprintf("users who can sign in or call did so within %d days", idleAge),
	Why:      "Nobody misses a forgotten user, so nobody notices when an attacker is that user.",
	Severity: Low, Prowler: "iam_user_accesskey_unused", Account: true,
	Fix:     "aws iam delete-login-profile --user-name {resource}; aws iam update-access-key --user-name {resource} --access-key-id AKIA... --status Inactive",
	Actions: []string{"iam:GenerateCredentialReport", "iam:GetCredentialReport"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		people, err := s.people(ctx)
		for _, u := range people {
			able, last := false, -1
			for _, c := range []struct{ on, used string }{
				{"password_enabled", "password_last_used"}, {"access_key_1_active", "access_key_1_last_used_date"}, {"access_key_2_active", "access_key_2_last_used_date"},
			} {
				able = able || u.is(c.on)
				if t, ok := u.when(c.used); ok && (last < 0 || s.days(t) < last) {
					last = s.days(t)
				}
			}
			switch {
			case !able:
				list = append(list, without(u["user"], "it has neither a password nor an active key"))
			case last < 0:
				list = append(list, fail(u["user"], "it was never used"))
			case last >= idleAge:
				list = append(list, fail(u["user"], "it was used %d days ago", last))
			default:
				list = append(list, pass(u["user"], "it was used %d days ago", last))
			}
		}
		return list, err
	},
}

var userAdmin = Check{
	ID: "user-admin", Title: "no user has AdministratorAccess attached",
	Why:      "A user has long-lived keys. Those of an administrator end every case as the worst case; roles give the same power for an hour, with a name in the log.",
	Severity: Medium, Prowler: "iam_user_administrator_access_policy", Account: true,
	Fix:     "aws iam detach-user-policy --user-name {resource} --policy-arn arn:aws:iam::aws:policy/AdministratorAccess",
	Actions: []string{"iam:ListEntitiesForPolicy"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		names, err := s.attachedTo(ctx, s.adminPolicy())
		for _, n := range names {
			list = append(list, fail(n, "it is attached to the user itself"))
		}
		if err == nil && len(names) == 0 {
			list = append(list, pass(s.Account, "none; what groups and other policies give is not looked at"))
		}
		return list, err
	},
}
