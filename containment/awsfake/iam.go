package awsfake

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// IAM is the IAM of an account.
type IAM struct {
	// Delay is how long reads go on to show what was before a change.
	Delay time.Duration
	// Quotas are those of GetAccountSummary, and are kept to.
	Quotas map[string]int

	// Managed are the documents of the account's own managed policies, by ARN; Groups those of users, by name.
	Managed map[string]string
	Groups  map[string]*UserGroup
	// Report are the lines of the credential report, which is made after so many calls for it.
	Report      []Credentials
	ReportAfter int

	users map[string]*User // by their name in small letters
	roles map[string]*Role
}

// An Entity is what users and roles have in common.
type Entity struct {
	Name, Path, ARN, ID string
	Policies            map[string]string // inline: documents as they were put, by name
	Attached            []string          // managed policies: ARNs
	Boundary            string
	Tags                map[string]string

	cloud *Cloud
	iam   *IAM
	past  []past
}

// A User is an IAM user.
type User struct {
	Entity
	Password           bool
	Groups, MFA        []string
	Keys               []*Credential
	ServiceCredentials []*Credential
	SSHKeys            []*Credential
	Certificates       []*Credential
}

// A Credential is one of a user's.
type Credential struct {
	ID      string
	Status  string // "Active", "Inactive" or "Expired"
	Service string // of service-specific credentials
	Used    time.Time
}

// A Role is an IAM role. Whether it can be assumed here is Cloud.AddRole's.
type Role struct {
	Entity
	Trust    string // the document
	Profiles []string
	Used     time.Time
}

// past is what an entity was before a change, for those who read it before the change is known everywhere.
type past struct {
	until time.Time
	json  []byte
}

// IAM returns the account's IAM.
func (a *Account) IAM() *IAM {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	return a.identities()
}

func (a *Account) identities() *IAM {
	if a.iam == nil {
		a.iam = &IAM{users: map[string]*User{}, roles: map[string]*Role{}, Managed: map[string]string{}, Groups: map[string]*UserGroup{}, Quotas: map[string]int{
			"UserPolicySizeQuota": 2048, "RolePolicySizeQuota": 10240, "AttachedPoliciesPerUserQuota": 10, "AttachedPoliciesPerRoleQuota": 10,
		}}
	}
	return a.iam
}

// AddUser makes a user. Its path has slashes at both ends.
func (a *Account) AddUser(path, name string) *User {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	u := &User{Entity: a.entity("user", path, name)}
	u.ID = a.cloud.id("AIDA", 17)
	a.identities().users[strings.ToLower(name)] = u
	return u
}

// AddRole makes a role that EC2 may assume.
func (a *Account) AddRole(path, name string) *Role {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	r := &Role{Entity: a.entity("role", path, name),
		Trust: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`}
	r.ID = a.cloud.id("AROA", 17)
	a.identities().roles[strings.ToLower(name)] = r
	return r
}

func (a *Account) entity(kind, path, name string) Entity {
	return Entity{
		Name: name, Path: path, ARN: "arn:" + a.partition() + ":iam::" + a.ID + ":" + kind + path + name, Policies: map[string]string{}, Tags: map[string]string{},
		cloud: a.cloud, iam: a.identities(),
	}
}

// partition is that of the account: AWS China's accounts here begin with 9.
func (a *Account) partition() string {
	if strings.HasPrefix(a.ID, "9") {
		return "aws-cn"
	}
	return "aws"
}

// AddKey makes an access key.
func (u *User) AddKey(status string) *Credential {
	u.cloud.mu.Lock()
	defer u.cloud.mu.Unlock()
	k := &Credential{ID: u.cloud.id("AKIA", 16), Status: status}
	u.Keys = append(u.Keys, k)
	return k
}

// changing keeps what the user is, for readers who do not know of a change at once. Operations call it before they change it.
func (u *User) changing() { u.keep(u) }

// changing is as that of users.
func (r *Role) changing() { r.keep(r) }

func (e *Entity) keep(v any) {
	if e.iam.Delay > 0 {
		e.past = append(e.past, past{e.cloud.now.Add(e.iam.Delay), mustJSON(v)})
	}
}

// then returns the JSON of what readers see; nil: what is.
func (e *Entity) then() []byte {
	for _, p := range e.past {
		if p.until.After(e.cloud.now) {
			return p.json
		}
	}
	return nil
}

// seen is the user as readers see it.
func (u *User) seen() *User {
	if b := u.then(); b != nil {
		old := &User{}
		if err := json.Unmarshal(b, old); err != nil {
			panic(err)
		}
		return old
	}
	return u
}

// seen is as that of users.
func (r *Role) seen() *Role {
	if b := r.then(); b != nil {
		old := &Role{}
		if err := json.Unmarshal(b, old); err != nil {
			panic(err)
		}
		return old
	}
	return r
}

// size is what the quota of inline policies counts.
func (e *Entity) size() int {
	n := 0
	for _, p := range e.Policies {
		n += len(strings.Join(strings.Fields(p), ""))
	}
	return n
}

// encoded is a policy as IAM returns it.
func encoded(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// Remove deletes a user or a role by name.
func (a *Account) Remove(name string) {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	delete(a.identities().users, strings.ToLower(name))
	delete(a.identities().roles, strings.ToLower(name))
}
