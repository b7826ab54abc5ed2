package main

import (
	"time"

	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
)

const modulesPruneText = `Removes modules from the cache: those that were not used for a time, and the least used of the rest until it is small enough. The
newest state of each repository stays, which remembers its revision, and so does what was used within the hour. Other runs may go on meanwhile;
one that is --offline may miss what is removed.`

func modulesPrune(c *console) *cli.Command {
	return &cli.Command{
		Name: "prune", HelpName: "modules prune", Usage: "remove modules from the cache", Description: modulesPruneText,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "unused", Usage: "remove modules that were not used for this `TIME`, such as 180d or 720h", Category: groupModule},
			&cli.StringFlag{Name: "max-size", Usage: "remove those used least lately until the rest has this `SIZE`, such as 500MiB", Category: groupModule},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be removed", Category: groupModule, DisableDefaultText: true},
			&cli.StringFlag{Name: "module-cache", Usage: "the cache: `DIR`", EnvVars: env("MODULE_CACHE"), Category: groupModule, TakesFile: true, DefaultText: "shotglass/modules in the user's cache folder"},
			jsonFlag(),
		},
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			return pruneModules(c, ctx)
		},
	}
}

func pruneModules(c *console, ctx *cli.Context) error {
	if ctx.NArg() > 0 {
		return usagef("unexpected argument %q", ctx.Args().First())
	}
	o := repository.PruneOptions{DryRun: ctx.Bool("dry-run")}
	if s := ctx.String("unused"); s != "" {
		d, until, err := hostsfile.ParseRetain(s, time.Now())
		if err != nil || !until.IsZero() {
			return usagef("--unused %q: want a time such as 180d or 720h", s)
		}
		o.Unused = d
	}
	if s := ctx.String("max-size"); s != "" {
		var err error
		if o.MaxSize, err = parseSize(s); err != nil {
			return usagef("--max-size: %v", err)
		}
	}
	if o.Unused == 0 && o.MaxSize == 0 {
		return usagef("nothing says what to remove").fix("--unused 180d, --max-size 500MiB, or both")
	}
	dir, err := moduleCache(ctx.String("module-cache"))
	if err != nil {
		return err
	}
	if dir == "" {
		return usagef("there is no cache").fix("name it with --module-cache DIR")
	}
	p, err := repository.Prune(ctx.Context, dir, o)
	if err != nil {
		return err
	}
	if c.json {
		return c.message("pruned", struct {
			*repository.Pruned
			Cache  string `json:"cache"`
			DryRun bool   `json:"dry_run"`
		}{p, dir, o.DryRun})
	}
	what := "removed"
	if o.DryRun {
		what = "would remove"
	}
	c.info("%s: %s %d files, %s; %d files, %s, stay", printable(dir), what, p.Removed, size(p.RemovedBytes), p.Kept, size(p.KeptBytes))
	return nil
}
