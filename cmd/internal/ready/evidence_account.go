package ready

import (
	"context"
	"slices"

	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
)

var evidenceAccount = Check{
	ID: "evidence-account", Title: "the evidence bucket is not of an account that evidence is taken from",
	Why:      "Who has taken over an account has what is in it: its root user undoes the policy of a bucket, its administrators end a lock in governance mode and delete the key. Evidence of an account belongs into another one.",
	Severity: High, Account: true,
	Fix:     "shotglass bucket create --break-glass ARN NAME, with credentials of an account that has evidence and nothing else",
	Actions: []string{"s3:ListAllMyBuckets", "s3:ListBucket"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		if s.Bucket == "" {
			return []Finding{without("", "none was named: --bucket")}, nil
		}
		all, err := s.buckets(ctx)
		if err != nil {
			return nil, err
		}
		mine := slices.ContainsFunc(all, func(b bucket) bool { return b.name == s.Bucket })
		switch {
		case mine && s.Account == s.Forensic:
			return []Finding{pass(s.Bucket, "this is the forensic account, which it is of")}, nil
		case mine:
			return []Finding{fail(s.Bucket, "it is of this account")}, nil
		case !s.keeper:
			return []Finding{pass(s.Bucket, "this account has no such bucket")}, nil
		}
		place := evidencebucket.Place{Bucket: s.Bucket, Owner: s.Forensic, PathStyle: s.Config.BaseEndpoint != nil}
		switch {
		case !place.Taken(ctx, s.Config):
			return []Finding{without(s.Bucket, "%v", evidencebucket.ErrNoBucket)}, nil
		case s.Account == s.Forensic:
			return []Finding{fail(s.Bucket, "it is not of the forensic account, which is this one")}, nil
		case s.Forensic == "":
			return []Finding{pass(s.Bucket, "this account has no such bucket; whose it is was not asked: --forensic-account")}, nil
		}
		owned, err := place.Owned(ctx, s.Config, s.Account)
		switch {
		case err != nil:
			f := unknown(s.Bucket, err)
			f.Detail = "it is not of this account; whether it is of the forensic one: " + f.Detail
			return []Finding{f}, nil
		case !owned:
			return []Finding{fail(s.Bucket, "it is not of the forensic account %s, nor of this one", s.Forensic)}, nil
		}
		return []Finding{pass(s.Bucket, "it is of the forensic account")}, nil
	},
}
