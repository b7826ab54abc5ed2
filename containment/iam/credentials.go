package iam

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	metadata "github.com/aws/smithy-go/middleware"

	"github.com/shotglass-ir/shotglass/containment"
)

// A credential is something that a user proves to be it with, and its status.
type credential struct {
	id     string
	status types.StatusType
	about  string // for people: what it is for
}

func (p principal) accessKeys(ctx context.Context) ([]credential, error) {
	return pages(ctx, awsiam.NewListAccessKeysPaginator(p.api, &awsiam.ListAccessKeysInput{UserName: &p.name}),
		func(o *awsiam.ListAccessKeysOutput) (all []credential) {
			for _, k := range o.AccessKeyMetadata {
				all = append(all, credential{id: aws.ToString(k.AccessKeyId), status: k.Status})
			}
			return all
		})
}

// serviceCredentials lists those of CodeCommit, Keyspaces, Bedrock and what else has them.
func (p principal) serviceCredentials(ctx context.Context) ([]credential, error) {
	var all []credential
	in := &awsiam.ListServiceSpecificCredentialsInput{UserName: &p.name}
	for {
		out, err := p.api.ListServiceSpecificCredentials(ctx, in)
		if err != nil {
			return all, err
		}
		for _, c := range out.ServiceSpecificCredentials {
			all = append(all, credential{aws.ToString(c.ServiceSpecificCredentialId), c.Status, "for " + aws.ToString(c.ServiceName)})
		}
		if !out.IsTruncated || out.Marker == nil {
			return all, nil
		}
		in.Marker = out.Marker
	}
}

func (p principal) sshKeys(ctx context.Context) ([]credential, error) {
	return pages(ctx, awsiam.NewListSSHPublicKeysPaginator(p.api, &awsiam.ListSSHPublicKeysInput{UserName: &p.name}),
		func(o *awsiam.ListSSHPublicKeysOutput) (all []credential) {
			for _, k := range o.SSHPublicKeys {
				all = append(all, credential{aws.ToString(k.SSHPublicKeyId), k.Status, "for CodeCommit"})
			}
			return all
		})
}

func (p principal) certificates(ctx context.Context) ([]credential, error) {
	return pages(ctx, awsiam.NewListSigningCertificatesPaginator(p.api, &awsiam.ListSigningCertificatesInput{UserName: &p.name}),
		func(o *awsiam.ListSigningCertificatesOutput) (all []credential) {
			for _, c := range o.Certificates {
				all = append(all, credential{id: aws.ToString(c.CertificateId), status: c.Status})
			}
			return all
		})
}

// find returns the status of a credential, which is gone if it is not in the list.
func find(p principal, what, id string, list []credential, err error) (containment.State, metadata.Metadata, error) {
	if missing(err) {
		err = p.gone()
	}
	if err != nil {
		return nil, metadata.Metadata{}, err
	}
	for _, c := range list {
		if c.id == id {
			return state(c.status), metadata.Metadata{}, nil
		}
	}
	return nil, metadata.Metadata{}, fmt.Errorf("the %s %s of %s %w", what, id, p, containment.ErrGone)
}

func status(s containment.State) (types.StatusType, error) {
	t, err := text(s)
	if err != nil || t == nil {
		return "", fmt.Errorf("state %s is no status", s)
	}
	return types.StatusType(*t), nil
}

func readAccessKey(ctx context.Context, p principal, id string) (containment.State, metadata.Metadata, error) {
	list, err := p.accessKeys(ctx)
	return find(p, "access key", id, list, err)
}

// setAccessKey always names the user: without, IAM takes the caller's, even if that is root.
func setAccessKey(ctx context.Context, p principal, id string, to containment.State) (metadata.Metadata, error) {
	s, err := status(to)
	if err != nil {
		return metadata.Metadata{}, err
	}
	out, err := p.api.UpdateAccessKey(ctx, &awsiam.UpdateAccessKeyInput{UserName: &p.name, AccessKeyId: &id, Status: s})
	return done(out, err)
}

func readServiceCredential(ctx context.Context, p principal, id string) (containment.State, metadata.Metadata, error) {
	list, err := p.serviceCredentials(ctx)
	return find(p, "service-specific credential", id, list, err)
}

func setServiceCredential(ctx context.Context, p principal, id string, to containment.State) (metadata.Metadata, error) {
	s, err := status(to)
	if err != nil {
		return metadata.Metadata{}, err
	}
	out, err := p.api.UpdateServiceSpecificCredential(ctx, &awsiam.UpdateServiceSpecificCredentialInput{UserName: &p.name, ServiceSpecificCredentialId: &id, Status: s})
	return done(out, err)
}

func readSSHKey(ctx context.Context, p principal, id string) (containment.State, metadata.Metadata, error) {
	list, err := p.sshKeys(ctx)
	return find(p, "SSH key", id, list, err)
}

func setSSHKey(ctx context.Context, p principal, id string, to containment.State) (metadata.Metadata, error) {
	s, err := status(to)
	if err != nil {
		return metadata.Metadata{}, err
	}
	out, err := p.api.UpdateSSHPublicKey(ctx, &awsiam.UpdateSSHPublicKeyInput{UserName: &p.name, SSHPublicKeyId: &id, Status: s})
	return done(out, err)
}

func readCertificate(ctx context.Context, p principal, id string) (containment.State, metadata.Metadata, error) {
	list, err := p.certificates(ctx)
	return find(p, "signing certificate", id, list, err)
}

func setCertificate(ctx context.Context, p principal, id string, to containment.State) (metadata.Metadata, error) {
	s, err := status(to)
	if err != nil {
		return metadata.Metadata{}, err
	}
	out, err := p.api.UpdateSigningCertificate(ctx, &awsiam.UpdateSigningCertificateInput{UserName: &p.name, CertificateId: &id, Status: s})
	return done(out, err)
}
