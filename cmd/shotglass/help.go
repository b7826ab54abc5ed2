package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// The library prints help with doubled names and placeholders and sorts flags by
// the alphabet; ours keeps groups and the order of need.

func printAppHelp(w io.Writer, app *cli.App) {
	fmt.Fprintf(w, "%s - %s\n\nUsage: %s\n\n%s\n\nCommands:\n", app.Name, app.Usage, app.UsageText, app.Description)
	for _, cmd := range app.Commands {
		fmt.Fprintf(w, "  %-12s%s\n", cmd.Name, cmd.Usage)
	}
	fmt.Fprintf(w, "\nHelp topics (shotglass help TOPIC):\n")
	for _, t := range topics() {
		fmt.Fprintf(w, "  %-12s%s\n", t.name, t.title)
	}
	fmt.Fprintf(w, "\nshotglass COMMAND --help lists the flags of a command.\n")
}

func printCommandHelp(w io.Writer, cmd *cli.Command) {
	fmt.Fprintf(w, "shotglass %s - %s\n\nUsage: shotglass %s\n", commandName(cmd), cmd.Usage, usageLine(cmd))
	if cmd.Description != "" {
		fmt.Fprintf(w, "\n%s\n", flow(cmd.Description))
	}
	if len(cmd.Subcommands) > 0 {
		fmt.Fprintf(w, "\nCommands:\n")
	}
	for _, sub := range cmd.Subcommands {
		fmt.Fprintf(w, "  %-12s%s\n", sub.Name, sub.Usage)
	}
	var groups []string
	flags := map[string][]cli.Flag{}
	for _, f := range cmd.VisibleFlags() {
		g := f.(cli.CategorizableFlag).GetCategory()
		if flags[g] == nil {
			groups = append(groups, g)
		}
		flags[g] = append(flags[g], f)
	}
	for _, g := range groups {
		if g == "" {
			fmt.Fprintf(w, "\nFlags:\n")
		} else {
			fmt.Fprintf(w, "\n%s:\n", g)
		}
		for _, f := range flags[g] {
			printFlag(w, f.(cli.DocGenerationFlag))
		}
	}
}

// helpColumn is where explanations start, helpWidth where lines end.
const helpColumn, helpWidth = 30, 100

func printFlag(w io.Writer, f cli.DocGenerationFlag) {
	names := f.Names()
	head := "      --" + names[0]
	if len(names) > 1 {
		head = "  -" + names[1] + ", --" + names[0]
	}
	value, usage := placeholder(f)
	if value != "" {
		head += " " + value
	}
	if s, ok := f.(cli.DocGenerationSliceFlag); ok && s.IsSliceFlag() {
		usage += "; may be repeated"
	}
	if d := f.GetDefaultText(); d != "" && f.TakesValue() {
		usage += " (default " + d + ")"
	}
	if env := f.GetEnvVars(); len(env) > 0 {
		usage += " [$" + strings.Join(env, ", $") + "]"
	}
	if len(head) > helpColumn-2 {
		fmt.Fprintln(w, head)
		head = ""
	}
	for _, l := range wrap(usage, helpWidth-helpColumn) {
		fmt.Fprintf(w, "%-*s%s\n", helpColumn, head, l)
		head = ""
	}
}

// placeholder splits a usage text into the `VALUE` named in it and the plain text.
func placeholder(f cli.DocGenerationFlag) (value, usage string) {
	usage = f.GetUsage()
	if !f.TakesValue() {
		return "", strings.ReplaceAll(usage, "`", "")
	}
	value = "VALUE"
	if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
		value = parts[1]
	}
	usage = strings.TrimSuffix(usage, ": `"+value+"`")
	return value, strings.ReplaceAll(usage, "`", "")
}

// wrap breaks text into lines of at most width bytes where words allow it.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// flow breaks the paragraphs of a text into lines of helpWidth. Lines that begin with a space stay as they are.
func flow(text string) string {
	var lines []string
	paragraph := ""
	end := func() {
		if paragraph != "" {
			lines = append(lines, wrap(paragraph, helpWidth)...)
			paragraph = ""
		}
	}
	for l := range strings.SplitSeq(text, "\n") {
		if l == "" || l[0] == ' ' {
			end()
			lines = append(lines, l)
			continue
		}
		paragraph += " " + l
	}
	end()
	return strings.Join(lines, "\n")
}

func helpCommand(c *console) *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "explain a command or a topic",
		ArgsUsage: "[COMMAND | TOPIC]",
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() > 1 {
				return usagef("help explains one thing at a time")
			}
			name := ctx.Args().First()
			if name == "" {
				printAppHelp(c, ctx.App)
				return nil
			}
			for _, cmd := range ctx.App.Commands {
				if cmd.Name == name {
					printCommandHelp(c, cmd)
					return nil
				}
			}
			for _, t := range topics() {
				if t.name == name {
					fmt.Fprintf(c, "%s\n\n%s", t.title, t.text())
					return nil
				}
			}
			return usagef("no help about %q", name).fix("see shotglass help")
		},
	}
}
