package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/lockdown"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// The environment of the function.
const (
	envSecret   = "SHOTGLASS_EXTERNAL_ID_SHA256"     // digest of the secret that messages bring, in hexadecimal
	envAudit    = "SHOTGLASS_AUDIT_TOPIC"            // ARN of the topic that is told what happens
	envJournal  = "SHOTGLASS_JOURNAL"                // s3://BUCKET/PREFIX/
	envRole     = "SHOTGLASS_AWS_ROLE"               // name of the role in other accounts
	envRoleID   = "SHOTGLASS_AWS_EXTERNAL_ID"        // external id in that role's trust policy
	envAccounts = "SHOTGLASS_ACCOUNTS"               // other accounts that targets may be in, or *
	envGlass    = "SHOTGLASS_BREAK_GLASS"            // what must never be contained
	envForensic = "SHOTGLASS_CONTAIN_FORENSIC"       // what is let in to isolated instances
	envTag      = "SHOTGLASS_CONTAIN_QUARANTINE_TAG" // for an organisation's service control policy
	envUntrack  = "SHOTGLASS_CONTAIN_UNTRACK_WAIT"
	envWatch    = "SHOTGLASS_CONTAIN_WATCH"
)

// settings are what the environment says.
type settings struct {
	secret       [sha256.Size]byte
	audit        string
	journal      string
	bucket       s3.Options
	role, roleID string
	accounts     []string
	glass        []containment.Target
	options      containment.Options
	watch        time.Duration
}

var accountIDs = regexp.MustCompile(`^[0-9]{12}$`)

// maxWait bounds times: a function runs for 15 minutes at most.
const maxWait = 10 * time.Minute

// readSettings reads the environment. Its error names the variable, and does not repeat what may be a secret.
func readSettings(getenv func(string) string) (s settings, err error) {
	digest, err := hex.DecodeString(getenv(envSecret))
	if err != nil || len(digest) != len(s.secret) {
		return s, fmt.Errorf("%s is not the SHA-256 of the external id, 64 hexadecimal digits", envSecret)
	}
	copy(s.secret[:], digest)
	s.audit = getenv(envAudit)
	if err := lockdown.CheckTopic(s.audit); err != nil {
		return s, fmt.Errorf("%s: %w", envAudit, err)
	}
	s.journal = getenv(envJournal)
	if s.bucket.Bucket, s.bucket.Prefix, err = s3.ParseURL(s.journal); err != nil {
		return s, fmt.Errorf("%s: %w", envJournal, err)
	}
	s.role, s.roleID = getenv(envRole), getenv(envRoleID)
	if s.accounts = list(getenv(envAccounts)); len(s.accounts) > 0 && s.role == "" {
		return s, fmt.Errorf("%s names other accounts, and %s no role to assume there", envAccounts, envRole)
	}
	for _, a := range s.accounts {
		if a != "*" && !accountIDs.MatchString(a) {
			return s, fmt.Errorf("%s: %q is no account id of 12 digits", envAccounts, a)
		}
	}
	for _, g := range list(getenv(envGlass)) {
		t, err := containment.ParseTarget(g)
		if err != nil {
			return s, fmt.Errorf("%s: %w", envGlass, err)
		}
		s.glass = append(s.glass, t)
	}
	s.options.Forensic, s.options.QuarantineTag = getenv(envForensic), getenv(envTag)
	if getenv(envUntrack) != "" {
		w, err := span(getenv, envUntrack, 0)
		if err != nil {
			return s, err
		}
		s.options.UntrackWait = &w
	}
	s.watch, err = span(getenv, envWatch, time.Minute)
	return s, err
}

func span(getenv func(string) string, name string, otherwise time.Duration) (time.Duration, error) {
	v := getenv(name)
	if v == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 || d > maxWait {
		return 0, fmt.Errorf("%s: %q is no time from 0s to %s", name, v, maxWait)
	}
	return d, nil
}

// list takes a list apart that has commas or spaces in it.
func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
}
