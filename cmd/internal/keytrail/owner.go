package keytrail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	contain "github.com/shotglass-ir/shotglass/containment/iam"
)

// An Owner is the user or role behind a key, with what else leads to it.
type Owner struct {
	Kind string `json:"kind,omitempty"` // "user", "role" or "root"; empty: not known
	ARN  string `json:"arn,omitempty"`
	// How says how it is known, where IAM did not tell; Gone that IAM has it no more.
	How     string    `json:"how,omitempty"`
	Gone    bool      `json:"gone,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// Key is the key that was asked about, of a user; Credentials are all that the user has, that one too.
	Key         *Credential  `json:"key,omitempty"`
	Credentials []Credential `json:"credentials,omitempty"`
	Groups      []string     `json:"groups,omitempty"`
	// Trusts are who may assume the role.
	Trusts []string `json:"trusts,omitempty"`
	Rights Rights   `json:"rights"`
}

// A Credential is something to act as a user with.
type Credential struct {
	Kind    string    `json:"kind"` // "access-key", "password", "mfa", "ssh-key", "service-credential", "signing-certificate"
	ID      string    `json:"id,omitempty"`
	Status  string    `json:"status,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Used    time.Time `json:"last_used,omitzero"`
	For     string    `json:"for,omitempty"` // what it was last used for, or serves
}

// api is IAM in an account.
func (r *run) api(ctx context.Context, account string) (iamAPI, error) {
	if err := r.enter(account); err != nil {
		return nil, err
	}
	cfg, err := r.Config(ctx, containment.Target{Kind: containment.AccessKey, Account: account})
	if err != nil {
		return nil, err
	}
	return iam.NewFromConfig(cfg), nil
}

// missed notes what IAM did not tell.
func (r *run) missed(what string, err error) {
	r.gap(inventory.Place{Account: r.found.Account}, what, awsconfig.Explain(err).Error())
}

func gone(err error) bool { return awsconfig.Code(err) == "NoSuchEntity" }

// owner finds whose the target is, and reads all about it.
func (r *run) owner(ctx context.Context) {
	f := r.found
	api, err := r.api(ctx, f.Account)
	if err != nil {
		r.gap(inventory.Place{Account: f.Account}, "owner", err.Error())
		r.byEvents()
		return
	}
	t := f.Target
	switch {
	case t.Kind == containment.AccessKey && strings.HasPrefix(t.Name, "ASIA"):
		r.byEvents()
		f.Owner.Key = &Credential{Kind: trail.GainKey, ID: t.Name, Status: "temporary"}
		t, _ = containment.PrincipalOf(f.Owner.ARN)
	case t.Kind == containment.AccessKey:
		t = r.ofKey(ctx, api)
	default:
		f.Owner.Kind = string(t.Kind)
	}
	switch {
	case ctx.Err() != nil:
	case t.Account != "" && t.Account != f.Account:
		r.gap(inventory.Place{Account: t.Account}, "rights of "+t.ARN(), "it is in another account than the key")
	case t.Kind == containment.User:
		r.user(ctx, api, t.Name)
	case t.Kind == containment.Role:
		r.role(ctx, api, t.Name)
	}
}

// rootName is what IAM calls the owner of a key of root.
const rootName = "<root_account>"

func (r *run) rootARN() string { return "arn:" + r.part + ":iam::" + r.found.Account + ":root" }

// ofKey finds the user of a long-term key.
func (r *run) ofKey(ctx context.Context, api iamAPI) containment.Target {
	o, id := &r.found.Owner, r.found.Target.Name
	o.Key = &Credential{Kind: trail.GainKey, ID: id}
	out, err := api.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &id})
	if err != nil {
		if gone(err) {
			o.Gone, o.Key.Status = true, "the account has no such key"
		} else {
			r.missed("the user of "+id, err)
		}
		r.byEvents()
		t, _ := containment.PrincipalOf(o.ARN)
		return t
	}
	if u := out.AccessKeyLastUsed; u != nil && u.LastUsedDate != nil {
		o.Key.Used, o.Key.For = u.LastUsedDate.UTC(), aws.ToString(u.ServiceName)+" in "+aws.ToString(u.Region)
	}
	name := aws.ToString(out.UserName)
	if name == "" || name == rootName {
		o.Kind, o.ARN, o.How = "root", r.rootARN(), "it is no key of a user, so it is one of root"
		o.Rights.Admin, o.Rights.AdminBy = true, "root may do all"
		return containment.Target{}
	}
	return containment.Target{Kind: containment.User, Account: r.found.Account, Name: name}
}

// byEvents takes the owner from what CloudTrail says of the key.
func (r *run) byEvents() {
	f := r.found
	if f.Target.Kind != containment.AccessKey {
		return
	}
	var last []byte
	for i := range f.Events {
		if e := &f.Events[i]; e.By.Key == f.Target.Name {
			last = e.Raw
		}
	}
	if last == nil && f.Maker != nil {
		last = f.Maker.Raw
	}
	if last == nil {
		f.Owner.How = unheard(f)
		if strings.HasPrefix(f.Target.Name, "ASIA") {
			r.gap(inventory.Place{Account: f.Account}, "owner", "no event tells whom the temporary key was issued to")
		}
		return
	}
	t, how, err := contain.Issuer(last, f.Target.Name)
	if err != nil && f.Maker != nil && !errors.Is(err, containment.ErrRefused) {
		t, how, err = contain.Issuer(f.Maker.Raw, f.Target.Name)
	}
	if errors.Is(err, containment.ErrRefused) {
		f.Owner.Kind, f.Owner.ARN, f.Owner.How = "root", r.rootARN(), how
		f.Owner.Rights.Admin, f.Owner.Rights.AdminBy = true, "root may do all"
		return
	}
	if err != nil {
		r.gap(inventory.Place{Account: f.Account}, "owner", err.Error())
		return
	}
	f.Owner.Kind, f.Owner.ARN, f.Owner.How = string(t.Kind), t.ARN(), how
}

// unheard says of a key of which there is no event who was asked, and who could not be.
func unheard(f *Found) string {
	trail, iam := "CloudTrail has no event of it", "IAM does not know it"
	if f.Unheard() {
		trail = "no event of it was found, where CloudTrail could be asked"
	}
	if !f.Owner.Gone && !strings.HasPrefix(f.Target.Name, "ASIA") {
		iam = "IAM could not be asked"
	}
	return trail + ", and " + iam
}

// user reads a user's credentials and policies.
func (r *run) user(ctx context.Context, api iamAPI, name string) {
	o := &r.found.Owner
	o.Kind = "user"
	out, err := api.GetUser(ctx, &iam.GetUserInput{UserName: &name})
	if err != nil {
		if gone(err) {
			o.Gone = true
		} else {
			r.missed("user "+name, err)
		}
		if o.ARN == "" {
			o.ARN = containment.Target{Kind: containment.User, Partition: r.part, Account: r.found.Account, Name: name}.ARN()
		}
		if o.Gone {
			return
		}
	} else {
		o.ARN, o.Created = aws.ToString(out.User.Arn), aws.ToTime(out.User.CreateDate).UTC()
		if b := out.User.PermissionsBoundary; b != nil {
			o.Rights.Boundary = aws.ToString(b.PermissionsBoundaryArn)
		}
	}
	r.credentials(ctx, api, name, out)
	r.userRights(ctx, api, name)
}

// credentials lists all that the user has to log in with.
func (r *run) credentials(ctx context.Context, api iamAPI, name string, user *iam.GetUserOutput) {
	o := &r.found.Owner
	keys, err := all(ctx, iam.NewListAccessKeysPaginator(api, &iam.ListAccessKeysInput{UserName: &name}), func(p *iam.ListAccessKeysOutput) (list []Credential) {
		for _, k := range p.AccessKeyMetadata {
			list = append(list, Credential{Kind: trail.GainKey, ID: aws.ToString(k.AccessKeyId), Status: string(k.Status), Created: aws.ToTime(k.CreateDate).UTC()})
		}
		return list
	})
	if err != nil {
		r.missed("access keys of "+name, err)
	}
	for _, k := range keys {
		if o.Key != nil && k.ID == o.Key.ID {
			o.Key.Status, o.Key.Created = k.Status, k.Created
			k = *o.Key
		} else if used, err := api.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &k.ID}); err != nil {
			r.missed("the last use of "+k.ID, err)
		} else if u := used.AccessKeyLastUsed; u != nil && u.LastUsedDate != nil {
			k.Used, k.For = u.LastUsedDate.UTC(), aws.ToString(u.ServiceName)+" in "+aws.ToString(u.Region)
		}
		o.Credentials = append(o.Credentials, k)
	}
	login, err := api.GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: &name})
	switch {
	case err == nil:
		p := Credential{Kind: "password", Created: aws.ToTime(login.LoginProfile.CreateDate).UTC()}
		if user != nil && user.User != nil {
			p.Used = aws.ToTime(user.User.PasswordLastUsed).UTC()
		}
		o.Credentials = append(o.Credentials, p)
	case !gone(err):
		r.missed("whether "+name+" has a password", err)
	}
	mfa, err := all(ctx, iam.NewListMFADevicesPaginator(api, &iam.ListMFADevicesInput{UserName: &name}), func(p *iam.ListMFADevicesOutput) (list []Credential) {
		for _, m := range p.MFADevices {
			list = append(list, Credential{Kind: "mfa", ID: aws.ToString(m.SerialNumber), Created: aws.ToTime(m.EnableDate).UTC()})
		}
		return list
	})
	if err != nil {
		r.missed("MFA devices of "+name, err)
	}
	ssh, err := all(ctx, iam.NewListSSHPublicKeysPaginator(api, &iam.ListSSHPublicKeysInput{UserName: &name}), func(p *iam.ListSSHPublicKeysOutput) (list []Credential) {
		for _, k := range p.SSHPublicKeys {
			list = append(list, Credential{Kind: "ssh-key", ID: aws.ToString(k.SSHPublicKeyId), Status: string(k.Status), Created: aws.ToTime(k.UploadDate).UTC(), For: "CodeCommit"})
		}
		return list
	})
	if err != nil {
		r.missed("SSH keys of "+name, err)
	}
	certificates, err := all(ctx, iam.NewListSigningCertificatesPaginator(api, &iam.ListSigningCertificatesInput{UserName: &name}), func(p *iam.ListSigningCertificatesOutput) (list []Credential) {
		for _, k := range p.Certificates {
			list = append(list, Credential{Kind: "signing-certificate", ID: aws.ToString(k.CertificateId), Status: string(k.Status), Created: aws.ToTime(k.UploadDate).UTC()})
		}
		return list
	})
	if err != nil {
		r.missed("signing certificates of "+name, err)
	}
	o.Credentials = append(append(append(o.Credentials, mfa...), ssh...), certificates...)
	for in := (&iam.ListServiceSpecificCredentialsInput{UserName: &name}); ; { // the SDK has no paginator
		out, err := api.ListServiceSpecificCredentials(ctx, in)
		if err != nil {
			r.missed("service-specific credentials of "+name, err)
			return
		}
		for _, k := range out.ServiceSpecificCredentials {
			o.Credentials = append(o.Credentials, Credential{Kind: "service-credential", ID: aws.ToString(k.ServiceSpecificCredentialId), Status: string(k.Status),
				Created: aws.ToTime(k.CreateDate).UTC(), For: aws.ToString(k.ServiceName)})
		}
		if !out.IsTruncated || out.Marker == nil {
			return
		}
		in.Marker = out.Marker
	}
}

// role reads a role's trust and policies.
func (r *run) role(ctx context.Context, api iamAPI, name string) {
	o := &r.found.Owner
	o.Kind = "role"
	out, err := api.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if gone(err) {
		o.Gone = true
		return
	}
	if err != nil {
		r.missed("role "+name, err)
	} else {
		o.ARN, o.Created = aws.ToString(out.Role.Arn), aws.ToTime(out.Role.CreateDate).UTC()
		if b := out.Role.PermissionsBoundary; b != nil {
			o.Rights.Boundary = aws.ToString(b.PermissionsBoundaryArn)
		}
		if p, err := parsePolicy(aws.ToString(out.Role.AssumeRolePolicyDocument)); err == nil {
			o.Trusts = p.trusted()
		} else {
			r.missed("trust policy of "+name, err)
		}
	}
	r.roleRights(ctx, api, name)
}

// roleARN is the ARN of a role with its path, which events have; guess, if IAM does not tell.
func (r *run) roleARN(ctx context.Context, account, name, guess string) string {
	api, err := r.api(ctx, account)
	if err == nil {
		var out *iam.GetRoleOutput
		if out, err = api.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); err == nil {
			return aws.ToString(out.Role.Arn)
		}
		err = awsconfig.Explain(err)
	}
	r.gap(inventory.Place{Account: account}, "the path of the role "+name, fmt.Sprintf("%v; its sessions are looked for as those of %s", err, guess))
	return guess
}
