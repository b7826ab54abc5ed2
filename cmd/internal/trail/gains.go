package trail

import (
	"fmt"
	"strings"
)

// What is gained.
const (
	GainKey      = "access-key" // AKIA, or ASIA of a session
	GainUser     = "user"       // who can now log in, or has more rights
	GainRole     = "role"       // that can now be assumed, or has more rights
	GainInstance = "instance"   // which has a role, or runs what the caller sent
	GainFunction = "function"   // which has a role, and runs what the caller sent
)

// A Gain is an identity that a call gave its caller: one to act as from then on.
type Gain struct {
	Kind string `json:"kind"`
	// ID is the access key, an instance's id, or a name.
	ID      string `json:"id"`
	Account string `json:"account,omitempty"` // empty: that of the event
	Owner   string `json:"owner,omitempty"`   // ARN whose it is, of keys and of what has a role
	// Made says that the call made it; otherwise it was there before.
	Made bool `json:"made,omitempty"`
	// NoPath says that Owner is put together from a name: the event does not tell the path, which the ARN may have.
	NoPath bool `json:"path_unknown,omitempty"`
}

// gains are those of a call that succeeded, and why they may not be all.
func gains(e *Event, request, response params) (list []Gain, untold string) {
	add := func(kind, id, owner string, made bool) {
		account := AccountOf(owner)
		if account == "" {
			account = e.Account
		}
		if id != "" && len(list) == maxGains {
			untold = fmt.Sprintf("it gave more than %d identities", maxGains)
		} else if id != "" {
			list = append(list, Gain{Kind: kind, ID: id, Account: account, Owner: owner, Made: made, NoPath: kind == GainRole && owner == e.arn("role", id) && !made})
		}
	}
	machines := func(ids ...any) {
		for _, id := range ids {
			switch s, _ := id.(string); {
			case strings.HasPrefix(s, "i-"):
				add(GainInstance, cut(s), "", false)
			case id != nil:
				untold = "not all of its targets are named as EC2 instances"
			}
		}
	}
	user, role := request.text("userName"), request.text("roleName")
	if user == "" {
		user = e.By.User // of calls about oneself
	}
	switch call := e.Call(); call {
	case "AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity":
		add(GainKey, response.text("credentials", "accessKeyId"), request.text("roleArn"), true)
	case "AssumeRoot":
		add(GainKey, response.text("credentials", "accessKeyId"), e.root(request.text("targetPrincipal")), true)
	case "GetSessionToken", "GetFederationToken": // which is bound by what binds the user
		add(GainKey, response.text("credentials", "accessKeyId"), e.By.ARN, true)
	case "CreateAccessKey":
		if name := response.text("accessKey", "userName"); name != "" {
			user = name
		}
		add(GainKey, response.text("accessKey", "accessKeyId"), e.arn("user", user), true)
	case "CreateUser":
		add(GainUser, user, first(response.text("user", "arn"), e.arn("user", user)), true)
	case "CreateLoginProfile", "UpdateLoginProfile", "AttachUserPolicy", "PutUserPolicy", "AddUserToGroup", "DeleteUserPermissionsBoundary", "CreateServiceSpecificCredential", "UploadSSHPublicKey":
		add(GainUser, user, e.arn("user", user), false)
	case "CreateRole":
		add(GainRole, role, first(response.text("role", "arn"), e.arn("role", role)), true)
	case "UpdateAssumeRolePolicy", "AttachRolePolicy", "PutRolePolicy", "DeleteRolePermissionsBoundary":
		add(GainRole, role, e.arn("role", role), false)
	case "RunInstances":
		profile := first(request.text("iamInstanceProfile", "arn"), request.text("iamInstanceProfile", "name"))
		items, _ := response.at("instancesSet", "items").([]any)
		for _, i := range items {
			m, _ := i.(map[string]any)
			add(GainInstance, params(m).text("instanceId"), "", true)
			if n := len(list); n > 0 {
				list[n-1].Owner = profile
			}
		}
	case "AssociateIamInstanceProfile":
		add(GainInstance, request.text("AssociateIamInstanceProfileRequest", "InstanceId"), "", false)
		add(GainInstance, request.text("instanceId"), "", false)
	case "SendCommand", "CreateAssociation", "StartSession", "SendSSHPublicKey", "SendSerialConsoleSSHPublicKey":
		ids, _ := request.at("instanceIds").([]any)
		machines(append(ids, request.at("target"), request.at("instanceId"))...)
		targets, _ := request.at("targets").([]any)
		for _, t := range targets {
			m, _ := t.(map[string]any)
			if values, ok := m["values"].([]any); ok && strings.EqualFold(params(m).text("key"), "InstanceIds") {
				machines(values...)
			} else {
				untold = "it names its targets by tags or groups"
			}
		}
	case "CreateFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration":
		name := request.text("functionName") // or its ARN, or a part of that, and an alias behind it
		if _, rest, ok := strings.Cut(name, "function:"); ok {
			name = rest
		}
		name, _, _ = strings.Cut(name, ":")
		add(GainFunction, name, "", call == "CreateFunction")
		if n := len(list); n > 0 {
			list[n-1].Owner = first(request.text("role"), response.text("role"))
		}
	default:
		return nil, ""
	}
	if len(list) == 0 && untold == "" {
		untold = "the event does not have it"
	}
	return list, untold
}

// root is the ARN of the root of an account, which is named by its id or that very ARN.
func (e *Event) root(account string) string {
	if strings.HasPrefix(account, "arn:") || account == "" {
		return account
	}
	return "arn:" + e.partition() + ":iam::" + account + ":root"
}

// arn is that of a user or a role of the event's account, whose path is not known.
func (e *Event) arn(kind, name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("arn:%s:iam::%s:%s/%s", e.partition(), first(e.Account, e.By.Account), kind, name)
}

func (e *Event) partition() string {
	if f := strings.SplitN(e.By.ARN, ":", 3); len(f) == 3 {
		return f[1]
	}
	return "aws"
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// AccountOf is the account in an ARN; empty if it is none.
func AccountOf(arn string) string {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return ""
	}
	return f[4]
}
