package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/journals"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink/s3"
	"github.com/shotglass-ir/shotglass/transport"
)

const groupAWS = "AWS account"

// accountFlags say how AWS is called.
func accountFlags() []cli.Flag {
	str := func(name, envName, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, EnvVars: env(envName), Usage: usage, Category: groupAWS}
	}
	return []cli.Flag{
		str("aws-region", "AWS_REGION", "`REGION` of targets that are not named by ARN"),
		str("aws-profile", "AWS_PROFILE", "`NAME` of the profile in ~/.aws"),
		str("aws-endpoint", "AWS_ENDPOINT", "another server than AWS, such as an emulator: `URL`"),
		str("aws-role", "AWS_ROLE", "role to assume: `ARN`, or the name of a role that each target's account has"),
		str("aws-external-id", "AWS_EXTERNAL_ID", "external `ID` for that role"),
		str("aws-source-identity", "AWS_SOURCE_IDENTITY", "source identity of that role's session, which CloudTrail shows: `NAME`"),
		&cli.BoolFlag{Name: "no-instance-metadata", EnvVars: env("NO_INSTANCE_METADATA"), Usage: "do not ask the instance metadata service which instance this is", Category: groupAWS, DisableDefaultText: true},
	}
}

// awsFlags say how AWS is called, and what is never contained there.
func awsFlags() []cli.Flag {
	return append(accountFlags(),
		&cli.StringSliceFlag{Name: "break-glass", EnvVars: env("BREAK_GLASS"), Usage: "never contain this `TARGET`, beside who calls and the machine that this runs on", Category: groupAWS})
}

func journalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "case", EnvVars: env("CASE"), Usage: "`ID` of the case; a target has one journal in a case", Category: groupContain},
		&cli.StringFlag{Name: "journal", EnvVars: env("JOURNAL"), Usage: "folder of the journals: `DIR`", Value: ".", Category: groupContain, TakesFile: true},
		&cli.StringFlag{Name: "journal-to", EnvVars: env("JOURNAL_TO"), Usage: "keep the journals here too: `s3://BUCKET/PREFIX/`", Category: groupContain},
	}
}

// awsAccess is how AWS is called, and where journals lie.
type awsAccess struct {
	awsaccess.Access
	folder, bucket string // of the journals
	reach          string // flags by which that bucket is reached, for commands
}

// readAccount reads the flags of accountFlags.
func readAccount(ctx *cli.Context) (awsaccess.Access, error) {
	a := awsaccess.Access{
		Region: ctx.String("aws-region"), Profile: ctx.String("aws-profile"), Endpoint: ctx.String("aws-endpoint"),
		Role: ctx.String("aws-role"), ExternalID: ctx.String("aws-external-id"), SourceIdentity: ctx.String("aws-source-identity"), NoMetadata: ctx.Bool("no-instance-metadata"),
		Tool: toolInfo().Name + " " + toolInfo().Version,
	}
	if a.ExternalID != "" && a.Role == "" {
		return a, usagef("--aws-external-id is for a role").fix("name it with --aws-role")
	}
	return a, nil
}

func readAWSAccess(_ *console, ctx *cli.Context) (awsAccess, error) {
	account, err := readAccount(ctx)
	a := awsAccess{Access: account, folder: ctx.String("journal"), bucket: ctx.String("journal-to")}
	if err != nil {
		return a, err
	}
	for _, s := range ctx.StringSlice("break-glass") {
		t, err := containment.ParseTarget(s)
		if err != nil {
			return a, usagef("--break-glass: %v", err)
		}
		a.BreakGlass = append(a.BreakGlass, t)
	}
	if a.folder == "" || s3.IsURL(a.folder) {
		return a, usagef("--journal is for a folder").fix("--journal DIR --journal-to s3://bucket/prefix/ keeps journals in both")
	}
	a.Journals = containment.Dir(filepath.Clean(a.folder))
	if a.bucket == "" {
		return a, nil
	}
	o := s3Access(ctx)
	if o.Bucket, o.Prefix, err = s3.ParseURL(a.bucket); err != nil {
		return a, usagef("--journal-to: %v", err)
	}
	place, err := s3.New(ctx.Context, o)
	if err != nil {
		return a, usagef("--journal-to: %v", err)
	}
	a.reach = givenText(ctx, s3AccessFlags(), "s3-external-id")
	if o.ExternalID != "" {
		a.reach += "--s3-external-id ID "
	}
	a.Journals = journals.Both{First: a.Journals, Second: journals.Bucket{Place: place}}
	return a, nil
}

// with is the access with what the flags leave out taken from the hosts file.
func (a awsAccess) with(c hostsfile.Containment) awsAccess {
	a.Region, a.Profile = cmp.Or(a.Region, c.Region), cmp.Or(a.Profile, c.Profile)
	a.Role, a.ExternalID = cmp.Or(a.Role, c.RoleARN), cmp.Or(a.ExternalID, c.ExternalID)
	return a
}

// bare is an engine that reads journals and calls nobody.
func (a awsAccess) bare() *containment.Engine {
	return &containment.Engine{Journals: a.Journals}
}

// flagsText is what a command line needs to reach the same journals and account; ID stands for external ids, which are not shown.
func (a awsAccess) flagsText(caseID string) string {
	var b strings.Builder
	for _, f := range []struct{ name, value string }{
		{"case", caseID}, {"journal", a.folder}, {"journal-to", a.bucket}, {"aws-region", a.Region}, {"aws-profile", a.Profile}, {"aws-endpoint", a.Endpoint}, {"aws-role", a.Role}, {"aws-source-identity", a.SourceIdentity},
	} {
		if f.value != "" && !(f.name == "journal" && f.value == ".") {
			fmt.Fprintf(&b, "--%s %s ", f.name, transport.Quote(f.value))
		}
	}
	if a.ExternalID != "" {
		b.WriteString("--aws-external-id ID ") // AWS calls it no secret; who needs it has it
	}
	return b.String() + a.reach
}

// glassText is what a command line that contains needs to spare the same targets.
func (a awsAccess) glassText() string {
	var b strings.Builder
	for _, g := range a.glass() {
		b.WriteString("--break-glass " + transport.Quote(g) + " ")
	}
	return b.String()
}

// glass are the targets of --break-glass and of the hosts file, as they are written there.
func (a awsAccess) glass() []string {
	var all []string
	for _, t := range a.BreakGlass {
		all = append(all, t.String())
	}
	return all
}

// credentialKinds are the items that release leaves as they are: what leaked stays off.
var credentialKinds = []string{"iam/access-key", "iam/service-credential", "iam/ssh-key", "iam/signing-certificate"}
