package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const groupBucket = "Evidence bucket"

const bucketCheckText = `Says of each property of an evidence bucket whether it has it: PASS, FAIL, UNKNOWN when it could not be read, NOT SUPPORTED by a server that is not
AWS's S3; with why it matters, and a command that mends it. It only reads. Anything but PASS makes the exit code 3. docs/bucket.md
has the properties, docs/bucket-policy.json the permissions. Never tried on AWS itself.`

func bucketCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "bucket", Usage: "make an evidence bucket, or say what one lacks",
		Subcommands: []*cli.Command{bucketCreateCommand(c), bucketCheckCommand(c)},
		Action: func(*cli.Context) error {
			return usagef("no subcommand").fix("shotglass bucket create NAME, or shotglass bucket check NAME")
		},
	}
}

func pathStyleFlag() cli.Flag {
	return &cli.BoolFlag{Name: "s3-path-style", EnvVars: env("S3_PATH_STYLE"), Usage: "name the bucket in the path, as most other servers want", Category: groupBucket, DisableDefaultText: true}
}

func bucketCheckCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "say what an evidence bucket has, and what it lacks", ArgsUsage: "NAME|s3://BUCKET/...", Description: bucketCheckText,
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "s3-bucket-owner", EnvVars: env("S3_BUCKET_OWNER"), Usage: "`ACCOUNT` that must own the bucket", Category: groupBucket},
			pathStyleFlag(),
		}, accountFlags()...), jsonFlag()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			name, err := oneBucket(ctx)
			if err != nil {
				return err
			}
			access, err := readAccount(ctx)
			if err != nil {
				return err
			}
			return checkBucket(ctx.Context, c, access, evidencebucket.Place{Bucket: name, Owner: ctx.String("s3-bucket-owner"), PathStyle: ctx.Bool("s3-path-style")})
		},
	}
}

// oneBucket is the bucket that an argument names.
func oneBucket(ctx *cli.Context) (string, error) {
	if ctx.NArg() != 1 {
		return "", usagef("want one bucket, have %d", ctx.NArg())
	}
	name := ctx.Args().First()
	if !s3.IsURL(name) {
		name = "s3://" + name
	}
	bucket, _, err := s3.ParseURL(name)
	if err != nil {
		return "", usagef("%v", err)
	}
	return bucket, nil
}

// bucketConfig is how AWS is called about a bucket: by the role, if one is named.
func bucketConfig(ctx context.Context, access awsaccess.Access) (aws.Config, error) {
	accounts, err := access.Accounts(ctx, "bucket")
	if err != nil {
		return aws.Config{}, err
	}
	if access.Role == "" {
		return accounts.Base, nil
	}
	if !strings.HasPrefix(access.Role, "arn:") {
		return aws.Config{}, usagef("--aws-role %q: for a bucket the role's ARN is needed", access.Role)
	}
	return accounts.Config(ctx, containment.Target{})
}

func checkBucket(ctx context.Context, c *console, access awsaccess.Access, p evidencebucket.Place) error {
	sctx, stop := catchSignals(ctx, c.exit, func(string) {}, func() {})
	defer stop()
	cfg, err := bucketConfig(sctx, access)
	if err != nil {
		return err
	}
	list := evidencebucket.Check(sctx, cfg, p)
	if sctx.Err() != nil {
		return context.Cause(sctx)
	}
	code := exitOK
	if !evidencebucket.Good(list) {
		code = exitPartial
	}
	return endBucket(c, p.Bucket, list, code)
}

// endBucket tells what was found, and the summary.
func endBucket(c *console, bucket string, list []evidencebucket.Finding, code int) error {
	if !c.json {
		printFindings(c, list)
		return exitWith(code)
	}
	count := map[evidencebucket.State]int{}
	for _, f := range list {
		count[f.State]++
		if err := c.message("bucket_property", struct {
			Bucket string `json:"bucket"`
			evidencebucket.Finding
		}{bucket, f}); err != nil {
			return err
		}
	}
	if err := c.message("summary", struct {
		Code         int    `json:"code"`
		Bucket       string `json:"bucket"`
		Pass         int    `json:"pass"`
		Fail         int    `json:"fail"`
		Unknown      int    `json:"unknown"`
		NotSupported int    `json:"not_supported"`
	}{code, bucket, count[evidencebucket.Pass], count[evidencebucket.Fail], count[evidencebucket.Unknown], count[evidencebucket.NotSupported]}); err != nil {
		return err
	}
	return exitWith(code)
}

func printFindings(c *console, list []evidencebucket.Finding) {
	w := tabwriter.NewWriter(c, 0, 8, 2, ' ', 0)
	for _, f := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.State, f.ID, cell(f.Have))
	}
	w.Flush()
	for _, f := range list {
		if f.State == evidencebucket.Pass {
			continue
		}
		fmt.Fprintf(c, "\n%s: %s\n", f.ID, f.Why)
		if f.Fix != "" {
			fmt.Fprintf(c, "    %s\n", printable(f.Fix))
		}
	}
}

// askYes asks for a yes on the terminal, for what changes something; nothing is done without.
func askYes(ctx context.Context, question string) error {
	in, out, err := openTerminal()
	if err != nil {
		return usagef("there is no terminal to ask on").fix("look at the plan, then pass --yes")
	}
	defer in.Close()
	defer out.Close()
	got, err := readLine(ctx, bufio.NewReader(in), out, question+" Type yes: ")
	if err != nil {
		return err
	}
	if got != "yes" {
		return &exitError{Code: exitFailed, Err: fmt.Errorf("not accepted: nothing was changed")}
	}
	return nil
}
