package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
)

// readHostsFile reads the file of --config.
func readHostsFile(path string) (*hostsfile.File, error) {
	f, err := hostsfile.Load(path)
	if err == nil {
		return f, nil
	}
	var p hostsfile.Problems
	if errors.As(err, &p) {
		return nil, &usageError{Msg: err.Error(), Err: p, Fix: "docs/hosts.md explains the keys; shotglass hosts check FILE checks without a capture"}
	}
	return nil, usagef("--config: %v", err).fix("a hosts file is YAML with at least: hosts: [{addr: HOST}]")
}

// maxHostLines bounds what standard input may hold.
const maxHostLines = 1 << 20

// readHostLines reads hosts, one a line. Blank lines and comments are skipped. All
// errors are told at once.
func readHostLines(r io.Reader) (out []hostSpec, err error) {
	var errs []error
	in := bufio.NewScanner(io.LimitReader(r, maxHostLines))
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		h, err := parseHost(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("standard input, line %d: %w", n, err))
			continue
		}
		out = append(out, h)
	}
	if err := in.Err(); err != nil {
		errs = append(errs, fmt.Errorf("standard input: %w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usagef("%v", err).fix("one [user@]host[:port] a line")
	}
	return out, nil
}

// readHosts takes the HOST arguments apart; - stands for standard input.
func readHosts(args []string, stdin io.Reader) (out []hostSpec, err error) {
	read := false
	for _, arg := range args {
		if arg != "-" {
			h, err := parseHost(arg)
			if err != nil {
				return nil, err
			}
			out = append(out, h)
			continue
		}
		if read {
			return nil, usagef("standard input (-) is given twice")
		}
		read = true
		more, err := readHostLines(stdin)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

const hostsText = `Checks hosts files without connecting: every unknown key, wrong type, duplicate, missing file and more is told with line
and column. Exit code 0: all can be used. 64: not.`

func hostsCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "hosts", Usage: "check hosts files", ArgsUsage: "check FILE...", Description: "A hosts file names the hosts for capture --config and plan --config; docs/hosts.md explains its keys.",
		Action: func(ctx *cli.Context) error {
			if name := ctx.Args().First(); name != "" {
				return usagef("unknown command \"hosts %s\"", name)
			}
			return usagef("hosts wants a command: check")
		},
		Subcommands: []*cli.Command{{
			Name: "check", HelpName: "hosts check", Usage: "tell all that is wrong with hosts files", ArgsUsage: "FILE...", Description: hostsText,
			Flags: []cli.Flag{jsonFlag()},
			Action: func(ctx *cli.Context) error {
				c.json = ctx.Bool("json")
				if ctx.NArg() == 0 {
					return usagef("no file")
				}
				return checkHosts(c, ctx.Args().Slice())
			},
		}},
	}
}

// hostsMessage is a "hosts_file" line.
type hostsMessage struct {
	File     string              `json:"file"`
	OK       bool                `json:"ok"`
	Hosts    int                 `json:"hosts"`
	Problems []hostsfile.Problem `json:"problems,omitempty"`
	Warnings []hostsfile.Problem `json:"warnings,omitempty"`
}

// warnRepository warns of a repository for which capture would ask for a key, or refuse the one that is there.
func warnRepository(f *hostsfile.File) {
	r := f.Repository
	switch {
	case !r.Enabled:
	case len(r.Key) == 0 && (r.GPGVerify == nil || *r.GPGVerify):
		f.Warn("repository", "no key is pinned for the repository: a capture wants --repository-key, or key here")
	case len(r.Key) > 0:
		if _, err := repository.ParsePins(r.Key); err != nil {
			f.Warn("repository.key", "a capture will refuse it: "+err.Error())
		}
	}
	if r.CA == "" {
		return
	}
	if _, err := readCA(r.CA); err != nil {
		f.Warn("repository.ca", "a capture will refuse it: "+err.Error())
	}
}

func checkHosts(c *console, files []string) error {
	code := exitOK
	for _, name := range files {
		m := hostsMessage{File: name}
		f, err := hostsfile.Load(name)
		var p hostsfile.Problems
		switch {
		case err == nil:
			warnRepository(f)
			m.Hosts, m.Warnings = len(f.Hosts), f.Warnings
		case errors.As(err, &p):
			m.Problems = p
		default:
			m.Problems = []hostsfile.Problem{{File: name, Message: err.Error()}}
		}
		m.OK = len(m.Problems) == 0
		for _, w := range m.Warnings {
			c.warn("%s", plainProblem(w))
		}
		if !m.OK {
			code = exitUsage
			c.fail("", hostsfile.Problems(m.Problems))
		}
		if c.json {
			if err := c.message("hosts_file", m); err != nil {
				return err
			}
		} else if m.OK {
			fmt.Fprintf(c, "%s: good, %d hosts\n", printable(name), m.Hosts)
		}
	}
	if c.json {
		c.message("summary", struct {
			Code  int `json:"code"`
			Files int `json:"files"`
		}{code, len(files)})
	}
	return exitWith(code)
}

// plainProblem is a problem on one line.
func plainProblem(p hostsfile.Problem) string {
	p.Excerpt = ""
	return p.Error()
}

// setSetting corrects what the manifest says of an option.
func setSetting(list []acquire.Setting, name, value, origin string) []acquire.Setting {
	for i := range list {
		if list[i].Name == name {
			list[i].Value, list[i].Origin = value, origin
			return list
		}
	}
	return append(list, acquire.Setting{Name: name, Value: value, Origin: origin})
}
