package awsfake

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Trust is the trust policy of a role: who may assume it, and with which external id. Its zero
// value trusts everyone.
type Trust struct {
	Principals []string // ARNs, or account ids; none: all
	ExternalID string
	// SourceIdentity says that a session must have one.
	SourceIdentity bool
}

// AddRole makes a role, by ARN, that can be assumed.
func (c *Cloud) AddRole(arn string, t Trust) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account(field(arn, 4))
	c.roles[arn] = t
}

func (c *Cloud) stsService() *service {
	return &service{prefix: "sts", proto: query, ops: map[string]operation{
		"GetCallerIdentity": {do: func(r *Request) (any, error) {
			return []X{el("Arn", r.Principal.ARN), el("UserId", r.Principal.UserID), el("Account", r.Principal.Account)}, nil
		}},
		"GetAccessKeyInfo": {do: accessKeyInfo},
		"AssumeRole":       {do: assumeRole, on: func(r *Request) []string { return []string{r.Form.Get("RoleArn")} }},
	}}
}

func assumeRole(r *Request) (any, error) {
	arn, session := r.Form.Get("RoleArn"), r.Form.Get("RoleSessionName")
	t, ok := r.Cloud.roles[arn]
	trusted := len(t.Principals) == 0 || slices.ContainsFunc(t.Principals, func(p string) bool { return p == r.Principal.ARN || p == r.Principal.Account })
	if !ok || !trusted || t.ExternalID != r.Form.Get("ExternalId") || t.SourceIdentity && r.Form.Get("SourceIdentity") == "" {
		return nil, &Error{Code: "AccessDenied", Status: http.StatusForbidden,
			Message: "User: " + r.Principal.ARN + " is not authorized to perform: sts:AssumeRole on resource: " + arn}
	}
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	p := &Principal{
		ARN:     "arn:" + field(arn, 1) + ":sts::" + field(arn, 4) + ":assumed-role/" + name + "/" + session,
		Account: field(arn, 4), AccessKey: r.Cloud.id("ASIA", 16), Session: session, SourceIdentity: r.Form.Get("SourceIdentity"), Issuer: arn,
	}
	if p.SourceIdentity == "" {
		p.SourceIdentity = r.Principal.SourceIdentity // it follows chained roles
	}
	for _, q := range r.Cloud.principals {
		if q.ARN == arn {
			p.Policy = q.Policy
		}
	}
	id := r.Cloud.id("AROA", 17)
	p.UserID = id + ":" + session
	r.Cloud.principals[p.AccessKey] = p
	return []X{
		el("Credentials", []X{el("AccessKeyId", p.AccessKey), el("SecretAccessKey", "secret"), el("SessionToken", "token"),
			// The SDK compares it with the real time.
			el("Expiration", time.Now().UTC().Add(time.Hour).Format(time.RFC3339))}),
		el("AssumedRoleUser", []X{el("Arn", p.ARN), el("AssumedRoleId", p.UserID)}),
		el("SourceIdentity", p.SourceIdentity),
	}, nil
}
