package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
	"github.com/shotglass-ir/shotglass/cmd/internal/workstation"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const groupWorkstation = "Workstation"

const workstationCreateText = `Makes an analysis instance for a case: a stack of CloudFormation with a VPC of its own. The only way in is SSH from --examiner, one address, or an EC2
Instance Connect endpoint; the only way out is to the case's prefix in S3, and to --examiner. Its role reads that prefix and nothing else. Volumes
of --snapshot are attached and set read-only; mount-evidence there mounts them. The files of --tools (shotglass, Volatility's wheels) get there through the bucket, and are
installed if they have their digests. Run again it waits for what an earlier run began. --template prints the template. docs/workstation.md has all. Never
tried on AWS itself.`

func workstationCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "workstation", Usage: "make, list and destroy analysis instances in AWS",
		Subcommands: []*cli.Command{workstationCreateCommand(c), workstationListCommand(c), workstationDestroyCommand(c), workstationImagesCommand(c)},
		Action: func(*cli.Context) error {
			return usagef("no subcommand").fix("shotglass workstation create, list, destroy or images")
		},
	}
}

func workstationCreateCommand(c *console) *cli.Command {
	str := func(name, usage, value string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: usage, Value: value, Category: groupWorkstation}
	}
	return &cli.Command{
		Name: "create", Usage: "make an analysis instance for a case", ArgsUsage: "CASE", Description: workstationCreateText,
		Flags: slices.Concat([]cli.Flag{
			str("evidence", "where the case's evidence lies, all that the instance may read: `s3://BUCKET/PREFIX/`", ""),
			str("examiner", "let SSH in from this `ADDRESS/32` and no other; without, only EC2 Instance Connect's endpoint does", ""),
			str("key-name", "key pair of EC2 for --examiner: `NAME`", ""),
			&cli.StringSliceFlag{Name: "snapshot", Usage: fmt.Sprintf("attach a volume of this snapshot, read-only; %d at most: `ID`", workstation.MostSnapshots), Category: groupWorkstation},
			&cli.StringFlag{Name: "tools", Usage: "upload the files of `DIR`, to be installed there: shotglass, and wheels of Volatility 3 with all that they need", Category: groupWorkstation, TakesFile: true},
			str("kms-key", "key that the evidence is encrypted under: `ARN`; without, the bucket's default one", ""),
			str("instance-type", "`TYPE`, of x86_64 and Nitro", "r6i.xlarge"),
			&cli.IntFlag{Name: "root-size", Usage: "size of its own volume, in `GiB`", Value: 100, Category: groupWorkstation},
			str("owner", "`NAME` of who answers for it, as a tag", ""),
			&cli.BoolFlag{Name: "yes", Usage: "do not ask", Category: groupWorkstation, DisableDefaultText: true},
			&cli.BoolFlag{Name: "template", Usage: "print CloudFormation's template, and call nobody", Category: groupWorkstation, DisableDefaultText: true},
			pathStyleFlag(),
		}, accountFlags(), []cli.Flag{jsonFlag()}),
		Action: func(ctx *cli.Context) error {
			if ctx.Bool("template") {
				_, err := io.WriteString(c, workstation.Template)
				return err
			}
			c.json = ctx.Bool("json")
			o, err := readWorkstation(ctx)
			if err != nil {
				return err
			}
			return o.run(ctx.Context, c)
		},
	}
}

// A workstationRun is one run of workstation create.
type workstationRun struct {
	access    awsaccess.Access
	terms     workstation.Terms
	tools     []workstation.Tool
	pathStyle bool
	yes       bool
}

func readWorkstation(ctx *cli.Context) (*workstationRun, error) {
	if ctx.NArg() != 1 {
		return nil, usagef("want one case, have %d", ctx.NArg())
	}
	access, err := readAccount(ctx)
	if err != nil {
		return nil, err
	}
	o := &workstationRun{access: access, pathStyle: ctx.Bool("s3-path-style"), yes: ctx.Bool("yes"), terms: workstation.Terms{
		Case: ctx.Args().First(), Owner: ctx.String("owner"), KMSKey: ctx.String("kms-key"), ExaminerCIDR: ctx.String("examiner"), KeyName: ctx.String("key-name"),
		InstanceType: ctx.String("instance-type"), RootGiB: ctx.Int("root-size"), Snapshots: ctx.StringSlice("snapshot"),
	}}
	if o.terms.Bucket, o.terms.Prefix, err = s3.ParseURL(ctx.String("evidence")); err != nil {
		return nil, usagef("--evidence: %v", err)
	}
	if dir := ctx.String("tools"); dir != "" {
		if o.tools, o.terms.ToolSums, err = workstation.Tools(dir); err != nil {
			return nil, usagef("--tools: %v", err)
		}
	}
	if err := o.terms.Valid(); err != nil {
		return nil, usagef("%v", err)
	}
	return o, nil
}

func (o *workstationRun) run(ctx context.Context, c *console) error {
	sctx, stop := catchSignals(ctx, c.exit, func(name string) {
		c.line("shotglass: " + name + ": leaving the stack to itself; run it again to wait on, or destroy it")
	}, func() {})
	defer stop()
	stacks, err := workstations(sctx, o.access)
	if err != nil {
		return err
	}
	place := evidencebucket.Place{Bucket: o.terms.Bucket, PathStyle: o.pathStyle}
	region, err := evidencebucket.Region(sctx, stacks.Config, place)
	if err != nil {
		return err
	}
	if here := stacks.Config.Region; region != "" && region != here {
		return usagef("the bucket %s is in %s, and a workstation in %s could not reach it", o.terms.Bucket, region, here).fix("--aws-region %s", region)
	} else if k := o.terms.KeyRegion(); k != "" && k != here {
		return usagef("--kms-key is in %s: evidence in %s is under no key of another region", k, here).fix("--aws-region %s, if the bucket is there too", k)
	}
	if o.terms.KMSKey == "" {
		if o.terms.KMSKey, err = evidencebucket.DefaultKey(sctx, stacks.Config, place); err != nil {
			return err
		}
	}
	o.tellPlan(c, stacks.Config.Region)
	if !o.yes {
		if err := askYes(sctx, "It costs from the moment that it is made until it is destroyed. Make it?"); err != nil {
			return err
		}
	}
	if err := o.upload(sctx, c); err != nil {
		return err
	}
	st, err := stacks.Create(sctx, o.terms, func(s string) { c.info("  %s", s) })
	if err != nil {
		if errors.Is(err, workstation.ErrBroken) {
			c.hint("shotglass workstation destroy " + o.terms.Case + ", then create it again")
		}
		if errors.Is(err, workstation.ErrDiffers) {
			c.hint("it was left as it is: create it on its own terms, or shotglass workstation destroy " + o.terms.Case + " first")
		}
		return err
	}
	return tellWorkstations(c, []*workstation.Stack{st}, 0)
}

func (o *workstationRun) tellPlan(c *console, region string) {
	t := o.terms
	in := "EC2 Instance Connect's endpoint, which IAM opens; the instance has no public address"
	if t.ExaminerCIDR != "" {
		in = "SSH from " + t.ExaminerCIDR
	}
	c.info("a workstation for case %s in %s: %s", t.Case, region, t.InstanceType)
	c.info("  way in: %s", in)
	c.info("  reads: s3://%s/%s and nothing else; key %s", t.Bucket, t.Prefix, dash(t.KMSKey))
	c.info("  snapshots: %s", dash(strings.Join(t.Snapshots, ", ")))
	for _, tool := range o.tools {
		c.info("  tool: %s, SHA-256 %s", tool.Name, tool.SHA256)
	}
	if len(o.tools) == 0 {
		c.warn("no --tools: neither shotglass nor Volatility will be on it, and it has no other way to get them")
	}
}

func (o *workstationRun) upload(ctx context.Context, c *console) error {
	if len(o.tools) == 0 {
		return nil
	}
	to, err := s3.New(ctx, s3.Options{Bucket: o.terms.Bucket, Prefix: o.terms.Prefix + "tools/", Region: o.access.Region, Profile: o.access.Profile, Endpoint: o.access.Endpoint, PathStyle: o.pathStyle, RoleARN: o.access.Role, ExternalID: o.access.ExternalID})
	if err != nil {
		return fmt.Errorf("S3: %w", err)
	}
	for _, t := range o.tools {
		c.info("  uploading %s", t.Name)
		if err := t.Upload(ctx, to); err != nil {
			return err
		}
	}
	return nil
}

func workstations(ctx context.Context, access awsaccess.Access) (*workstation.Stacks, error) {
	cfg, err := bucketConfig(ctx, access)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, usagef("in which region is not known").fix("--aws-region REGION")
	}
	return &workstation.Stacks{Config: cfg}, nil
}

func workstationListCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the analysis instances of a region, with age and cost",
		Description: "Lists what workstation create made in a region, also what failed or is being deleted. Prices are not looked up: the cost is that of --hourly-price, for the whole time since it\nwas made, without volumes and traffic.",
		Flags: append(append([]cli.Flag{
			&cli.Float64Flag{Name: "hourly-price", Usage: "what an hour of an instance costs: `PRICE`", Category: groupWorkstation, DefaultText: "not known"},
		}, accountFlags()...), jsonFlag()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() > 0 {
				return usagef("list takes no arguments")
			}
			access, err := readAccount(ctx)
			if err != nil {
				return err
			}
			stacks, err := workstations(ctx.Context, access)
			if err != nil {
				return err
			}
			list, err := stacks.List(ctx.Context)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				c.info("shotglass: no workstation in %s", stacks.Config.Region)
			}
			return tellWorkstations(c, list, ctx.Float64("hourly-price"))
		},
	}
}

// tellWorkstations prints stacks. Their tags are what somebody gave them.
func tellWorkstations(c *console, list []*workstation.Stack, price float64) error {
	w := tabwriter.NewWriter(c, 0, 8, 2, ' ', 0)
	if !c.json && len(list) > 0 {
		fmt.Fprintln(w, "CASE\tOWNER\tREGION\tSTATE\tINSTANCE\tADDRESS\tTYPE\tAGE\tCOST")
	}
	for _, s := range list {
		age := time.Since(s.Created)
		cost := "price not looked up"
		if price > 0 {
			cost = fmt.Sprintf("%.2f at %g an hour", age.Hours()*price, price)
		}
		if c.json {
			if err := c.message("workstation", struct {
				*workstation.Stack
				Age  time.Duration `json:"age_ns"`
				Cost *float64      `json:"cost,omitempty"`
			}{s, age.Round(time.Second), costOf(age, price)}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", dash(s.Case), dash(s.Owner), s.Region, dash(s.State), dash(s.Instance), dash(s.Address), dash(s.Type), ageText(age), cost)
	}
	return w.Flush()
}

func costOf(age time.Duration, price float64) *float64 {
	if price <= 0 {
		return nil
	}
	cost := age.Hours() * price
	return &cost
}

func workstationDestroyCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "destroy", Usage: "delete the analysis instance of a case, and all that was made with it", ArgsUsage: "CASE",
		Description: "Deletes the stack and waits until all of it is gone. What is left is named, and makes the exit code 3; run it again then. Evidence, snapshots and tools in the bucket stay. What was\nwritten on the instance is gone.",
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "do not ask", Category: groupWorkstation, DisableDefaultText: true},
		}, accountFlags()...), jsonFlag()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() != 1 {
				return usagef("want one case, have %d", ctx.NArg())
			}
			access, err := readAccount(ctx)
			if err != nil {
				return err
			}
			return destroyWorkstation(ctx.Context, c, access, ctx.Args().First(), ctx.Bool("yes"))
		},
	}
}

func destroyWorkstation(ctx context.Context, c *console, access awsaccess.Access, caseID string, yes bool) error {
	if _, err := workstation.StackName(caseID); err != nil {
		return usagef("%v", err)
	}
	sctx, stop := catchSignals(ctx, c.exit, func(name string) {
		c.line("shotglass: " + name + ": the deletion goes on by itself; run it again to see the end")
	}, func() {})
	defer stop()
	stacks, err := workstations(sctx, access)
	if err != nil {
		return err
	}
	if !yes {
		if err := askYes(sctx, "What was written on the workstation of case "+caseID+" will be gone. Destroy it?"); err != nil {
			return err
		}
	}
	left, err := stacks.Destroy(sctx, caseID, func(s string) { c.info("  %s", s) })
	if err != nil {
		return err
	}
	code := exitOK
	if len(left) > 0 {
		code = exitPartial
	}
	if c.json {
		if err := c.message("workstation_destroyed", struct {
			Code int                `json:"code"`
			Case string             `json:"case"`
			Left []workstation.Left `json:"left"`
		}{code, caseID, left}); err != nil {
			return err
		}
		return exitWith(code)
	}
	for _, l := range left {
		fmt.Fprintf(c, "LEFT  %s  %s  %s  %s\n", cell(l.Name), cell(l.Type), cell(l.ID), cell(l.Why))
	}
	if code == exitOK {
		c.info("shotglass: all of it is gone")
	}
	return exitWith(code)
}
