package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
)

// settings returns the effective value of every flag of a command and where it
// came from, in the order of the flags. args is the whole command line. No flag
// holds a secret; where a secret came from is for secretSettings.
func settings(ctx *cli.Context, args []string) []acquire.Setting {
	given := givenFlags(ctx.Command.Flags, args)
	var out []acquire.Setting
	for _, f := range ctx.Command.Flags {
		name := f.Names()[0]
		if name == "help" {
			continue
		}
		s := acquire.Setting{Name: name, Value: valueOf(ctx, f), Origin: "default"}
		switch {
		case given[name]:
			s.Origin = "flag"
		case f.IsSet():
			s.Origin = "env"
			for _, e := range f.(cli.DocGenerationFlag).GetEnvVars() {
				if _, ok := os.LookupEnv(e); ok {
					s.Origin = "env " + e
				}
			}
		}
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() && s.Origin == "default" {
			continue
		}
		out = append(out, s)
	}
	return out
}

func valueOf(ctx *cli.Context, f cli.Flag) string {
	name := f.Names()[0]
	switch f.(type) {
	case *cli.StringSliceFlag:
		return strings.Join(ctx.StringSlice(name), "\n")
	case *cli.BoolFlag:
		if ctx.Bool(name) {
			return "true"
		}
		return "false"
	case *cli.DurationFlag:
		return ctx.Duration(name).String()
	case *cli.StringFlag:
		return ctx.String(name)
	default:
		if v := ctx.Value(name); v != nil {
			return fmt.Sprint(v)
		}
		return ""
	}
}

// givenFlags finds the flags that stand on the command line. The library knows only
// that a flag is set, not whether by the line or by the environment. The line
// was parsed before, so it is well-formed.
func givenFlags(flags []cli.Flag, args []string) map[string]bool {
	given := map[string]bool{}
	if len(args) < 2 {
		return given
	}
	for i := 2; i < len(args); i++ { // after the program and the command
		a := args[i]
		if len(a) < 2 || a[0] != '-' || a == "--" {
			break
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(a, "-"), "=")
		for _, f := range flags {
			if !slices.Contains(f.Names(), name) {
				continue
			}
			given[f.Names()[0]] = true
			if f.(cli.DocGenerationFlag).TakesValue() && !hasValue {
				i++
			}
		}
	}
	return given
}
