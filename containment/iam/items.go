package iam

import (
	"context"
	"fmt"

	metadata "github.com/aws/smithy-go/middleware"

	"github.com/shotglass-ir/shotglass/containment"
)

// A kind is a kind of items: how they are read and set, and what they are called.
type kind struct {
	role  bool   // its holder is a role, not a user
	what  string // for people
	quota string // that setting it may meet
	// puts and drops are the calls that set it, and unset it.
	puts, drops, gets string

	read func(ctx context.Context, p principal, id string) (containment.State, metadata.Metadata, error)
	// set is called again after errors, and when it is so already.
	set func(ctx context.Context, p principal, id string, to containment.State) (metadata.Metadata, error)
}

// The kinds of items. An ID is the name of the user or role, then a slash and what is meant of it.
const (
	userPolicy, rolePolicy         = "iam/user-policy", "iam/role-policy"         // inline; state: the document
	userAttachment, roleAttachment = "iam/user-attachment", "iam/role-attachment" // managed; state: true
	userBoundary, roleBoundary     = "iam/user-boundary", "iam/role-boundary"     // state: a policy's ARN
	userTag, roleTag               = "iam/user-tag", "iam/role-tag"               // state: the value
	roleTrust                      = "iam/role-trust"                             // state: the document
	accessKey                      = "iam/access-key"                             // "Active" or "Inactive", as all that follow
	serviceCredential              = "iam/service-credential"
	sshKey                         = "iam/ssh-key"
	certificate                    = "iam/signing-certificate"
)

const (
	attachQuota = "managed policies attached: 10 unless raised"
	tagQuota    = "50 tags"
)

var kinds = map[string]kind{
	userPolicy: {what: "inline policy", quota: "2048 characters of inline policies", puts: "iam:PutUserPolicy", drops: "iam:DeleteUserPolicy",
		gets: "iam:GetUserPolicy", read: readPolicy, set: setPolicy},
	rolePolicy: {what: "inline policy", quota: "10240 characters of inline policies", puts: "iam:PutRolePolicy", drops: "iam:DeleteRolePolicy",
		gets: "iam:GetRolePolicy", read: readPolicy, set: setPolicy, role: true},
	userAttachment: {what: "managed policy", quota: attachQuota, puts: "iam:AttachUserPolicy", drops: "iam:DetachUserPolicy",
		gets: "iam:ListAttachedUserPolicies", read: readAttachment, set: setAttachment},
	roleAttachment: {what: "managed policy", quota: attachQuota, puts: "iam:AttachRolePolicy", drops: "iam:DetachRolePolicy",
		gets: "iam:ListAttachedRolePolicies", read: readAttachment, set: setAttachment, role: true},
	userBoundary: {what: "permissions boundary", puts: "iam:PutUserPermissionsBoundary", drops: "iam:DeleteUserPermissionsBoundary",
		gets: "iam:GetUser", read: readBoundary, set: setBoundary},
	roleBoundary: {what: "permissions boundary", puts: "iam:PutRolePermissionsBoundary", drops: "iam:DeleteRolePermissionsBoundary",
		gets: "iam:GetRole", read: readBoundary, set: setBoundary, role: true},
	userTag: {what: "tag", quota: tagQuota, puts: "iam:TagUser", drops: "iam:UntagUser", gets: "iam:ListUserTags", read: readTag, set: setTag},
	roleTag: {what: "tag", quota: tagQuota, puts: "iam:TagRole", drops: "iam:UntagRole", gets: "iam:ListRoleTags", read: readTag, set: setTag, role: true},
	roleTrust: {what: "trust policy", quota: "the length of trust policies", puts: "iam:UpdateAssumeRolePolicy", gets: "iam:GetRole",
		read: readTrust, set: setTrust, role: true},
	accessKey: {what: "access key", puts: "iam:UpdateAccessKey", gets: "iam:ListAccessKeys", read: readAccessKey, set: setAccessKey},
	serviceCredential: {what: "service-specific credential", puts: "iam:UpdateServiceSpecificCredential", gets: "iam:ListServiceSpecificCredentials",
		read: readServiceCredential, set: setServiceCredential},
	sshKey: {what: "SSH key", puts: "iam:UpdateSSHPublicKey", gets: "iam:ListSSHPublicKeys", read: readSSHKey, set: setSSHKey},
	certificate: {what: "signing certificate", puts: "iam:UpdateSigningCertificate", gets: "iam:ListSigningCertificates",
		read: readCertificate, set: setCertificate},
}

// RolePolicy is the item of a role's inline policy. Its state is the policy document, such as Deny makes.
func RolePolicy(role, policy string) containment.Item {
	return containment.Item{Kind: rolePolicy, ID: role + "/" + policy}
}

// RolePolicyPermissions are what it takes to set and release the item of RolePolicy, for the role's ARN.
func RolePolicyPermissions(role string) []containment.Permission {
	return permissions(rolePolicy, role)
}

// permissions are what setting, reading and releasing an item of a kind takes.
func permissions(name, resource string) []containment.Permission {
	k := kinds[name]
	var ps []containment.Permission
	for _, action := range []string{k.gets, k.puts, k.drops} {
		if action != "" {
			ps = append(ps, containment.Permission{Action: action, Resource: resource})
		}
	}
	return ps
}

// split finds the kind of an item, its holder and its name there.
func split(i containment.Item) (k kind, holder, id string, err error) {
	k, ok := kinds[i.Kind]
	if !ok {
		return k, "", "", fmt.Errorf("IAM has no items of the kind %q", i.Kind)
	}
	holder, id = cut(i.ID)
	return k, holder, id, nil
}
