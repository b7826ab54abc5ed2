package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

var (
	continued = regexp.MustCompile(`\\\n\s*`)
	call      = regexp.MustCompile(`(?m)^\s*(?:\$ )?(?:sudo )?(?:[A-Z_]+=\S* )*shotglass (.+)$`)
	codeCall  = regexp.MustCompile("`(shotglass [^`\n]+)`")
	word      = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)
)

// callsIn are the calls of shotglass in a page's blocks of code and in its code spans: the words after the name.
func callsIn(page string) [][]string {
	var code strings.Builder
	fenced := false
	for l := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(l, "```"):
			fenced = !fenced
		case fenced, strings.HasPrefix(l, "    "):
			code.WriteString(l)
		default:
			for _, m := range codeCall.FindAllStringSubmatch(l, -1) {
				code.WriteString(m[1] + "\n")
			}
		}
	}
	var found [][]string
	for _, m := range call.FindAllStringSubmatch(continued.ReplaceAllString(code.String(), " "), -1) {
		words := word.FindAllString(m[1], -1)
		if end := slices.IndexFunc(words, func(w string) bool { return strings.ContainsAny(w[:1], "|;>&#<)") }); end >= 0 {
			words = words[:end]
		}
		found = append(found, words)
	}
	return found
}

// TestDocsCommands holds every call of shotglass that the pages show against the flags that the command
// has, and against the rule that flags stand before arguments.
func TestDocsCommands(t *testing.T) {
	app, calls := testApp(t), 0
	for name, text := range pages(t) {
		for _, words := range callsIn(text) {
			if len(words) == 0 {
				continue
			}
			said := "shotglass " + strings.Join(words, " ")
			at := slices.IndexFunc(app.Commands, func(c *cli.Command) bool { return c.Name == words[0] })
			if at < 0 {
				if words[0] != "COMMAND" && words[0] != "--version" {
					t.Errorf("%s: there is no command %q: %s", name, words[0], said)
				}
				continue
			}
			calls++
			cmd := app.Commands[at]
			words = words[1:]
			for len(words) > 0 {
				at := slices.IndexFunc(cmd.Subcommands, func(c *cli.Command) bool { return c.Name == words[0] })
				if at < 0 {
					break
				}
				cmd, words = cmd.Subcommands[at], words[1:]
			}
			argument := ""
			for i := 0; i < len(words); i++ {
				w := strings.Trim(words[i], "[]")
				flagName, _, joined := strings.Cut(strings.TrimLeft(w, "-"), "=")
				if !strings.HasPrefix(w, "-") || w == "-" {
					argument = w
					continue
				}
				f := flagNamed(cmd, flagName)
				switch {
				case f == nil:
					t.Errorf("%s: %s has no flag %s: %s", name, cmd.Name, w, said)
				case argument != "" && strings.Trim(argument, ".") != "":
					t.Errorf("%s: flag %s stands after the argument %s: %s", name, w, argument, said)
				case !joined && f.(cli.DocGenerationFlag).TakesValue():
					i++
				}
			}
		}
	}
	if calls < 100 {
		t.Errorf("only %d calls were found", calls)
	}
}

// flagNamed returns the flag of that name or alias, nil if the command has none.
func flagNamed(cmd *cli.Command, name string) cli.Flag {
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// TestDocsVariables: each variable of a flag has a name, and `help environment` has it; nothing in the help is said twice.
func TestDocsVariables(t *testing.T) {
	listed := map[string]bool{}
	for w := range strings.FieldsSeq(environmentText()) {
		listed[w] = true
	}
	var look func([]*cli.Command)
	look = func(commands []*cli.Command) {
		for _, cmd := range commands {
			for _, f := range cmd.Flags {
				d := f.(cli.DocGenerationFlag)
				for _, v := range d.GetEnvVars() {
					if v == "SHOTGLASS_" || !listed[v] {
						t.Errorf("%s --%s: variable %q, which help environment does not list, or is no name", cmd.Name, d.Names()[0], v)
					}
				}
				if strings.Contains(d.GetUsage(), "may be repeated") {
					t.Errorf("%s --%s: that it may be repeated is said by the help itself", cmd.Name, d.Names()[0])
				}
			}
			look(cmd.Subcommands)
		}
	}
	look(testApp(t).Commands)
}
