package awsconfig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shotglass-ir/shotglass/containment"
)

// Caller returns who calls, for guard rails and journals: as STS says, the principals that a profile's roles are
// assumed from, the role that is assumed for targets, and where this runs.
func (a *Accounts) Caller(ctx context.Context) (containment.Identity, error) {
	own, err := a.identity(ctx)
	if err != nil {
		return own, err
	}
	if own.Chain, err = a.chain(ctx); err != nil {
		return own, err
	}
	if a.Role != "" {
		role := a.Role
		if !strings.HasPrefix(role, "arn:") { // in whichever account
			role = "arn:" + partitionOf(own.ARN) + ":iam:::role/" + strings.TrimPrefix(role, "/")
		}
		own.Assumes = []string{role}
	}
	own.Function = os.Getenv("AWS_LAMBDA_FUNCTION_NAME")
	if !a.NoIMDS && own.Function == "" { // functions run on no instance that can be asked
		own.Instance = Instance(ctx, a.Base)
	}
	return own, nil
}

// identity asks STS once who calls.
func (a *Accounts) identity(ctx context.Context) (containment.Identity, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.caller == nil {
		id, err := identify(ctx, a.Base)
		if err != nil {
			return containment.Identity{}, err
		}
		a.caller = &id
	}
	return *a.caller, nil
}

// few attempts are for what is asked first: a wrong address, or no network, is told within seconds.
func few(o *sts.Options) { o.RetryMaxAttempts = 4 }

func identify(ctx context.Context, cfg aws.Config) (containment.Identity, error) {
	if cfg.Region == "" {
		cfg = cfg.Copy()
		cfg.Region = "us-east-1" // until a target or the environment says otherwise
	}
	out, err := sts.NewFromConfig(cfg, few).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if ctx.Err() != nil {
		return containment.Identity{}, context.Cause(ctx)
	}
	if err != nil {
		return containment.Identity{}, fmt.Errorf("ask AWS who is calling: %w", Explain(err))
	}
	return containment.Identity{ARN: aws.ToString(out.Arn), Account: aws.ToString(out.Account)}, nil
}

// chain returns the principals that the profile's role is assumed from, first the one that begins. What a session in
// the environment was assumed from nobody tells.
func (a *Accounts) chain(ctx context.Context) ([]string, error) {
	var shared *config.SharedConfig
	var profile, environment bool
	for _, s := range a.Base.ConfigSources {
		switch s := s.(type) {
		case config.SharedConfig:
			shared = &s
		case config.LoadOptions:
			profile = s.SharedConfigProfile != ""
		case config.EnvConfig:
			environment = s.Credentials.HasKeys()
		}
	}
	if environment && !profile {
		return nil, nil // the SDK takes those, whatever the profile says
	}
	var arns []string
	for c := shared; c != nil; c = c.Source {
		var err error
		var from aws.Config
		switch {
		case c.RoleARN == "":
			continue
		case c.Source != nil:
			from, err = Load(ctx, c.Source.Profile, a.Base.Region)
		case c.CredentialSource == "Ec2InstanceMetadata":
			from = a.Base.Copy()
			from.Credentials = aws.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = imds.NewFromConfig(a.Base) }))
		case c.CredentialSource == "Environment":
			var env config.EnvConfig
			env, err = config.NewEnvConfig()
			from = a.Base.Copy()
			from.Credentials = credentials.StaticCredentialsProvider{Value: env.Credentials}
		default:
			continue // a web identity, or a container's: no principal that can be contained here
		}
		if err == nil {
			var id containment.Identity
			if id, err = identify(ctx, from); err == nil {
				arns = append(arns, id.ARN)
				continue
			}
		}
		return nil, fmt.Errorf("who assumes %s, as the profile %q has it: %w", c.RoleARN, c.Profile, err)
	}
	slices.Reverse(arns)
	return arns, nil
}

// imdsPatience is how long the metadata service may take: it is on the same machine, or there is none.
const imdsPatience = time.Second

// Instance returns the id of the EC2 instance that this runs on; empty if it runs elsewhere, or the metadata service does
// not answer within a second.
func Instance(ctx context.Context, cfg aws.Config) string {
	ctx, cancel := context.WithTimeoutCause(ctx, imdsPatience, errors.New("no answer from the metadata service"))
	defer cancel()
	out, err := imds.NewFromConfig(cfg, func(o *imds.Options) { o.Retryer = aws.NopRetryer{} }).GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return ""
	}
	return out.InstanceID
}
