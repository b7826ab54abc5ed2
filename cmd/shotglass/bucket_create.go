package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
)

const bucketCreateText = `Makes a bucket that evidence is safe in: Object Lock, all versions kept, a key of your own, no public access, no ACLs, TLS only, nothing deleted
or overwritten and no setting changed but by the roles of --break-glass, unfinished uploads ended late, accesses logged. It prints the plan and asks; every
step is read back, and the bucket is checked at the end as by bucket check. Run again it completes what an earlier run left. It never
loosens what is set, and refuses a bucket that it did not make unless told --adopt. --template prints CloudFormation's template for
the same bucket, and calls nobody. docs/bucket.md has all. Never tried on AWS itself.`

func bucketCreateCommand(c *console) *cli.Command {
	str := func(name, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: usage, Category: groupBucket}
	}
	yes := func(name, usage string) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, Category: groupBucket, DisableDefaultText: true}
	}
	return &cli.Command{
		Name: "create", Usage: "make an evidence bucket, or complete one", ArgsUsage: "NAME", Description: bucketCreateText,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "break-glass", Usage: "role or user that may still delete evidence and change settings: `ARN`", Category: groupBucket},
			str("kms-key", "encrypt under this `KEY`, ARN, id or alias, in place of one that is made"),
			str("retain", "lock every object by default for this `TIME`, in days, such as 90d"),
			&cli.StringFlag{Name: "lock", Usage: "how: `governance|compliance`", Value: "governance", Category: groupBucket},
			yes("accept-compliance", "with --lock compliance: nobody, not even the root user, will be able to delete an object or shorten its time"),
			str("log-bucket", "log accesses to this `BUCKET`, which exists, in place of NAME-logs"),
			yes("no-access-log", "log no accesses: a CloudTrail trail does"),
			&cli.StringFlag{Name: "abort-uploads-after", Usage: "end unfinished uploads after this `TIME`, in days, 7d at least: shotglass upload may still have to finish one", Value: fmt.Sprintf("%dd", evidencebucket.DefaultAbortDays), Category: groupBucket},
			&cli.StringSliceFlag{Name: "tag", Usage: "tag the buckets: `KEY=VALUE`", Category: groupBucket},
			yes("adopt", "complete also a bucket that shotglass did not make"),
			yes("accept-lock-out", "make the policy although you are none of --break-glass, or one cannot be looked up"),
			yes("dry-run", "print the plan, and change nothing"),
			yes("yes", "do not ask"),
			yes("template", "print CloudFormation's template for the same bucket"),
			pathStyleFlag(),
		}, accountFlags(), []cli.Flag{jsonFlag()}),
		Action: func(ctx *cli.Context) error {
			if ctx.Bool("template") {
				if ctx.NArg() > 0 {
					return usagef("--template takes no name").fix("the name is its parameter BucketName: aws cloudformation deploy --template-file FILE --stack-name NAME --parameter-overrides BucketName=NAME BreakGlass=ARN,ARN")
				}
				_, err := io.WriteString(c, evidencebucket.Template)
				return err
			}
			c.json = ctx.Bool("json")
			o, err := readBucketCreate(ctx)
			if err != nil {
				return err
			}
			return o.run(ctx.Context, c)
		},
	}
}

// A bucketCreation is one run of bucket create.
type bucketCreation struct {
	access      awsaccess.Access
	terms       evidencebucket.Terms
	dryRun, yes bool
}

func readBucketCreate(ctx *cli.Context) (*bucketCreation, error) {
	name, err := oneBucket(ctx)
	if err != nil {
		return nil, err
	}
	if err := evidencebucket.ValidName(name); err != nil {
		return nil, usagef("%v", err)
	}
	access, err := readAccount(ctx)
	if err != nil {
		return nil, err
	}
	o := &bucketCreation{access: access, dryRun: ctx.Bool("dry-run"), yes: ctx.Bool("yes"), terms: evidencebucket.Terms{
		Bucket: name, PathStyle: ctx.Bool("s3-path-style"), KMSKey: ctx.String("kms-key"), BreakGlass: ctx.StringSlice("break-glass"),
		LogBucket: ctx.String("log-bucket"), NoLog: ctx.Bool("no-access-log"), Adopt: ctx.Bool("adopt"), AcceptLockOut: ctx.Bool("accept-lock-out"),
	}}
	if o.terms.LogBucket != "" && o.terms.NoLog {
		return nil, usagef("--log-bucket and --no-access-log exclude each other")
	}
	if o.terms.AbortDays, err = daysFlag(ctx, "abort-uploads-after"); err != nil {
		return nil, err
	}
	for _, tag := range ctx.StringSlice("tag") {
		k, v, ok := strings.Cut(tag, "=")
		if !ok || k == "" || k == evidencebucket.TagKey {
			return nil, usagef("--tag %q: want KEY=VALUE, and another key than %s", tag, evidencebucket.TagKey)
		}
		if o.terms.Tags == nil {
			o.terms.Tags = map[string]string{}
		}
		o.terms.Tags[k] = v
	}
	return o, o.readLock(ctx)
}

// readLock reads the default retention. Compliance takes explicit words.
func (o *bucketCreation) readLock(ctx *cli.Context) (err error) {
	lock := ctx.String("lock")
	switch {
	case !slices.Contains(hostsfile.Locks, lock):
		return usagef("--lock %q: want governance or compliance", lock)
	case ctx.String("retain") == "" && (ctx.IsSet("lock") || ctx.Bool("accept-compliance")):
		return usagef("--lock is for a default retention, and there is none").fix("give its time with --retain 90d; without, objects are locked by shotglass capture --s3-lock")
	case ctx.String("retain") == "":
		return nil
	case lock == "compliance" && !ctx.Bool("accept-compliance"):
		return usagef("--lock compliance: nobody, not even the root user, could delete an object or shorten its time, whatever was stored by mistake").fix("--accept-compliance says that you mean it; governance lets the break-glass roles delete")
	}
	o.terms.LockMode = types.ObjectLockRetentionMode(strings.ToUpper(lock))
	o.terms.RetainDays, err = daysFlag(ctx, "retain")
	return err
}

// daysFlag is a time in whole days.
func daysFlag(ctx *cli.Context, name string) (int32, error) {
	d, _, err := hostsfile.ParseRetain(ctx.String(name), time.Now())
	if err == nil && (d == 0 || d%(24*time.Hour) != 0) {
		err = errors.New("want whole days, such as 90d")
	}
	if err != nil {
		return 0, usagef("--%s %q: %v", name, ctx.String(name), err)
	}
	return int32(d / (24 * time.Hour)), nil
}

func (o *bucketCreation) run(ctx context.Context, c *console) error {
	sctx, stop := catchSignals(ctx, c.exit, func(name string) {
		c.line("shotglass: " + name + ": stopping before the next call; run it again to go on")
	}, func() {})
	defer stop()
	cfg, err := bucketConfig(sctx, o.access)
	if err != nil {
		return err
	}
	m := &evidencebucket.Maker{Config: cfg, Terms: o.terms}
	plan, err := m.Plan(sctx)
	if err != nil {
		return err
	}
	if err := o.tellPlan(c, plan); err != nil || o.dryRun {
		return err
	}
	if len(plan.Steps) > 0 {
		if !o.yes {
			if err := askYes(sctx, fmt.Sprintf("Do this in account %s?", plan.Account)); err != nil {
				return err
			}
		}
		if err := m.Apply(sctx, plan, func(s evidencebucket.Step) { c.info("shotglass: %s: %s", s.ID, s.What) }); err != nil {
			return err
		}
	}
	list := evidencebucket.Check(sctx, cfg, evidencebucket.Place{Bucket: plan.Bucket, Owner: plan.Account, PathStyle: o.terms.PathStyle})
	code := exitOK
	if !evidencebucket.Good(list) {
		code = exitPartial
	}
	return endBucket(c, plan.Bucket, list, code)
}

func (o *bucketCreation) tellPlan(c *console, plan *evidencebucket.Plan) error {
	if c.json {
		return c.message("bucket_plan", plan)
	}
	say := c.info
	if o.dryRun { // then it is the result
		say = func(format string, v ...any) { fmt.Fprintln(c, printable(fmt.Sprintf(format, v...))) }
	}
	say("%s in %s, account %s, as %s", plan.Bucket, plan.Region, plan.Account, plan.Caller)
	for _, s := range plan.Steps {
		say("  %s: %s", s.ID, s.What)
	}
	if len(plan.Steps) == 0 {
		say("  nothing to do")
	}
	for _, n := range plan.Notes {
		c.warn("%s", n)
	}
	return nil
}
