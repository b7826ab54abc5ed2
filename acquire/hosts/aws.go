package hosts

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AWS is Margarita Shotgun's section for S3, and more: each key but the first two is the flag of
// its name, with s3- before it.
type AWS struct {
	Bucket string `yaml:"bucket" is:"bucket" doc:"The S3 bucket for the images of hosts without an output, unless --to or --output says otherwise."`
	Prefix string `yaml:"prefix" is:"keys" doc:"How the keys in that bucket begin, such as case-42/."`
	Spill  string `yaml:"spill" is:"path" doc:"The folder in which a capture goes on when the bucket fails."`

	Region      string `yaml:"region" doc:"The region of the bucket; else it is asked."`
	Profile     string `yaml:"profile" doc:"The profile in ~/.aws."`
	Endpoint    string `yaml:"endpoint" is:"endpoint" doc:"The URL of a server other than AWS."`
	PathStyle   bool   `yaml:"path_style" doc:"Name the bucket in the path, as most other servers want."`
	RoleARN     string `yaml:"role_arn" is:"arn" doc:"The role to assume."`
	ExternalID  string `yaml:"external_id" doc:"The external ID for that role."`
	BucketOwner string `yaml:"bucket_owner" is:"account" doc:"The account that must own the bucket, in quotes."`

	KMSKey       string            `yaml:"kms_key" doc:"Encrypt with SSE-KMS under this key: ARN, id or alias."`
	StorageClass string            `yaml:"storage_class" doc:"The storage class of images, such as STANDARD_IA."`
	Tags         map[string]string `yaml:"tags" doc:"Tags of every object."`
	Lock         string            `yaml:"lock" is:"lock" doc:"Lock every object: governance or compliance; needs retain."`
	Retain       string            `yaml:"retain" is:"retain" doc:"Lock for this time, such as 90d or 720h, or until this date, such as 2031-01-31 (in quotes)."`
	LegalHold    bool              `yaml:"legal_hold" doc:"Put a legal hold on every object."`
}

// Locks are the modes of S3 Object Lock.
var Locks = []string{"governance", "compliance"}

func checkLock(s string) error {
	if !slices.Contains(Locks, s) {
		return fmt.Errorf("%q: want %s", s, strings.Join(Locks, " or "))
	}
	return nil
}

func checkRetain(s string) error {
	if _, _, err := ParseRetain(s, time.Now()); err != nil {
		return fmt.Errorf("%q: %w", s, err)
	}
	return nil
}

// ParseRetain takes the time for which an object is locked (90d, 720h) or until which
// (2031-01-31, 2031-01-31T12:00:00Z).
func ParseRetain(s string, now time.Time) (d time.Duration, until time.Time, err error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if until, err = time.Parse(layout, s); err == nil {
			if !until.After(now) {
				return 0, until, errors.New("that is in the past")
			}
			return 0, until, nil
		}
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 36500 {
			return 0, time.Time{}, errors.New("want 1d to 36500d")
		}
		return time.Duration(n) * 24 * time.Hour, time.Time{}, nil
	}
	if d, err = time.ParseDuration(s); err != nil || d < time.Minute {
		return 0, time.Time{}, errors.New("want a time such as 90d or 720h, or a date such as 2031-01-31")
	}
	return d, time.Time{}, nil
}

func checkEndpoint(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.User != nil {
		return &hiddenError{"no valid URL without a password"}
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("%q is not a URL of http or https", s)
	}
	return nil
}

func checkARN(s string) error {
	if p := strings.Split(s, ":"); len(p) < 6 || p[0] != "arn" {
		return fmt.Errorf("%q is not an ARN", s)
	}
	return nil
}

func checkAccount(s string) error {
	if len(s) != 12 || strings.Trim(s, "0123456789") != "" {
		return fmt.Errorf("%q is not the 12 digits of an account", s)
	}
	return nil
}

func checkKeys(s string) error {
	if strings.HasPrefix(s, "/") || strings.Contains(s, "//") || strings.ContainsFunc(s, blank) {
		return fmt.Errorf("%q: want a prefix such as case-42/", s)
	}
	return nil
}

// isPlace reports whether an output is a bucket's.
func isPlace(s string) bool { return strings.HasPrefix(s, "s3://") }

func checkPlace(s string) error {
	rest, bucket := strings.CutPrefix(s, "s3://")
	if !bucket {
		if strings.Contains(s, "://") {
			return fmt.Errorf("%q: want a folder or s3://BUCKET/PREFIX/", s)
		}
		return nil
	}
	name, prefix, _ := strings.Cut(rest, "/")
	if err := checkBucket(name); err != nil {
		return err
	}
	return checkKeys(prefix)
}

// checkAWS looks at what keys of the section mean together.
func (d *decoder) checkAWS(a AWS) {
	if (a.Lock == "") != (a.Retain == "") {
		key := "aws.lock"
		if a.Lock == "" {
			key = "aws.retain"
		}
		d.failKey(key, "aws.lock and aws.retain go together")
	}
	if _, given := d.places["aws.prefix"]; given && a.Prefix != "" && a.Bucket == "" {
		d.failKey("aws.prefix", "aws.prefix is for aws.bucket, and that is missing")
	}
}
