package main

import (
	_ "embed"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

//go:embed man/shotglass.1
var manPage string

func manCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print the man page",
		Description: "Prints the man page in roff: shotglass man | man -l -, or shotglass man > /usr/local/share/man/man1/shotglass.1.",
		Action: func(ctx *cli.Context) error {
			if err := noArgs(ctx); err != nil {
				return err
			}
			io.WriteString(c, manPage)
			return nil
		},
	}
}

// makeManPage makes the man page from the commands and the help topics. It is embedded,
// so that a release can install the file; a test keeps the file current.
func makeManPage(app *cli.App) (string, error) {
	app.Setup()
	page, err := app.ToManWithSection(1)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(page, "\n") + "\n")
	for _, cmd := range app.Commands {
		if cmd.Description != "" {
			b.WriteString(".SH ABOUT " + strings.ToUpper(cmd.Name) + "\n.nf\n" + roff("shotglass "+usageLine(cmd)+"\n\n"+flow(cmd.Description)) + ".fi\n")
		}
	}
	for _, t := range topics() {
		title := strings.ToUpper(t.title)
		switch t.name {
		case "exit-codes":
			title = "EXIT STATUS"
		case "environment":
			title = "ENVIRONMENT"
		}
		b.WriteString(".SH " + title + "\n.nf\n" + roff(t.text()) + ".fi\n")
	}
	return b.String(), nil
}

// roff escapes plain text.
func roff(s string) string {
	var b strings.Builder
	for l := range strings.Lines(strings.TrimRight(s, "\n") + "\n") {
		l = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(l)
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			l = `\&` + l
		}
		b.WriteString(l)
	}
	return b.String()
}
