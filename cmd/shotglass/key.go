package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
)

const keyArgs = "KEY"

const keyText = `Says whose an AWS access key is, what its owner may do, and, by CloudTrail's event history in all regions, what was done with it: when first and last, from
where, what was denied, what it made, and which other identities it made or took, whose doings are followed in turn. KEY is AKIA..., ASIA...,
user/NAME, role/NAME or the ARN of a user or a role. It only reads, but for --contain.

With -o DIR the record of it all, signed, and the events as CloudTrail has them are kept there. --contain contains the key's owner afterwards, as
shotglass contain does; --contain-made all that it made or took, too. What could not be looked at is named, and makes the
exit code 3. docs/key.md says what it sees and what it does not. Never tried on AWS itself.`

const groupKey = "Key"

// A keyRun is one run of the command key.
type keyRun struct {
	target  containment.Target
	tracer  keytrail.Tracer
	contain *containRun
	asked   bool // to contain it
	made    bool // and what it made

	timeline bool
	output   string
	caseID   string
	signing  *captureOptions

	flags  string            // those of contain that were given, for commands
	became []containedTarget // with --contain: what became of each identity
	caller string            // the account of who calls
	kept   *keptKey          // the record of the trace; nil: there is none
}

func keyCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "key", Usage: "say whose an AWS access key is and what was done with it", ArgsUsage: keyArgs, Description: keyText,
		Flags: slices.Concat(keyFlags(), withoutResume(containFlags()), journalFlags(), awsFlags(), []cli.Flag{jsonFlag()}, s3AccessFlags()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			o, err := readKey(c, ctx, time.Now())
			if err != nil {
				return err
			}
			if o.output != "" {
				var closer io.Closer
				if o.signing, closer, err = recordSigner(c, ctx); err != nil {
					return err
				}
				defer closer.Close()
			}
			return o.run(ctx.Context, c)
		},
	}
}

func keyFlags() []cli.Flag {
	yes := func(name, usage string) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, Category: groupKey, DisableDefaultText: true}
	}
	number := func(name, envName, usage string, value int) cli.Flag {
		return &cli.IntFlag{Name: name, EnvVars: env(envName), Usage: usage, Value: value, Category: groupKey}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "since", EnvVars: env("KEY_SINCE"), Usage: "look at events since this `TIME`: 2006-01-02T15:04:05Z, or so long ago, as 36h or 14d", Value: "90d", Category: groupKey},
		&cli.StringFlag{Name: "until", EnvVars: env("KEY_UNTIL"), Usage: "and until this `TIME`", DefaultText: "now", Category: groupKey},
		&cli.StringSliceFlag{Name: "trail-region", EnvVars: env("TRAIL_REGION"), Usage: "ask the event history of this `REGION` alone", DefaultText: "all that the account has enabled", Category: groupKey},
		&cli.StringFlag{Name: "trail", EnvVars: env("TRAIL"), Usage: "read CloudTrail's log files in this folder, too: `DIR`", TakesFile: true, Category: groupKey},
		&cli.StringSliceFlag{Name: "account", EnvVars: env("KEY_ACCOUNT"), Usage: "follow into this `ACCOUNT`, and contain there, too, by --aws-role", DefaultText: "the key's and your own", Category: groupKey},
		number("depth", "KEY_DEPTH", "follow identities that were made or taken for `N` steps", 4),
		number("identities", "KEY_IDENTITIES", "follow `N` identities at most", 60),
		number("pages", "KEY_PAGES", "read `N` pages of 50 events at most for each identity and region", 200),
		yes("timeline", "print every event, in order of time, in place of the worst"),
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, EnvVars: env("KEY_OUTPUT"), Usage: "keep a record of it, and the events, in this folder: `DIR`", TakesFile: true, Category: groupKey},
		&cli.StringFlag{Name: "sign-key", EnvVars: env("SIGN_KEY"), Usage: "sign the record with this SSH key: a private key, or the .pub of a key that ssh-agent holds: `FILE`", TakesFile: true, Category: groupKey},
		&cli.StringFlag{Name: "key-passphrase-file", EnvVars: env("KEY_PASSPHRASE_FILE"), Usage: "read the passphrase of the key from the first line of `FILE`; or set SHOTGLASS_KEY_PASSPHRASE", TakesFile: true, Category: groupKey},
		yes("unsigned", "leave the record unsigned"),
		yes("contain", "contain the key's owner afterwards: everything denied, all credentials off; the role, of a temporary key"),
		yes("contain-made", "and all that it made or took"),
	}
}

// withoutResume leaves out what contain does with a journal that is there: the trace comes first here.
func withoutResume(flags []cli.Flag) []cli.Flag {
	return slices.DeleteFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == "resume" })
}

func readKey(c *console, ctx *cli.Context, now time.Time) (*keyRun, error) {
	o := &keyRun{asked: ctx.Bool("contain"), made: ctx.Bool("contain-made"), timeline: ctx.Bool("timeline"), output: ctx.String("output"), caseID: ctx.String("case")}
	if ctx.NArg() != 1 {
		return nil, usagef("want one key, have %d arguments", ctx.NArg()).fix("name it: AKIA..., ASIA..., user/NAME, role/NAME, or the ARN of a user or a role")
	}
	t, err := containment.ParseTarget(ctx.Args().First())
	if err != nil {
		return nil, usagef("%v", err)
	}
	if t.Kind != containment.AccessKey && t.Kind != containment.User && t.Kind != containment.Role {
		return nil, usagef("%s is no key, user or role", t)
	}
	o.target = t
	since, err := parseMoment(ctx.String("since"), now)
	if err != nil {
		return nil, usagef("--since %v", err)
	}
	o.tracer = keytrail.Tracer{Since: since, Regions: ctx.StringSlice("trail-region"), Pages: ctx.Int("pages"), Depth: ctx.Int("depth"), Most: ctx.Int("identities"),
		Accounts: ctx.StringSlice("account")}
	for _, a := range o.tracer.Accounts {
		if err := hostsfile.CheckAccount(a); err != nil {
			return nil, usagef("--account: %v", err)
		}
	}
	if text := ctx.String("until"); text != "" {
		if o.tracer.Until, err = parseMoment(text, now); err != nil {
			return nil, usagef("--until %v", err)
		}
		if !o.tracer.Until.After(since) {
			return nil, usagef("--until %s is not after --since", text)
		}
	}
	for _, r := range o.tracer.Regions {
		if err := hostsfile.CheckRegion(r); err != nil {
			return nil, usagef("--trail-region: %v", err)
		}
	}
	if o.tracer.Depth < 0 || o.tracer.Most < 1 || o.tracer.Pages < 1 {
		return nil, usagef("--depth wants a number from 0, --identities and --pages one from 1")
	}
	if dir := ctx.String("trail"); dir != "" {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, usagef("--trail %s is no folder", dir).fix("fetch the log files first: aws s3 sync s3://BUCKET/AWSLogs/ACCOUNT/CloudTrail/ DIR")
		}
		o.tracer.Logs, o.tracer.LogsName = os.DirFS(dir), dir
	}
	if o.contain, err = readContainOptions(c, ctx); err != nil {
		return nil, err
	}
	o.flags = givenText(ctx, withoutResume(containFlags()), "yes", "dry-run")
	if !o.asked {
		for _, name := range []string{"contain-made", "yes", "dry-run", "key-only"} {
			if ctx.Bool(name) {
				return nil, usagef("--%s is for --contain", name)
			}
		}
	}
	return o, nil
}

// parseMoment reads a time, or how long ago one was.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	ago, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); err == nil && n < 100_000 {
			ago = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil || ago <= 0 {
		return time.Time{}, fmt.Errorf("%q: want a time such as 2006-01-02T15:04:05Z, or how long ago, such as 36h or 14d", text)
	}
	return now.Add(-ago), nil
}

func (o *keyRun) run(ctx context.Context, c *console) error {
	if o.asked {
		c.info("%s: contained after the trace, which may take minutes: shotglass contain does it at once, and the trace can follow", o.target)
	}
	found, who, err := o.trace(ctx, c)
	if err != nil {
		return err
	}
	code := keyCode(found)
	told := o.tell(c, found)
	if o.output == "" {
		c.info("shotglass: nothing of this is kept: -o DIR --sign-key FILE keeps a signed record and the events")
	} else if err := o.keep(ctx, c, found, who); err != nil {
		// Neither a full disk nor a closed pipe keeps the key from being contained.
		c.fail("", fmt.Errorf("keep the record: %w", err))
		code = worse(code, exitFailed)
	}
	if told != nil {
		c.fail("", told)
		code = worse(code, exitFailed)
	}
	if !o.asked {
		return o.end(c, code, found)
	}
	return o.lock(ctx, c, found, code)
}

// testOnlyPace, if set, is the time between two calls to CloudTrail in a region.
var testOnlyPace time.Duration

// trace follows the key, and says who looked.
func (o *keyRun) trace(ctx context.Context, c *console) (*keytrail.Found, containment.Identity, error) {
	var who containment.Identity
	sctx, stop := catchSignals(ctx, c.exit, func(string) {}, func() {})
	defer stop()
	accounts, err := o.contain.access.Accounts(sctx, o.caseID)
	if err != nil {
		return nil, who, err
	}
	if who, err = accounts.Caller(sctx); err != nil {
		return nil, who, err
	}
	o.caller = who.Account
	o.tracer.Accounts = append(o.tracer.Accounts, who.Account)
	o.tracer.Config, o.tracer.History = accounts.Config, &trail.History{Config: accounts.Config, Pace: testOnlyPace}
	o.tracer.Tell = func(text string) { c.info("%s: %s", o.target, printable(text)) }
	found, err := o.tracer.Trace(sctx, o.target)
	if kept := time.Now().Add(-trail.Kept); err == nil && o.tracer.Logs == nil && o.tracer.Since.Before(kept.Add(-time.Hour)) {
		found.Gaps = append(found.Gaps, keytrail.Gap{What: "events of before " + clock(kept), Why: "the event history has 90 days; what was before is in log files alone (--trail)"})
	}
	return found, who, err
}

// keyCode is the exit code of a trace.
func keyCode(f *keytrail.Found) int {
	switch {
	case !f.Known():
		return exitFailed
	case f.Blindness() == 0:
		return exitOK
	}
	return exitPartial
}
