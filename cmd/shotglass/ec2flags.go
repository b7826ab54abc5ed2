package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
)

const groupEC2 = "EC2 instances"

// ec2SearchFlags say where instances are looked for.
func ec2SearchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "ec2-region", EnvVars: env("EC2_REGION"), Usage: "look for instances in this `REGION`, or in all that the account has enabled: all", Category: groupEC2, DefaultText: "--aws-region, or all if there is none"},
		&cli.StringSliceFlag{Name: "ec2-account", EnvVars: env("EC2_ACCOUNT"), Usage: "look in this account, through the role of --aws-role: `NUMBER`", Category: groupEC2, DefaultText: "that of the caller, or of the role"},
	}
}

// ec2Flags say which instances are captured, and how they are reached.
func ec2Flags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringSliceFlag{Name: "ec2", Usage: "capture the EC2 instances that this `SELECTOR` names: i-..., an ARN, an address, tag:KEY=VALUE, asg:NAME and more, with commas between what must all hold; see docs/ec2.md", Category: groupEC2},
	}, ec2SearchFlags(), []cli.Flag{
		&cli.StringFlag{Name: "ec2-address", EnvVars: env("EC2_ADDRESS"), Usage: "reach instances by this address: `" + strings.Join(hostsfile.AddressRules, "|") + "`", Category: groupEC2, DefaultText: "auto: what fits"},
		&cli.StringFlag{Name: "ec2-connect", EnvVars: env("EC2_CONNECT"), Usage: "log in to instances by a key that is made for this run and pushed by EC2 Instance Connect, directly or through its endpoint or Session Manager: `" + strings.Join(hostsfile.ConnectRules, "|") + "`", Category: groupEC2, DefaultText: "none: by your own keys"},
		&cli.StringFlag{Name: "ec2-host-keys", EnvVars: env("EC2_HOST_KEYS"), Usage: "pin host keys of instances to those that they wrote on their consoles: `" + strings.Join(hostsfile.HostKeyRules, "|") + "`", Category: groupEC2, DefaultText: "known: as of any host"},
		&cli.StringFlag{Name: "ec2-tunnel-rate", EnvVars: env("EC2_TUNNEL_RATE"), Usage: "expect a tunnel through an endpoint of EC2 Instance Connect to carry this much, to know whether memory fits into its hour: `RATE`", Category: groupEC2, Value: defaultTunnelRate},
		&cli.StringSliceFlag{Name: "ec2-user", EnvVars: env("EC2_USER"), Usage: "log in to instances by this name, in place of the usual one of their AMI: `NAME`, or AMI=NAME for those whose AMI has this id or name, with * for any characters", Category: groupEC2},
		&cli.IntFlag{Name: "ec2-limit", EnvVars: env("EC2_LIMIT"), Usage: "refuse to capture more than `N` instances that selectors name", Category: groupEC2, Value: defaultEC2Limit},
	})
}

// defaultEC2Limit is more than a case usually has, and less than the fleet that a slip of the finger selects.
const defaultEC2Limit = 100

// checkSearch checks the flags of ec2SearchFlags.
func checkSearch(ctx *cli.Context) error {
	var errs []error
	for _, r := range ctx.StringSlice("ec2-region") {
		errs = append(errs, hostsfile.CheckRegion(r))
	}
	for _, a := range ctx.StringSlice("ec2-account") {
		errs = append(errs, hostsfile.CheckAccount(a))
	}
	if err := errors.Join(errs...); err != nil {
		return usagef("%v", err)
	}
	return nil
}

// checkEC2Flags checks the flags of ec2Flags.
func checkEC2Flags(ctx *cli.Context) error {
	if err := checkSearch(ctx); err != nil {
		return err
	}
	if rule := ctx.String("ec2-address"); rule != "" && !slices.Contains(hostsfile.AddressRules, rule) {
		return usagef("--ec2-address %q: want one of %s", rule, strings.Join(hostsfile.AddressRules, ", "))
	}
	if n := ctx.Int("ec2-limit"); n < 1 {
		return usagef("--ec2-limit %d: want a number from 1", n)
	}
	for name, rules := range map[string][]string{"ec2-connect": hostsfile.ConnectRules, "ec2-host-keys": hostsfile.HostKeyRules} {
		if r := ctx.String(name); r != "" && !slices.Contains(rules, r) {
			return usagef("--%s %q: want one of %s", name, r, strings.Join(rules, ", "))
		}
	}
	if _, err := acquire.ParseRate(ctx.String("ec2-tunnel-rate")); err != nil {
		return usagef("--ec2-tunnel-rate: %v", err)
	}
	_, err := userRules(ctx.StringSlice("ec2-user"))
	return err
}

func userRules(texts []string) (rules []hostsfile.UserRule, err error) {
	for _, s := range texts {
		r, err := hostsfile.ParseUserRule(s)
		if err != nil {
			return nil, usagef("--ec2-user: %v", err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}
