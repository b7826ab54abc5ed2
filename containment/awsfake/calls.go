package awsfake

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A Call is one call that reached the cloud, with what came of it.
type Call struct {
	Seq       int    // from 1, of all calls
	Attempt   int    // from 1, as the SDK counts them for one call of the program
	Write     int    // from 1, of the calls that change something; 0: it does not, or it is a dry run
	Operation string // "DescribeInstances"
	Action    string // of IAM: "ec2:DescribeInstances"
	Resources []string
	Also      string // the action that tagging what is made needs, on the first resource
	Account   string
	Region    string
	Principal string
	Time      time.Time
	Form      url.Values
	Writes    bool
	DryRun    bool
	Error     string
}

// A Fault is what goes wrong with a call. The zero value is nothing.
type Fault struct {
	// Error is answered; the call has no effect unless After is set.
	Error *Error
	// Lost has the connection end without an answer.
	Lost bool
	// Crash has the program die there: neither this answer nor that to any later call reaches it, until Revive.
	Crash bool
	// After says that the call has had its effect when that happens.
	After bool
}

// The faults that are met most.
var (
	Throttled   = &Error{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable}
	Unavailable = &Error{Code: "Unavailable", Message: "The service is unavailable. Please try again shortly.", Status: http.StatusServiceUnavailable}
)

// Denied is the refusal of an action, as its service words it.
func Denied(c *Call) *Error {
	message := fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
		c.Principal, c.Action, strings.Join(c.Resources, ", "), c.Action)
	if strings.HasPrefix(c.Action, "ec2:") {
		return &Error{Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation. " + message, Status: http.StatusForbidden}
	}
	return &Error{Code: "AccessDenied", Message: message, Status: http.StatusForbidden}
}

// Revive lets calls through again after a crash, to the next run of the program.
func (c *Cloud) Revive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = false
}

// Calls returns all calls so far. Reset forgets them.
func (c *Cloud) Calls() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// Reset forgets the calls so far, and counts from 1 again.
func (c *Cloud) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls, c.writes = nil, 0
}

// A Policy is an identity-based policy of IAM. Conditions are not looked at.
type Policy struct {
	Version   string
	Statement []Statement
}

// A Statement is one of a policy.
type Statement struct {
	Sid       string `json:",omitempty"`
	Effect    string
	Action    Strings
	Resource  Strings
	Condition json.RawMessage `json:",omitempty"`
}

// Strings are one string or several, as IAM writes them.
type Strings []string

// UnmarshalJSON reads a string or a list of them.
func (s *Strings) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*s = make(Strings, 1)
		return json.Unmarshal(b, &(*s)[0])
	}
	return json.Unmarshal(b, (*[]string)(s))
}

// Allows reports whether the policy allows an action on a resource.
func (p *Policy) Allows(action, resource string) bool {
	allowed := false
	for _, s := range p.Statement {
		if !slices.ContainsFunc(s.Action, func(a string) bool { return like(strings.ToLower(a), strings.ToLower(action)) }) ||
			!slices.ContainsFunc(s.Resource, func(r string) bool { return like(r, resource) }) {
			continue
		}
		if s.Effect == "Deny" {
			return false
		}
		allowed = true
	}
	return allowed
}

// Sum compares a policy with the calls that were made: with what they needed and it does not allow (in the part whose statements' Sid
// begins with a word), and with the actions in that part that none needed.
func (p *Policy) Sum(part string, calls []Call) (missing, unused []string) {
	own := Policy{}
	for _, s := range p.Statement {
		if strings.HasPrefix(s.Sid, part) {
			own.Statement = append(own.Statement, s)
		}
	}
	used := map[string]bool{}
	for _, c := range calls {
		if c.Action == "sts:GetCallerIdentity" { // which needs no permission
			continue
		}
		if c.Also != "" {
			used[strings.ToLower(c.Also)] = true
		}
		used[strings.ToLower(c.Action)] = true
		for _, r := range c.Resources {
			if !own.Allows(c.Action, r) {
				missing = append(missing, c.Action+" on "+r)
			}
		}
	}
	for _, s := range own.Statement {
		for _, a := range s.Action {
			if !used[strings.ToLower(a)] {
				unused = append(unused, s.Sid+": "+a)
			}
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing), unused
}

// like matches a pattern with * and ?.
func like(pattern, s string) bool {
	q := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("^" + q + "$").MatchString(s)
}

// Restrict lets a principal, by ARN, do what a policy allows and nothing else. Until then it may do all.
func (c *Cloud) Restrict(arn string, policy []byte) error {
	p := &Policy{}
	if err := json.Unmarshal(policy, p); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	who := c.Principal(arn)
	c.Edit(func() { who.Policy = p })
	return nil
}

// authorize refuses what the caller's policy does not allow.
func authorize(p *Principal, c *Call) error {
	if p.Policy == nil || c.Action == "sts:GetCallerIdentity" { // which needs no permission
		return nil
	}
	for _, r := range c.Resources {
		if !p.Policy.Allows(c.Action, r) {
			return Denied(c)
		}
	}
	if c.Also != "" && !p.Policy.Allows(c.Also, c.Resources[0]) {
		return Denied(&Call{Principal: c.Principal, Action: c.Also, Resources: c.Resources[:1]})
	}
	return nil
}
