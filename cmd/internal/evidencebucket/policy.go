package evidencebucket

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A document is a policy, as it is written. Statements that are not understood are kept as they are.
type document struct {
	Version   string            `json:"Version"`
	ID        string            `json:"Id,omitempty"`
	Statement []json.RawMessage `json:"Statement"`
}

// A statement is one of a policy.
type statement struct {
	Sid          string                      `json:"Sid,omitempty"`
	Effect       string                      `json:"Effect"`
	Principal    any                         `json:"Principal,omitempty"`
	NotPrincipal any                         `json:"NotPrincipal,omitempty"`
	Action       texts                       `json:"Action,omitempty"`
	NotAction    texts                       `json:"NotAction,omitempty"`
	Resource     texts                       `json:"Resource,omitempty"`
	NotResource  texts                       `json:"NotResource,omitempty"`
	Condition    map[string]map[string]texts `json:"Condition,omitempty"`
}

// texts are one text or several, as policies write them; also truths.
type texts []string

func (t *texts) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	all, ok := v.([]any)
	if !ok {
		all = []any{v}
	}
	*t = nil
	for _, v := range all {
		switch v := v.(type) {
		case string, bool, float64:
			*t = append(*t, fmt.Sprint(v))
		default:
			return fmt.Errorf("a policy has %T where a text belongs", v)
		}
	}
	return nil
}

func (t texts) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]string(t))
}

// parsePolicy reads a policy. One statement may stand alone.
func parsePolicy(text string) (*document, error) {
	var d struct {
		document
		Statement json.RawMessage `json:"Statement"`
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return nil, fmt.Errorf("the policy is not what a policy looks like: %w", err)
	}
	out := d.document
	if len(d.Statement) > 0 && d.Statement[0] == '{' {
		out.Statement = []json.RawMessage{d.Statement}
	} else if err := json.Unmarshal(d.Statement, &out.Statement); err != nil {
		return nil, fmt.Errorf("the policy is not what a policy looks like: %w", err)
	}
	return &out, nil
}

// statements are those that are understood. One that is not can only be one that is not ours: it counts for nothing.
func (d *document) statements() (list []statement) {
	if d == nil {
		return nil
	}
	for _, raw := range d.Statement {
		var s statement
		if json.Unmarshal(raw, &s) == nil {
			list = append(list, s)
		}
	}
	return list
}

// all reports whether a principal is everybody.
func all(principal any) bool {
	switch p := principal.(type) {
	case string:
		return p == "*"
	case map[string]any:
		one, ok := p["AWS"]
		if list, is := one.([]any); is {
			return slices.Contains(list, any("*"))
		}
		return ok && one == "*"
	}
	return false
}

// The actions that destroy evidence, and those that weaken what protects it.
var (
	destroying = texts{
		"s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectTagging", "s3:DeleteObjectVersion", "s3:DeleteObjectVersionTagging",
	}
	weakening = texts{
		"s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:PutBucketAcl", "s3:PutBucketLogging", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketOwnershipControls",
		"s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
		"s3:PutReplicationConfiguration",
	}
)

// The names of our statements.
const (
	sidTLS       = "ShotglassTLSOnly"
	sidKeep      = "ShotglassNothingDeleted"
	sidHold      = "ShotglassHoldsStay"
	sidSettings  = "ShotglassSettingsStay"
	sidNoReplace = "ShotglassNothingOverwritten"
	sidLogs      = "ShotglassAccessLogs"
)

const principalKey = "aws:PrincipalArn"

func (p Place) arns(partition string) (bucket, objects string) {
	bucket = "arn:" + partition + ":s3:::" + p.Bucket
	return bucket, bucket + "/*"
}

// wanted are the statements of an evidence bucket.
func wanted(p Place, partition string, breakGlass []string) []statement {
	bucket, objects := p.arns(partition)
	others := map[string]map[string]texts{"ArnNotLike": {principalKey: breakGlass}}
	return []statement{
		{Sid: sidTLS, Effect: "Deny", Principal: map[string]string{"AWS": "*"}, Action: texts{"s3:*"}, Resource: texts{bucket, objects}, Condition: map[string]map[string]texts{"Bool": {"aws:SecureTransport": {"false"}}}},
		{Sid: sidKeep, Effect: "Deny", Principal: map[string]string{"AWS": "*"}, Action: destroying, Resource: texts{objects}, Condition: others},
		{Sid: sidHold, Effect: "Deny", Principal: map[string]string{"AWS": "*"}, Action: texts{"s3:PutObjectLegalHold"}, Resource: texts{objects},
			Condition: map[string]map[string]texts{"ArnNotLike": {principalKey: breakGlass}, "StringEquals": {"s3:object-lock-legal-hold": {"OFF"}}}},
		{Sid: sidSettings, Effect: "Deny", Principal: map[string]string{"AWS": "*"}, Action: weakening, Resource: texts{bucket}, Condition: others},
		{Sid: sidNoReplace, Effect: "Deny", Principal: map[string]string{"AWS": "*"}, Action: texts{"s3:PutObject"}, Resource: texts{objects},
			Condition: map[string]map[string]texts{"Null": {"s3:if-none-match": {"true"}}, "Bool": {"s3:ObjectCreationOperation": {"true"}}}},
	}
}

// forLogs are the statements of a bucket that the access log of another is written to.
func forLogs(logs, of Place, partition, account string, breakGlass []string) []statement {
	_, objects := logs.arns(partition)
	source, _ := of.arns(partition)
	var list []statement
	for _, s := range wanted(logs, partition, breakGlass) {
		if s.Sid == sidTLS || s.Sid == sidKeep || s.Sid == sidSettings { // whoever writes logs sends no condition
			list = append(list, s)
		}
	}
	return append(list, statement{Sid: sidLogs, Effect: "Allow", Principal: map[string]string{"Service": "logging.s3.amazonaws.com"}, Action: texts{"s3:PutObject"}, Resource: texts{objects},
		Condition: map[string]map[string]texts{"ArnLike": {"aws:SourceArn": {source}}, "StringEquals": {"aws:SourceAccount": {account}}}})
}

// A merge is a policy with statements added.
type merge struct {
	policy *document
	added  []string // Sids that were not there
	kept   []string // Sids that are there with another content, and stay
}

// with adds statements to a policy. One that is there under its name stays as it is, whatever it says: what says less is reported,
// never replaced, since nobody knows who relies on it.
func (d *document) with(add []statement) (merge, error) {
	out := document{Version: "2012-10-17"}
	have := map[string]statement{}
	if d != nil {
		out = *d
		out.Statement = slices.Clone(d.Statement)
		for _, s := range d.statements() {
			have[s.Sid] = s
		}
	}
	m := merge{policy: &out}
	for _, s := range add {
		if old, ok := have[s.Sid]; ok {
			if text(old) != text(s) {
				m.kept = append(m.kept, s.Sid)
			}
			continue
		}
		raw, err := json.Marshal(s)
		if err != nil {
			return m, err
		}
		out.Statement = append(out.Statement, raw)
		m.added = append(m.added, s.Sid)
	}
	return m, nil
}

// text is what a statement says, the same for all ways to write it.
func text(s statement) string {
	for _, list := range []*texts{&s.Action, &s.NotAction, &s.Resource, &s.NotResource} {
		*list = slices.Sorted(slices.Values(*list))
	}
	cond := map[string]map[string]texts{}
	for op, keys := range s.Condition {
		cond[op] = map[string]texts{}
		for k, v := range keys {
			cond[op][strings.ToLower(k)] = slices.Sorted(slices.Values(v))
		}
	}
	s.Condition = cond
	b, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (d *document) String() string {
	b, err := json.Marshal(d)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// like matches a pattern of a policy.
func like(pattern, s string) bool {
	q := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("(?s)^" + q + "$").MatchString(s)
}

// covers reports whether a statement denies everybody an action on a resource, but for its conditions.
func (s statement) covers(action, resource string) bool {
	return s.Effect == "Deny" && all(s.Principal) && s.NotPrincipal == nil && len(s.NotAction) == 0 && len(s.NotResource) == 0 &&
		slices.ContainsFunc(s.Action, func(a string) bool { return like(strings.ToLower(a), strings.ToLower(action)) }) &&
		slices.ContainsFunc(s.Resource, func(r string) bool { return like(r, resource) })
}

// exempt are the principals that a statement's conditions leave out. ok is false when there is another condition, or one
// that leaves out everybody.
func (s statement) exempt() (arns []string, ok bool) {
	for op, keys := range s.Condition {
		switch op {
		case "ArnNotLike", "ArnNotEquals", "StringNotLike", "StringNotEquals":
		default:
			return nil, false
		}
		for k, v := range keys {
			if !strings.EqualFold(k, principalKey) || slices.Contains(v, "*") {
				return nil, false
			}
			arns = append(arns, v...)
		}
	}
	return arns, true
}

// denies reports whether a policy denies everybody all these actions on a resource, and whom it leaves out.
func (d *document) denies(actions texts, resource string) (missing, exempt []string) {
	for _, a := range actions {
		found := false
		for _, s := range d.statements() {
			if left, ok := s.exempt(); ok && s.covers(a, resource) {
				found = true
				exempt = append(exempt, left...)
			}
		}
		if !found {
			missing = append(missing, a)
		}
	}
	slices.Sort(exempt)
	return missing, slices.Compact(exempt)
}

// deniesWhen reports whether a policy denies everybody an action on a resource under exactly such conditions.
func (d *document) deniesWhen(action, resource string, accept func(map[string]map[string]texts) bool) bool {
	return slices.ContainsFunc(d.statements(), func(s statement) bool { return s.covers(action, resource) && accept(s.Condition) })
}
