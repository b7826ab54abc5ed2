package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"
)

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := newConsole(stdin, stdout, stderr)
	unsetEmpty()
	if len(args) == 2 && args[1] == "--version" {
		args = []string{args[0], "version"}
	}
	err := newApp(c, args).RunContext(ctx, args)
	if err == nil {
		err = c.resultErr()
	}
	code := exitCode(err)
	var said *exitError // everything was printed, and a summary stands in the JSON
	if err == nil || errors.As(err, &said) && said.Err == nil {
		return code
	}
	c.fail("", err)
	if c.json {
		c.message("exit_error", exitMessage{code, err.Error(), hints(err)})
	}
	return code
}

// unsetEmpty makes an empty variable mean the same as none, as people expect.
func unsetEmpty() {
	for _, e := range os.Environ() {
		if name, value, _ := strings.Cut(e, "="); value == "" && strings.HasPrefix(name, "SHOTGLASS_") {
			os.Unsetenv(name)
		}
	}
}

// exitMessage is the last JSON line of a run that ended without a summary.
type exitMessage struct {
	Code  int      `json:"code"`
	Error string   `json:"error"`
	Hints []string `json:"hints,omitempty"`
}

// newApp returns the program with all its commands. Everything that urfave/cli v2 does
// behind one's back is off: its help and version flags and commands, its suggestions,
// its exits, the splitting of list flags at commas. The program has no flags of its
// own, as the library does not know them after a command.
func newApp(c *console, args []string) *cli.App {
	noLibraryHelp()
	app := &cli.App{
		Name:                      "shotglass",
		Usage:                     "capture the memory of Linux hosts over SSH, as evidence that stands up",
		UsageText:                 "shotglass COMMAND [flags] [arguments]",
		Description:               about,
		HideHelp:                  true,
		HideHelpCommand:           true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true,
		Writer:                    c,
		ErrWriter:                 c.stderr,
		Reader:                    c.stdin,
		ExitErrHandler:            func(*cli.Context, error) {},
		Flags:                     []cli.Flag{helpFlag()},
		OnUsageError:              func(_ *cli.Context, err error, _ bool) error { return usagef("%s", lower(err)) },
	}
	app.Action = func(ctx *cli.Context) error {
		if ctx.Bool("help") {
			printAppHelp(c, app)
			return nil
		}
		if name := ctx.Args().First(); name != "" {
			return usagef("unknown command %q", name).fix("the commands are %s; see shotglass --help", strings.Join(commandNames(app), ", "))
		}
		return usagef("no command").fix("the commands are %s; see shotglass --help", strings.Join(commandNames(app), ", "))
	}
	for _, cmd := range []*cli.Command{
		captureCommand(c, args), planCommand(c, args), verifyCommand(c), reportCommand(c), catCommand(c), inspectCommand(c), convertCommand(c), mountCommand(c), serveImageCommand(c), liveCommand(c), triageCommand(c), symbolsCommand(c), uploadCommand(c), containCommand(c), statusCommand(c), releaseCommand(c), lockdownCommand(c), hostsCommand(c), inventoryCommand(c), keyCommand(c), readyCommand(c), gatherCommand(c, args), bucketCommand(c), workstationCommand(c), modulesCommand(c),
		versionCommand(c), completionCommand(c), manCommand(c), helpCommand(c),
	} {
		app.Commands = append(app.Commands, command(c, cmd))
	}
	return app
}

// noLibraryHelp keeps the library from answering --help before we can.
var noLibraryHelp = sync.OnceFunc(func() { cli.HelpFlag = nil })

const about = `shotglass reads the memory of a running Linux host over SSH, with the LiME kernel module or through /proc/kcore, into
a LiME image on this machine. It proves that the image is complete, cleans the host, and writes a signed manifest
beside the image. Results go to standard output, everything else to standard error.`

func helpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "print this help to standard output", DisableDefaultText: true}
}

// command prepares a command for the house rules. All commands go through here.
func command(c *console, cmd *cli.Command) *cli.Command {
	run := cmd.Action
	for i, sub := range cmd.Subcommands {
		cmd.Subcommands[i] = command(c, sub)
	}
	cmd.HideHelp = true
	cmd.HideHelpCommand = true
	cmd.Flags = append(slices.Clone(cmd.Flags), helpFlag())
	cmd.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return inCommand(cmd, usagef("%s", lower(err)))
	}
	cmd.Action = func(ctx *cli.Context) error {
		if ctx.Bool("help") {
			printCommandHelp(c, cmd)
			return nil
		}
		// The library takes flags that follow an argument for arguments, and an
		// argument that starts with a dash could turn into an option of ssh.
		for _, a := range ctx.Args().Slice() {
			switch {
			case a == "":
				return inCommand(cmd, usagef("an argument is empty"))
			case a == "-" && cmd.ArgsUsage == hostArgs: // standard input
			case a[0] == '-':
				return inCommand(cmd, usagef("argument %q starts with a dash", a).fix("put flags before the arguments: shotglass %s", usageLine(cmd)))
			}
		}
		err := run(ctx)
		var u *usageError
		if errors.As(err, &u) {
			inCommand(cmd, u)
		}
		return err
	}
	return cmd
}

// lower makes the library's errors look like ours.
func lower(err error) string {
	msg := err.Error()
	return strings.ToLower(msg[:min(1, len(msg))]) + msg[min(1, len(msg)):]
}

// inCommand completes a usage error with the command that it is about.
func inCommand(cmd *cli.Command, u *usageError) *usageError {
	if u.Fix == "" {
		u.Fix = fmt.Sprintf("usage: shotglass %s; all flags: shotglass %s --help", usageLine(cmd), commandName(cmd))
	}
	return u
}

func usageLine(cmd *cli.Command) string {
	s := commandName(cmd)
	if len(cmd.VisibleFlags()) > 1 { // more than --help
		s += " [flags]"
	}
	if cmd.ArgsUsage != "" {
		s += " " + cmd.ArgsUsage
	}
	return s
}

// commandName is what comes after the program's name: "hosts check".
func commandName(cmd *cli.Command) string {
	if name := strings.TrimPrefix(cmd.HelpName, "shotglass "); name != "" {
		return name
	}
	return cmd.Name
}

func commandNames(app *cli.App) (names []string) {
	for _, cmd := range app.Commands {
		names = append(names, cmd.Name)
	}
	return names
}
