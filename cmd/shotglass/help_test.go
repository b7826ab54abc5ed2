package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestFlow(t *testing.T) {
	long := strings.Repeat("word ", 40)
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"one\ntwo", "one two"},
		{"one\n\ntwo", "one\n\ntwo"},
		{"one:\n\n  as  it is\n  and this\n\ntwo\nthree", "one:\n\n  as  it is\n  and this\n\ntwo three"},
		{"one\n  as it is\ntwo", "one\n  as it is\ntwo"},
		{long, strings.TrimSpace(strings.Repeat("word ", 20)) + "\n" + strings.TrimSpace(strings.Repeat("word ", 20))},
	} {
		if have := flow(c.text); have != c.want {
			t.Errorf("%q:\n%s\nwant\n%s", c.text, have, c.want)
		}
	}
}

// TestHelpFits: help is no wider than a terminal on a laptop, but for values and examples that cannot be broken.
func TestHelpFits(t *testing.T) {
	var look func([]*cli.Command)
	look = func(commands []*cli.Command) {
		for _, cmd := range commands {
			var b strings.Builder
			printCommandHelp(&b, cmd)
			for l := range strings.Lines(b.String()) {
				if len(l) > 130 && !strings.HasPrefix(l, "  ") {
					t.Errorf("shotglass help %s: a line of %d bytes: %s", cmd.Name, len(l), l)
				}
			}
			look(cmd.Subcommands)
		}
	}
	look(testApp(t).Commands)
}
