package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/cmd/internal/lockdown"
)

const lockdownText = `Publishes a message for each target, which has the function shotglass-lambda contain it, release it or say its status: whoever asks so needs
sns:Publish on the topic, and the external id. That a message was published says nothing about what
comes of it: the function tells that to its audit topic. Targets are ARNs or access key ids. Standard output gets
one line per target, with tabs: target, message id. docs/lockdown.md says how the function is set up.`

const groupLockdown = "Lockdown"

// A lockdownRun is one run of the command lockdown.
type lockdownRun struct {
	topic, profile, endpoint string
	externalID               string
	requests                 []lockdown.Request
	yes                      bool
}

func lockdownCommand(c *console) *cli.Command {
	str := func(name, envName, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, EnvVars: env(envName), Usage: usage, Category: groupLockdown}
	}
	return &cli.Command{
		Name: "lockdown", Usage: "ask the function in AWS to contain, by a message", ArgsUsage: "ARN...", Description: lockdownText,
		Flags: []cli.Flag{
			str("topic", "LOCKDOWN_TOPIC", "SNS topic that the function listens on: `ARN`"),
			&cli.StringFlag{Name: "external-id-file", EnvVars: env("LOCKDOWN_EXTERNAL_ID_FILE"), Usage: "the external id is the first line of `FILE`; or set SHOTGLASS_LOCKDOWN_EXTERNAL_ID", Category: groupLockdown, TakesFile: true},
			&cli.BoolFlag{Name: "ask-external-id", Usage: "ask for it on the terminal", Category: groupLockdown, DisableDefaultText: true},
			&cli.StringFlag{Name: "action", Usage: "what to ask for: `contain|release|status`", Value: string(lockdown.Contain), Category: groupLockdown},
			&cli.StringFlag{Name: "case", EnvVars: env("CASE"), Usage: "`ID` of the case; a target has one journal in a case", Value: lockdown.DefaultCase, Category: groupLockdown},
			&cli.BoolFlag{Name: "dry-run", Usage: "have the function say what it would do, and change nothing", Category: groupLockdown, DisableDefaultText: true},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask", Category: groupLockdown, DisableDefaultText: true},
			&cli.StringFlag{Name: "aws-profile", EnvVars: env("AWS_PROFILE"), Usage: "`NAME` of the profile in ~/.aws", Category: groupAWS},
			&cli.StringFlag{Name: "aws-endpoint", EnvVars: env("AWS_ENDPOINT"), Usage: "another server than AWS, such as an emulator: `URL`", Category: groupAWS},
			jsonFlag(),
		},
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			o, err := readLockdown(c, ctx)
			if err != nil {
				return err
			}
			return o.run(ctx.Context, c)
		},
	}
}

func readLockdown(c *console, ctx *cli.Context) (*lockdownRun, error) {
	o := &lockdownRun{topic: ctx.String("topic"), profile: ctx.String("aws-profile"), endpoint: ctx.String("aws-endpoint"), yes: ctx.Bool("yes")}
	if o.topic == "" {
		return nil, usagef("no topic").fix("name the one that the function listens on with --topic")
	}
	if err := lockdown.CheckTopic(o.topic); err != nil {
		return nil, usagef("--topic: %v", err)
	}
	if ctx.NArg() == 0 {
		return nil, usagef("no target").fix("name one: an ARN or AKIA...")
	}
	for _, a := range ctx.Args().Slice() {
		// The function reads what is written here: what it would refuse, this does.
		given := map[string]string{lockdown.AttrARN: a, lockdown.AttrAction: ctx.String("action"), lockdown.AttrCase: ctx.String("case"), lockdown.AttrDryRun: fmt.Sprint(ctx.Bool("dry-run"))}
		r, err := lockdown.Parse(given)
		if err != nil {
			return nil, usagef("%s: %v", a, err)
		}
		if slices.Contains(o.requests, r) {
			return nil, usagef("%s is named twice", r.Target)
		}
		o.requests = append(o.requests, r)
	}
	source := secretSource{what: "external-id", flag: "external-id-file", file: ctx.String("external-id-file"), env: "SHOTGLASS_LOCKDOWN_EXTERNAL_ID", ask: ctx.Bool("ask-external-id")}
	open, _, err := source.open(newPrompter(c))
	if err != nil {
		return nil, err
	}
	if open == nil {
		return nil, usagef("no external id").fix("--external-id-file FILE, SHOTGLASS_LOCKDOWN_EXTERNAL_ID or --ask-external-id; it is never given on the command line")
	}
	id, err := open(ctx.Context, "External id")
	if err != nil {
		return nil, err
	}
	o.externalID = string(id)
	if err := lockdown.CheckExternalID(o.externalID); err != nil {
		return nil, usagef("%v", err).fix("it is what the function was set up with")
	}
	return o, nil
}

func (o *lockdownRun) run(ctx context.Context, c *console) error {
	sctx, stop := catchSignals(ctx, c.exit, func(name string) {
		c.line("shotglass: " + name + ": finishing the call under way; press Ctrl-C again to leave at once")
	}, func() {})
	defer stop()
	if err := o.ask(sctx); err != nil {
		return err
	}
	api, err := lockdown.Client(sctx, o.topic, o.profile, o.endpoint)
	if err != nil {
		return err
	}
	code, good := exitOK, 0
	for i, r := range o.requests {
		id, err := r.Publish(sctx, api, o.topic, o.externalID)
		if sctx.Err() != nil {
			c.line(fmt.Sprintf("shotglass: interrupted: %s asked for, %s perhaps, %d not", plural(good, "target"), r.Target, len(o.requests)-i-1))
			return context.Cause(sctx)
		}
		if err != nil {
			c.fail("", fmt.Errorf("%s: not asked for: %w", r.Target, err))
			code = exitFailed
			continue
		}
		good++
		if err := o.tell(c, r, id); err != nil {
			return err
		}
	}
	if good > 0 {
		c.info("what came of it, the function tells to its audit topic: being asked for is not being contained")
	}
	return endContain(c, code, good, len(o.requests)-good)
}

func (o *lockdownRun) tell(c *console, r lockdown.Request, id string) error {
	if c.json {
		return c.message("lockdown", struct {
			Name    string          `json:"name"`
			Action  lockdown.Action `json:"action"`
			Case    string          `json:"case"`
			DryRun  bool            `json:"dry_run"`
			Topic   string          `json:"topic"`
			Message string          `json:"message_id"`
		}{r.Target.String(), r.Action, r.Case, r.DryRun, o.topic, id})
	}
	_, err := fmt.Fprintf(c, "%s\t%s\n", printable(r.Target.String()), printable(id))
	return err
}

// ask asks for a yes on the terminal, for what changes something.
func (o *lockdownRun) ask(ctx context.Context) error {
	if first := o.requests[0]; o.yes || first.DryRun || first.Action == lockdown.Status {
		return nil
	}
	in, out, err := openTerminal()
	if err != nil {
		return usagef("there is no terminal to ask on").fix("look at what would be done with --dry-run, then pass --yes")
	}
	defer in.Close()
	defer out.Close()
	var names []string
	for _, r := range o.requests {
		names = append(names, r.Target.String())
	}
	got, err := readLine(ctx, bufio.NewReader(in), out, fmt.Sprintf("Ask to %s %s? Type yes: ", o.requests[0].Action, strings.Join(names, ", ")))
	if err != nil {
		return err
	}
	if got != "yes" {
		return &exitError{Code: exitFailed, Err: fmt.Errorf("not accepted: nothing was asked for")}
	}
	return nil
}
