package awsfake

import (
	"encoding/base64"
	"strings"
	"time"
)

// A Credentials is a line of IAM's credential report. The zero value of a time is that there is none.
type Credentials struct {
	User                     string // "<root_account>" for root
	Password, MFA            bool
	PasswordUsed, PasswordOf time.Time
	Keys                     [2]ReportedKey
}

// A ReportedKey is an access key as the credential report has it.
type ReportedKey struct {
	Active     bool
	Made, Used time.Time
}

// reportColumns are those of the credential report, in IAM's order.
const reportColumns = "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,mfa_active," +
	"access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service," +
	"access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service," +
	"cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated"

// reportOps are IAM's calls about the whole account.
var reportOps = map[string]operation{
	"GenerateCredentialReport": {do: func(r *Request) (any, error) {
		i := r.Account.identities()
		if i.ReportAfter--; i.ReportAfter >= 0 {
			return []X{el("State", "STARTED")}, nil
		}
		return []X{el("State", "COMPLETE")}, nil
	}},
	"GetCredentialReport": {do: func(r *Request) (any, error) {
		lines := []string{reportColumns}
		when := func(t time.Time, none string) string {
			if t.IsZero() {
				return none
			}
			return t.UTC().Format("2006-01-02T15:04:05+00:00")
		}
		truth := map[bool]string{true: "true", false: "false"}
		for _, c := range r.Account.identities().Report {
			enabled := truth[c.Password]
			if c.User == "<root_account>" {
				enabled = "not_supported"
			}
			f := []string{c.User, "arn:aws:iam::" + r.Account.ID + ":user/" + c.User, when(Start, "N/A"), enabled, when(c.PasswordUsed, "no_information"), when(c.PasswordOf, "N/A"), "N/A", truth[c.MFA]}
			for _, k := range c.Keys {
				f = append(f, truth[k.Active], when(k.Made, "N/A"), when(k.Used, "N/A"), "N/A", "N/A")
			}
			lines = append(lines, strings.Join(append(f, "false", "N/A", "false", "N/A"), ","))
		}
		return []X{el("Content", base64.StdEncoding.EncodeToString([]byte(strings.Join(lines, "\n")))), el("ReportFormat", "text/csv"), el("GeneratedTime", stamp(r.Cloud.now))}, nil
	}},
	"ListEntitiesForPolicy": {on: func(r *Request) []string { return []string{r.Form.Get("PolicyArn")} }, do: func(r *Request) (any, error) {
		var users [][]X
		i := r.Account.identities()
		for _, name := range sorted(i.users) {
			for _, arn := range i.users[name].Attached {
				if arn == r.Form.Get("PolicyArn") {
					users = append(users, []X{el("UserName", i.users[name].Name), el("UserId", i.users[name].ID)})
				}
			}
		}
		return paged(r, "PolicyUsers", users), nil
	}},
}
