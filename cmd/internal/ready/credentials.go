package ready

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// reportWait is between two looks at whether IAM has made its credential report.
const reportWait = 2 * time.Second

// rootUser is what the credential report calls the root user.
const rootUser = "<root_account>"

// A user is a line of the credential report.
type user map[string]string

func (u user) is(column string) bool { return u[column] == "true" }

// when is a time of the report; false: there is none.
func (u user) when(column string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, u[column])
	return t, err == nil
}

// users are the lines of IAM's credential report, which is made if there is none of the last four hours.
func (s *Site) users(ctx context.Context) ([]user, error) {
	return read(ctx, s, "credential report", func(ctx context.Context) ([]user, error) {
		api := iam.NewFromConfig(s.Config)
		for {
			out, err := api.GenerateCredentialReport(ctx, &iam.GenerateCredentialReportInput{})
			if err != nil {
				return nil, err
			}
			if out.State == types.ReportStateTypeComplete {
				break
			}
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("wait for IAM's credential report: %w", context.Cause(ctx))
			case <-time.After(reportWait):
			}
		}
		out, err := api.GetCredentialReport(ctx, &iam.GetCredentialReportInput{})
		if err != nil {
			return nil, err
		}
		return parseReport(out.Content)
	})
}

// columns are those that checks read: a report without one of them is another report.
var columns = []string{
	"user", "arn", "password_enabled", "password_last_used", "password_last_changed", "mfa_active",
	"access_key_1_active", "access_key_1_last_rotated", "access_key_1_last_used_date", "access_key_2_active", "access_key_2_last_rotated", "access_key_2_last_used_date",
}

func parseReport(content []byte) (list []user, err error) {
	rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, errors.Join(errors.New("IAM's credential report cannot be read"), err)
	}
	for _, row := range rows[1:] {
		u := user{}
		for n, name := range rows[0] {
			u[name] = row[n]
		}
		for _, c := range columns {
			if _, ok := u[c]; !ok {
				return nil, fmt.Errorf("IAM's credential report has no column %s", c)
			}
		}
		list = append(list, u)
	}
	return list, nil
}

// people are the users without root.
func (s *Site) people(ctx context.Context) (list []user, err error) {
	all, err := s.users(ctx)
	for _, u := range all {
		if u["user"] != rootUser {
			list = append(list, u)
		}
	}
	return list, err
}

// root is the root user.
func (s *Site) root(ctx context.Context) (user, error) {
	all, err := s.users(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range all {
		if u["user"] == rootUser {
			return u, nil
		}
	}
	return nil, errors.New("IAM's credential report has no root user")
}

// days is how long ago something was, in whole days.
func (s *Site) days(t time.Time) int { return int(s.Now.Sub(t) / (24 * time.Hour)) }

// summary is the account's summary of what IAM holds.
func (s *Site) summary(ctx context.Context, key string) (int, error) {
	m, err := read(ctx, s, "account summary", func(ctx context.Context) (map[string]int32, error) {
		out, err := iam.NewFromConfig(s.Config).GetAccountSummary(ctx, &iam.GetAccountSummaryInput{})
		if err != nil {
			return nil, err
		}
		return out.SummaryMap, nil
	})
	if err != nil {
		return 0, err
	}
	n, ok := m[key]
	if !ok {
		return 0, fmt.Errorf("the account's summary says nothing of %s", key)
	}
	return int(n), nil
}

// adminPolicy is AWS's own policy that allows everything.
func (s *Site) adminPolicy() string {
	return "arn:" + s.partition() + ":iam::aws:policy/AdministratorAccess"
}

func (s *Site) attachedTo(ctx context.Context, policy string) (users []string, err error) {
	p := iam.NewListEntitiesForPolicyPaginator(iam.NewFromConfig(s.Config), &iam.ListEntitiesForPolicyInput{PolicyArn: &policy, EntityFilter: types.EntityTypeUser})
	return pages(ctx, p, func(o *iam.ListEntitiesForPolicyOutput) (names []string) {
		for _, u := range o.PolicyUsers {
			names = append(names, aws.ToString(u.UserName))
		}
		return names
	})
}
