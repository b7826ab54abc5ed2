package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
)

// followUpFlags say what capture contains; the targets stand in the hosts file.
func followUpFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "contain", EnvVars: env("CONTAIN"), Usage: "contain what the hosts file names under containment, and the EC2 instances that are named beside it: `complete|always|never`, after a complete image, after any, or only plan it", Category: groupContain, DefaultText: "as the hosts file says, or complete"},
		&cli.BoolFlag{Name: "lock-first", EnvVars: env("LOCK_FIRST"), Usage: "lock credentials before the first byte of memory; if the capture fails they stay locked", Category: groupContain, DisableDefaultText: true},
		&cli.BoolFlag{Name: "protect-first", EnvVars: env("PROTECT_FIRST"), Usage: "protect instances from termination and from Auto Scaling before the first byte", Category: groupContain, Value: true},
		&cli.DurationFlag{Name: "watch", EnvVars: env("CONTAIN_WATCH"), Usage: "after containment see for this `TIME` whether someone undoes it, and do it again", Value: time.Minute, Category: groupContain},
		&cli.BoolFlag{Name: "require-verified", Usage: "exit with 5 for an instance whose flows nobody could look at, too", Category: groupContain, DisableDefaultText: true},
		&cli.BoolFlag{Name: "despite-denied", Usage: "begin although permissions for containment seem to be missing", Category: groupContain, DisableDefaultText: true},
	}
	for _, f := range journalFlags() {
		if f.Names()[0] != "case" { // has one already
			flags = append(flags, f)
		}
	}
	return slices.Concat(flags, awsFlags())
}

// containmentBeside is what is to be contained with a host that was named beside the file: an instance itself, as the file's defaults say, if a
// gate was given; else nothing.
func (o *captureOptions) containmentBeside(j *acquire.Job, file *hostsfile.File, gate string) hostsfile.Containment {
	spec := hostsfile.Host{}.Over(file).Containment
	spec.Targets = nil
	if e := o.ec2[hostOf(*j)]; e != nil && gate != "" {
		spec.There, spec.Targets = true, hostsfile.Strings{e.ARN}
	}
	return spec
}

// readFollowUps hangs containment on the jobs of hosts that the file has targets for. The jobs must be complete.
func (o *captureOptions) readFollowUps(c *console, ctx *cli.Context, file *hostsfile.File) error {
	gate := ctx.String("contain")
	if gate != "" && !slices.Contains(hostsfile.Gates, gate) {
		return usagef("--contain %q: want complete, always or never", gate)
	}
	all := &followUps{o: o, watch: ctx.Duration("watch"), denied: ctx.Bool("despite-denied"), verified: ctx.Bool("require-verified")}
	var base awsAccess
	hosts := file.Merged()
	for i := range o.Jobs {
		spec := o.containmentBeside(&o.Jobs[i], file, gate)
		if i < len(hosts) {
			spec = hosts[i].Containment
		}
		if len(spec.Targets) == 0 {
			continue
		}
		if base.Journals == nil {
			var err error
			if base, err = readAWSAccess(c, ctx); err != nil {
				return err
			}
		}
		spec.Gate = cmp.Or(gate, spec.Gate)
		if ctx.IsSet("lock-first") {
			first := ctx.Bool("lock-first")
			spec.LockFirst = &first
		}
		if ctx.IsSet("protect-first") {
			first := ctx.Bool("protect-first")
			spec.ProtectFirst = &first
		}
		access := base.with(spec)
		if err := all.hook(&o.Jobs[i], spec, access); err != nil {
			return usagef("%v", err)
		}
	}
	if len(all.hosts) == 0 {
		if gate == "complete" || gate == "always" || ctx.Bool("lock-first") {
			return usagef("nothing to contain: no host has targets").fix("name them in the hosts file: containment: {targets: [i-...]}; or EC2 instances by --ec2; or run shotglass contain")
		}
		return nil
	}
	o.follow = all
	return nil
}
