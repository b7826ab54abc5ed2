package awsfake

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// A bucketStatement is one of a bucket's policy. Of conditions those about who calls are looked at, and that every call comes by TLS.
type bucketStatement struct {
	Sid, Effect string
	Principal   any
	Action      Strings
	Resource    Strings
	Condition   map[string]map[string]Strings
}

func bucketPolicy(text string) (list []bucketStatement, err error) {
	var p struct {
		Version   string
		Statement []bucketStatement
	}
	err = json.Unmarshal([]byte(text), &p)
	return p.Statement, err
}

// acceptsPolicy refuses what S3 does: no policy, another bucket's, and one that keeps the caller from changing it, unless the caller says so.
func (b *Bucket) acceptsPolicy(r *Request) error {
	list, err := bucketPolicy(string(r.Body))
	if err != nil || len(list) == 0 {
		return fail("MalformedPolicy", "This policy contains invalid Json: %v", err)
	}
	for _, s := range list {
		for _, res := range s.Resource {
			if res != onBucket(r)[0] && !strings.HasPrefix(res, onBucket(r)[0]+"/") {
				return fail("MalformedPolicy", "Policy has invalid resource")
			}
		}
	}
	next := &Bucket{Name: b.Name, Policy: string(r.Body)}
	if next.denies("s3:PutBucketPolicy", r.Principal) && r.HTTP.Header.Get("X-Amz-Confirm-Remove-Self-Bucket-Access") != "true" {
		return &Error{Code: "AccessDenied", Message: "The new bucket policy will not allow you to update bucket policies in the future.", Status: http.StatusForbidden}
	}
	return nil
}

// denies reports whether the bucket's policy denies a principal an action on the bucket. The root user can always change the policy.
func (b *Bucket) denies(action string, p *Principal) bool {
	who := p.ARN
	if p.Issuer != "" {
		who = p.Issuer // aws:PrincipalArn of a session is its role's
	}
	if strings.HasSuffix(who, ":root") && strings.HasSuffix(action, "BucketPolicy") {
		return false
	}
	list, err := bucketPolicy(b.Policy)
	if err != nil {
		return false
	}
	resource := "arn:aws:s3:::" + b.Name
	return slices.ContainsFunc(list, func(s bucketStatement) bool {
		return s.Effect == "Deny" && s.all() && slices.ContainsFunc(s.Action, func(a string) bool { return like(a, action) }) &&
			slices.ContainsFunc(s.Resource, func(res string) bool { return like(res, resource) }) && s.applies(who)
	})
}

// lets reports whether the bucket's policy allows an action on the bucket to a principal of another account.
func (b *Bucket) lets(action string, p *Principal) bool {
	list, err := bucketPolicy(b.Policy)
	if err != nil {
		return false
	}
	resource := "arn:aws:s3:::" + b.Name
	return slices.ContainsFunc(list, func(s bucketStatement) bool {
		return s.Effect == "Allow" && s.names(p.Account) && slices.ContainsFunc(s.Action, func(a string) bool { return like(a, action) }) &&
			slices.ContainsFunc(s.Resource, func(res string) bool { return like(res, resource) })
	})
}

// names reports whether a statement is about an account as a whole, or about everybody.
func (s bucketStatement) names(account string) bool {
	m, ok := s.Principal.(map[string]any)
	return s.all() || ok && (m["AWS"] == account || m["AWS"] == "arn:aws:iam::"+account+":root")
}

// applies reports whether all conditions hold for a caller, by TLS. One that is not known holds.
func (s bucketStatement) applies(who string) bool {
	for op, keys := range s.Condition {
		for key, values := range keys {
			switch {
			case key == "aws:PrincipalArn" && strings.HasSuffix(op, "NotLike"):
				if slices.ContainsFunc(values, func(v string) bool { return like(v, who) }) {
					return false
				}
			case key == "aws:SecureTransport":
				if !slices.Contains(values, "true") {
					return false
				}
			}
		}
	}
	return true
}

// all reports whether a statement is about everybody.
func (s bucketStatement) all() bool {
	m, ok := s.Principal.(map[string]any)
	return !ok && s.Principal == "*" || ok && m["AWS"] == "*"
}
