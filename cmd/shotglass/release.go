package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/containment"
)

const journalArgs = "TARGET|JOURNAL..."

const (
	releaseText = `Puts back what contain changed, in reverse order, by the journal: what is still as it was set becomes what it was before, what is as before
stays, and what someone else changed meanwhile is left and named: a conflict, exit code 5. Keys stay
inactive unless asked for. Standard output gets one line per target, with tabs: target, outcome, journal.`
	statusText = `Reads everything that the journals say is changed, and says whether it still holds. It changes nothing. Without arguments it does so for all
journals of the folder. Exit code 0: all hold, or are released. 5: something does not.`
)

func releaseCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "release", Usage: "put back what contain changed", ArgsUsage: journalArgs, Description: releaseText,
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "reactivate-keys", Usage: "also make keys active again that contain made inactive: AWS strongly advises against it for keys that leaked", Category: groupContain, DisableDefaultText: true},
			&cli.StringSliceFlag{Name: "also", Usage: "also put back items of this `KIND`, such as those that the plan said would stay", Category: groupContain},
			&cli.BoolFlag{Name: "force", Usage: "also overwrite what someone else changed meanwhile", Category: groupContain, DisableDefaultText: true},
			&cli.StringSliceFlag{Name: "stage", Usage: "put back this `STAGE` alone", Category: groupContain},
		}, journalFlags(), awsFlags(), []cli.Flag{jsonFlag()}, s3AccessFlags()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			o := containment.ReleaseOptions{Also: ctx.StringSlice("also"), Force: ctx.Bool("force")}
			if ctx.Bool("reactivate-keys") {
				o.Also = append(o.Also, credentialKinds...)
			}
			for _, s := range ctx.StringSlice("stage") {
				if !slices.Contains(containment.Stages, containment.Stage(s)) {
					return usagef("--stage %q: the stages are %s", s, stageNames())
				}
				o.Stages = append(o.Stages, containment.Stage(s))
			}
			if ctx.NArg() == 0 {
				return usagef("no target").fix("name it, or its journal; shotglass status lists them")
			}
			return eachJournal(c, ctx, func(ctx context.Context, e *containment.Engine, name string) (*containment.Result, error) {
				return e.Release(ctx, name, o)
			})
		},
	}
}

func statusCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "say what is contained, and whether it holds", ArgsUsage: "[TARGET|JOURNAL...]", Description: statusText,
		Flags: slices.Concat(journalFlags(), awsFlags(), []cli.Flag{jsonFlag()}, s3AccessFlags()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			return eachJournal(c, ctx, func(ctx context.Context, e *containment.Engine, name string) (*containment.Result, error) {
				return e.Status(ctx, name)
			})
		},
	}
}

// eachJournal does something with each journal that the arguments name, one after another, and goes on after a failure.
func eachJournal(c *console, ctx *cli.Context, do func(context.Context, *containment.Engine, string) (*containment.Result, error)) error {
	access, err := readAWSAccess(c, ctx)
	if err != nil {
		return err
	}
	sctx, stop := catchSignals(ctx.Context, c.exit, func(name string) {
		c.line("shotglass: " + name + ": finishing the call under way; press Ctrl-C again to leave at once")
	}, func() {})
	defer stop()
	names, err := journalNames(sctx, access, ctx)
	if err != nil {
		return err
	}
	code, good, bad := exitOK, 0, 0
	for _, name := range names {
		r, err := oneOf(sctx, c, access, name, do)
		if ctx.NArg() == 0 && errors.Is(err, containment.ErrNoJournal) { // nothing but that a release was asked for
			continue
		}
		if err != nil {
			c.fail("", err)
		}
		one := containCode(r, err, false)
		if r != nil && r.Outcome == containment.Free {
			one = exitOK
		}
		if one == exitOK {
			good++
		} else {
			bad++
		}
		code = worse(code, one)
		if err := tellContained(c, r); err != nil {
			return err
		}
		if sctx.Err() != nil && len(names) > good+bad {
			c.line(fmt.Sprintf("shotglass: interrupted: %s not looked at", plural(len(names)-good-bad, "journal")))
			code = worse(code, exitInterrupted)
			break
		}
	}
	return endContain(c, code, good, bad)
}

func oneOf(ctx context.Context, c *console, access awsAccess, name string, do func(context.Context, *containment.Engine, string) (*containment.Result, error)) (*containment.Result, error) {
	p, err := access.bare().Journaled(ctx, name)
	if err != nil {
		return nil, err
	}
	e, err := access.Engine(ctx, p.Case)
	if err != nil {
		return nil, err
	}
	e.Observe = func(ev containment.Event) { tellContainment(c, ev) }
	return do(ctx, e, name)
}

// journalNames are those that the arguments name, or all.
func journalNames(ctx context.Context, access awsAccess, args *cli.Context) ([]string, error) {
	e := access.bare()
	if args.NArg() == 0 {
		names, err := e.Journals.List(ctx)
		if err == nil && len(names) == 0 {
			err = usagef("no journal in %s", e.Journals).fix("name the folder with --journal")
		}
		return names, err
	}
	var names []string
	for _, a := range args.Args().Slice() {
		if strings.HasSuffix(a, containment.JournalSuffix) {
			if err := checkJournal(a); err != nil {
				return nil, err
			}
			names = append(names, a)
			continue
		}
		t, err := containment.ParseTarget(a)
		if err != nil {
			return nil, usagef("%v", err)
		}
		name, err := oneJournal(ctx, e, t, args.String("case"))
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if n := len(names); n != len(slices.Compact(slices.Sorted(slices.Values(names)))) {
		return nil, usagef("a target is named twice")
	}
	return names, nil
}

// checkJournal refuses the path of a journal: its folder is a flag.
func checkJournal(name string) error {
	if filepath.Base(name) != name {
		return usagef("%q: name the journal without its folder", name).fix("--journal %s %s", filepath.Dir(name), filepath.Base(name))
	}
	return nil
}
