package awsfake

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (c *Cloud) iamService() *service {
	ops := map[string]operation{
		"GetAccountSummary":       {do: accountSummary},
		"GetAccessKeyLastUsed":    {do: accessKeyLastUsed},
		"GetInstanceProfile":      {do: instanceProfile, on: onProfile},
		"SimulatePrincipalPolicy": {do: simulate, on: func(r *Request) []string { return []string{r.Form.Get("PolicySourceArn")} }},
	}
	maps.Copy(ops, rightsOps)
	for name, o := range userOps {
		ops[name] = operation{on: onUser, writes: o.writes, do: func(r *Request) (any, error) {
			u := r.Account.identities().users[strings.ToLower(r.Form.Get("UserName"))]
			if u == nil {
				return nil, noSuchEntity("The user with name " + r.Form.Get("UserName") + " cannot be found.")
			}
			if o.writes {
				u.changing()
				return o.do(r, u)
			}
			return o.do(r, u.seen())
		}}
	}
	for name, o := range roleOps {
		ops[name] = operation{on: onRole, writes: o.writes, do: func(r *Request) (any, error) {
			role := r.Account.identities().roles[strings.ToLower(r.Form.Get("RoleName"))]
			if role == nil {
				return nil, noSuchEntity("The role with name " + r.Form.Get("RoleName") + " cannot be found.")
			}
			if o.writes {
				if strings.HasPrefix(role.Path, "/aws-service-role/") || strings.HasPrefix(role.Path, "/aws-reserved/") {
					return nil, fail("UnmodifiableEntity", "Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", role.Name)
				}
				role.changing()
				return o.do(r, role)
			}
			return o.do(r, role.seen())
		}}
	}
	return &service{prefix: "iam", proto: query, ops: ops}
}

type userOp struct {
	do     func(*Request, *User) (any, error)
	writes bool
}

type roleOp struct {
	do     func(*Request, *Role) (any, error)
	writes bool
}

var userOps = map[string]userOp{
	"GetUser": {do: func(r *Request, u *User) (any, error) {
		return []X{el("User", append(u.head("User"), u.rest()...))}, nil
	}},
	"GetLoginProfile": {do: func(r *Request, u *User) (any, error) {
		if !u.Password {
			return nil, noSuchEntity("Login Profile for User " + u.Name + " cannot be found.")
		}
		return []X{el("LoginProfile", []X{el("UserName", u.Name), el("CreateDate", stamp(Start))})}, nil
	}},
	"ListGroupsForUser": {do: func(r *Request, u *User) (any, error) {
		return paged(r, "Groups", each(u.Groups, func(g string) []X {
			return []X{el("Path", "/"), el("GroupName", g), el("GroupId", "AGPA"+g), el("Arn", "arn:aws:iam::"+r.Account.ID+":group/"+g), el("CreateDate", stamp(Start))}
		})), nil
	}},
	"ListMFADevices": {do: func(r *Request, u *User) (any, error) {
		return paged(r, "MFADevices", each(u.MFA, func(m string) []X {
			return []X{el("UserName", u.Name), el("SerialNumber", m), el("EnableDate", stamp(Start))}
		})), nil
	}},
	"ListUserPolicies":         {do: func(r *Request, u *User) (any, error) { return u.listPolicies(r), nil }},
	"GetUserPolicy":            {do: func(r *Request, u *User) (any, error) { return u.getPolicy(r, "UserName") }},
	"PutUserPolicy":            {do: func(r *Request, u *User) (any, error) { return u.putPolicy(r, "UserPolicySizeQuota") }, writes: true},
	"DeleteUserPolicy":         {do: func(r *Request, u *User) (any, error) { return u.deletePolicy(r) }, writes: true},
	"ListAttachedUserPolicies": {do: func(r *Request, u *User) (any, error) { return u.listAttached(r), nil }},
	"AttachUserPolicy":         {do: func(r *Request, u *User) (any, error) { return u.attach(r, "AttachedPoliciesPerUserQuota") }, writes: true},
	"DetachUserPolicy":         {do: func(r *Request, u *User) (any, error) { return u.detach(r) }, writes: true},
	"PutUserPermissionsBoundary": {do: func(r *Request, u *User) (any, error) {
		u.Boundary = r.Form.Get("PermissionsBoundary")
		return nil, nil
	}, writes: true},
	"DeleteUserPermissionsBoundary": {do: func(r *Request, u *User) (any, error) { return u.unbound() }, writes: true},
	"ListUserTags":                  {do: func(r *Request, u *User) (any, error) { return paged(r, "Tags", u.tags()), nil }},
	"TagUser":                       {do: func(r *Request, u *User) (any, error) { return u.tag(r) }, writes: true},
	"UntagUser":                     {do: func(r *Request, u *User) (any, error) { return u.untag(r) }, writes: true},

	"ListAccessKeys": {do: func(r *Request, u *User) (any, error) {
		return paged(r, "AccessKeyMetadata", statuses(u, u.Keys, "AccessKeyId")), nil
	}},
	"UpdateAccessKey": {do: func(r *Request, u *User) (any, error) { return update(r, u.Keys, "AccessKeyId") }, writes: true},
	"ListServiceSpecificCredentials": {do: func(r *Request, u *User) (any, error) {
		return paged(r, "ServiceSpecificCredentials", statuses(u, u.ServiceCredentials, "ServiceSpecificCredentialId")), nil
	}},
	"UpdateServiceSpecificCredential": {do: func(r *Request, u *User) (any, error) {
		return update(r, u.ServiceCredentials, "ServiceSpecificCredentialId")
	}, writes: true},
	"ListSSHPublicKeys": {do: func(r *Request, u *User) (any, error) {
		return paged(r, "SSHPublicKeys", statuses(u, u.SSHKeys, "SSHPublicKeyId")), nil
	}},
	"UpdateSSHPublicKey": {do: func(r *Request, u *User) (any, error) { return update(r, u.SSHKeys, "SSHPublicKeyId") }, writes: true},
	"ListSigningCertificates": {do: func(r *Request, u *User) (any, error) {
		return paged(r, "Certificates", statuses(u, u.Certificates, "CertificateId")), nil
	}},
	"UpdateSigningCertificate": {do: func(r *Request, u *User) (any, error) { return update(r, u.Certificates, "CertificateId") }, writes: true},
}

var roleOps = map[string]roleOp{
	"GetRole": {do: func(r *Request, role *Role) (any, error) {
		x := append(role.head("Role"), role.rest()...)
		x = append(x, el("AssumeRolePolicyDocument", encoded(role.Trust)))
		if !role.Used.IsZero() {
			x = append(x, el("RoleLastUsed", []X{el("LastUsedDate", stamp(role.Used)), el("Region", "eu-west-1")}))
		}
		return []X{el("Role", x)}, nil
	}},
	"UpdateAssumeRolePolicy": {do: func(r *Request, role *Role) (any, error) {
		document := r.Form.Get("PolicyDocument")
		if !json.Valid([]byte(document)) {
			return nil, fail("MalformedPolicyDocument", "This policy contains invalid Json")
		}
		role.Trust = document
		return nil, nil
	}, writes: true},
	"ListInstanceProfilesForRole": {do: func(r *Request, role *Role) (any, error) {
		return paged(r, "InstanceProfiles", each(role.Profiles, func(p string) []X {
			return []X{el("Path", "/"), el("InstanceProfileName", p), el("InstanceProfileId", "AIPA"+p),
				el("Arn", "arn:aws:iam::"+r.Account.ID+":instance-profile/"+p), el("CreateDate", stamp(Start)), {Name: "Roles"}}
		})), nil
	}},
	"ListRolePolicies":         {do: func(r *Request, role *Role) (any, error) { return role.listPolicies(r), nil }},
	"GetRolePolicy":            {do: func(r *Request, role *Role) (any, error) { return role.getPolicy(r, "RoleName") }},
	"PutRolePolicy":            {do: func(r *Request, role *Role) (any, error) { return role.putPolicy(r, "RolePolicySizeQuota") }, writes: true},
	"DeleteRolePolicy":         {do: func(r *Request, role *Role) (any, error) { return role.deletePolicy(r) }, writes: true},
	"ListAttachedRolePolicies": {do: func(r *Request, role *Role) (any, error) { return role.listAttached(r), nil }},
	"AttachRolePolicy":         {do: func(r *Request, role *Role) (any, error) { return role.attach(r, "AttachedPoliciesPerRoleQuota") }, writes: true},
	"DetachRolePolicy":         {do: func(r *Request, role *Role) (any, error) { return role.detach(r) }, writes: true},
	"PutRolePermissionsBoundary": {do: func(r *Request, role *Role) (any, error) {
		role.Boundary = r.Form.Get("PermissionsBoundary")
		return nil, nil
	}, writes: true},
	"DeleteRolePermissionsBoundary": {do: func(r *Request, role *Role) (any, error) { return role.unbound() }, writes: true},
	"ListRoleTags":                  {do: func(r *Request, role *Role) (any, error) { return paged(r, "Tags", role.tags()), nil }},
	"TagRole":                       {do: func(r *Request, role *Role) (any, error) { return role.tag(r) }, writes: true},
	"UntagRole":                     {do: func(r *Request, role *Role) (any, error) { return role.untag(r) }, writes: true},
}

func (e *Entity) head(kind string) []X {
	return []X{el("Path", e.Path), el(kind+"Name", e.Name), el(kind+"Id", e.ID), el("Arn", e.ARN), el("CreateDate", stamp(Start))}
}

func (e *Entity) rest() []X {
	x := []X{members("Tags", e.tags()...)}
	if e.Boundary != "" {
		x = append(x, el("PermissionsBoundary", []X{el("PermissionsBoundaryType", "Policy"), el("PermissionsBoundaryArn", e.Boundary)}))
	}
	return x
}

func (e *Entity) listPolicies(r *Request) []X {
	return paged(r, "PolicyNames", each(slices.Sorted(maps.Keys(e.Policies)), func(n string) []X { return []X{{Text: n}} }))
}

func (e *Entity) getPolicy(r *Request, kind string) (any, error) {
	name := r.Form.Get("PolicyName")
	document, ok := e.Policies[name]
	if !ok {
		return nil, noSuchEntity("The policy with name " + name + " cannot be found.")
	}
	return []X{el(kind, e.Name), el("PolicyName", name), el("PolicyDocument", encoded(document))}, nil
}

func (e *Entity) putPolicy(r *Request, quota string) (any, error) {
	name, document := r.Form.Get("PolicyName"), r.Form.Get("PolicyDocument")
	if !json.Valid([]byte(document)) {
		return nil, fail("MalformedPolicyDocument", "Syntax errors in policy.")
	}
	old, was := e.Policies[name]
	e.Policies[name] = document
	if max := e.iam.Quotas[quota]; e.size() > max {
		delete(e.Policies, name)
		if was {
			e.Policies[name] = old
		}
		return nil, &Error{Code: "LimitExceeded", Message: "Maximum policy size of " + strconv.Itoa(max) + " bytes exceeded for " + e.Name, Status: http.StatusConflict}
	}
	return nil, nil
}

func (e *Entity) deletePolicy(r *Request) (any, error) {
	name := r.Form.Get("PolicyName")
	if _, ok := e.Policies[name]; !ok {
		return nil, noSuchEntity("The policy with name " + name + " cannot be found.")
	}
	delete(e.Policies, name)
	return nil, nil
}

func (e *Entity) listAttached(r *Request) []X {
	return paged(r, "AttachedPolicies", each(e.Attached, func(arn string) []X {
		return []X{el("PolicyName", arn[strings.LastIndexByte(arn, '/')+1:]), el("PolicyArn", arn)}
	}))
}

func (e *Entity) attach(r *Request, quota string) (any, error) {
	arn := r.Form.Get("PolicyArn")
	if slices.Contains(e.Attached, arn) {
		return nil, nil
	}
	if max := e.iam.Quotas[quota]; len(e.Attached) >= max {
		return nil, &Error{Code: "LimitExceeded", Message: "Cannot exceed quota for " + quota + ": " + strconv.Itoa(max), Status: http.StatusConflict}
	}
	e.Attached = append(e.Attached, arn)
	return nil, nil
}

func (e *Entity) detach(r *Request) (any, error) {
	arn := r.Form.Get("PolicyArn")
	i := slices.Index(e.Attached, arn)
	if i < 0 {
		return nil, noSuchEntity("Policy " + arn + " was not found.")
	}
	if e.Attached = slices.Delete(e.Attached, i, i+1); len(e.Attached) == 0 {
		e.Attached = nil
	}
	return nil, nil
}

func (e *Entity) unbound() (any, error) {
	if e.Boundary == "" {
		return nil, noSuchEntity("There is no permissions boundary.")
	}
	e.Boundary = ""
	return nil, nil
}

func (e *Entity) tags() [][]X {
	return each(slices.Sorted(maps.Keys(e.Tags)), func(k string) []X { return []X{el("Key", k), el("Value", e.Tags[k])} })
}

func (e *Entity) tag(r *Request) (any, error) {
	for i := 1; r.Form.Has(member("Tags", i) + ".Key"); i++ {
		e.Tags[r.Form.Get(member("Tags", i)+".Key")] = r.Form.Get(member("Tags", i) + ".Value")
	}
	return nil, nil
}

func (e *Entity) untag(r *Request) (any, error) {
	for i := 1; r.Form.Has(member("TagKeys", i)); i++ {
		delete(e.Tags, r.Form.Get(member("TagKeys", i)))
	}
	return nil, nil
}

func statuses(u *User, list []*Credential, id string) [][]X {
	return each(list, func(c *Credential) []X {
		x := []X{el("UserName", u.Name), el(id, c.ID), el("Status", c.Status), el("CreateDate", stamp(Start)), el("UploadDate", stamp(Start)), el("CertificateBody", "-")}
		if c.Service != "" {
			x = append(x, el("ServiceName", c.Service), el("ServiceUserName", u.Name+"-at-"+c.Service))
		}
		return x
	})
}

func update(r *Request, list []*Credential, id string) (any, error) {
	for _, c := range list {
		if c.ID == r.Form.Get(id) {
			c.Status = r.Form.Get("Status")
			return nil, nil
		}
	}
	return nil, noSuchEntity("The " + id + " " + r.Form.Get(id) + " cannot be found.")
}

func accountSummary(r *Request) (any, error) {
	x := X{Name: "SummaryMap"}
	for k, v := range r.Account.identities().Quotas {
		x.Kids = append(x.Kids, el("entry", []X{el("key", k), el("value", v)}))
	}
	return []X{x}, nil
}

func accessKeyLastUsed(r *Request) (any, error) {
	id := r.Form.Get("AccessKeyId")
	for _, u := range r.Account.identities().users {
		for _, k := range u.Keys {
			if k.ID == id {
				used := []X{el("ServiceName", "N/A"), el("Region", "N/A")}
				if !k.Used.IsZero() {
					used = []X{el("LastUsedDate", stamp(k.Used)), el("ServiceName", "s3"), el("Region", "eu-west-1")}
				}
				return []X{el("UserName", u.Name), el("AccessKeyLastUsed", used)}, nil
			}
		}
	}
	if slices.Contains(r.Account.RootKeys, id) {
		return []X{el("AccessKeyLastUsed", []X{el("ServiceName", "N/A"), el("Region", "N/A")})}, nil
	}
	return nil, noSuchEntity("The Access Key with id " + id + " cannot be found.")
}

// accessKeyInfo is STS's: it knows the keys of all accounts.
func accessKeyInfo(r *Request) (any, error) {
	id := r.Form.Get("AccessKeyId")
	if p := r.Cloud.principals[id]; p != nil {
		return []X{el("Account", p.Account)}, nil
	}
	for _, a := range r.Cloud.accounts {
		if slices.Contains(a.RootKeys, id) {
			return []X{el("Account", a.ID)}, nil
		}
		for _, u := range a.identities().users {
			if slices.ContainsFunc(u.Keys, func(k *Credential) bool { return k.ID == id }) {
				return []X{el("Account", a.ID)}, nil
			}
		}
	}
	for _, a := range r.Cloud.accounts { // a key tells its account itself; here what it did or who made it does
		for _, region := range a.regions {
			for _, e := range region.Trail {
				if k := e.read(); k.key == id || slices.Contains(k.attributes["ResourceName"], id) {
					return []X{el("Account", a.ID)}, nil
				}
			}
		}
	}
	return nil, &Error{Code: "ValidationError", Message: "The access key is not known."}
}

// simulate knows the policies of Restrict. Conditions on keys that it is not given are missing.
func simulate(r *Request) (any, error) {
	var policy *Policy
	source := r.Form.Get("PolicySourceArn")
	_, known := r.Cloud.roles[source]
	for _, p := range r.Cloud.principals {
		if p.ARN == source || p.Issuer == source {
			policy, known = p.Policy, true
		}
	}
	for _, u := range r.Account.identities().users {
		known = known || u.ARN == source
	}
	for _, role := range r.Account.identities().roles {
		known = known || role.ARN == source
	}
	if !known {
		return nil, noSuchEntity("The role or user with arn " + source + " cannot be found.")
	}
	given := map[string]bool{}
	for i := 1; r.Form.Has(member("ContextEntries", i) + ".ContextKeyName"); i++ {
		given[strings.ToLower(r.Form.Get(member("ContextEntries", i)+".ContextKeyName"))] = true
	}
	var results [][]X
	for i := 1; r.Form.Has(member("ActionNames", i)); i++ {
		action, resource := r.Form.Get(member("ActionNames", i)), r.Form.Get(member("ResourceArns", 1))
		decision, missing := "allowed", []string{}
		if policy != nil {
			if !policy.Allows(action, resource) {
				decision = "implicitDeny"
			}
			for _, s := range policy.Statement {
				var keys map[string]map[string]any
				if len(s.Condition) == 0 || json.Unmarshal(s.Condition, &keys) != nil || !slices.ContainsFunc(s.Action, func(a string) bool { return like(a, action) }) {
					continue
				}
				for _, k := range keys {
					for name := range k {
						if !given[strings.ToLower(name)] {
							missing = append(missing, name)
						}
					}
				}
			}
		}
		results = append(results, []X{el("EvalActionName", action), el("EvalResourceName", resource), el("EvalDecision", decision), texts("MissingContextValues", "member", missing)})
	}
	return paged(r, "EvaluationResults", results), nil
}

func onUser(r *Request) []string { return onEntity(r, "user", "UserName") }
func onRole(r *Request) []string { return onEntity(r, "role", "RoleName") }

func onEntity(r *Request, kind, param string) []string {
	name := r.Form.Get(param)
	i := r.Account.identities()
	if u := i.users[strings.ToLower(name)]; u != nil && kind == "user" {
		return []string{u.ARN}
	}
	if role := i.roles[strings.ToLower(name)]; role != nil && kind == "role" {
		return []string{role.ARN}
	}
	return []string{"arn:" + r.Account.partition() + ":iam::" + r.Account.ID + ":" + kind + "/" + name}
}

// paged is a page of a list: all after the marker, as many as a page may have.
func paged(r *Request, name string, all [][]X) []X {
	from, _ := strconv.Atoi(r.Form.Get("Marker"))
	from = min(from, len(all))
	to := len(all)
	if n := r.Cloud.PageSize; n > 0 {
		to = min(to, from+n)
	}
	x := X{Name: name}
	for _, item := range all[from:to] {
		if len(item) == 1 && item[0].Name == "" {
			x.Kids = append(x.Kids, X{Name: "member", Text: item[0].Text})
			continue
		}
		x.Kids = append(x.Kids, X{Name: "member", Kids: item})
	}
	page := []X{x, el("IsTruncated", to < len(all))}
	if to < len(all) {
		page = append(page, el("Marker", to))
	}
	return page
}

func each[T any](list []T, f func(T) []X) [][]X {
	all := [][]X{}
	for _, v := range list {
		all = append(all, f(v))
	}
	return all
}

func member(name string, i int) string { return name + ".member." + strconv.Itoa(i) }

func noSuchEntity(message string) error {
	return &Error{Code: "NoSuchEntity", Message: message, Status: http.StatusNotFound}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func onProfile(r *Request) []string {
	return []string{"arn:" + r.Account.partition() + ":iam::" + r.Account.ID + ":instance-profile/" + r.Form.Get("InstanceProfileName")}
}

// instanceProfile tells the role that has an instance profile.
func instanceProfile(r *Request) (any, error) {
	name := r.Form.Get("InstanceProfileName")
	for _, role := range r.Account.identities().roles {
		if slices.Contains(role.Profiles, name) {
			return []X{el("InstanceProfile", []X{el("InstanceProfileName", name), el("Path", "/"), el("Arn", onProfile(r)[0]),
				members("Roles", []X{el("RoleName", role.Name), el("Arn", role.ARN), el("Path", role.Path)})})}, nil
		}
	}
	return nil, noSuchEntity("Instance Profile " + name + " cannot be found.")
}
