package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/sink"
)

const (
	modulesText = `Looks after LiME modules: what repositories and folders have, fetching before there is need, checking, compiling, publishing. docs/modules.md
explains repositories and whom they trust.`
	modulesListText = `Lists what repositories and folders have. Standard output gets one line per module, with tabs: kernel release, machine,
SHA-256, place. Modules are not fetched; the lists of repositories are, and their signatures are checked.`
	modulesFetchText = `Fetches the modules for kernel releases, as uname -r prints them, into the cache, so that capture --offline finds them, and with
--output into a folder as lime-RELEASE-MACHINE.ko. Standard output gets one line per module, with tabs: kernel release, machine,
SHA-256, how it was verified, place.`
	modulesCheckText = `Fetches and checks all that repositories and folders have: signatures, digests, and that each module is LiME for the kernel that it
is said to be for. All is fetched anew: what the cache has counts only with --offline. Standard output gets one line per module, with
tabs: good or bad, kernel release, machine, place. Exit code 0: all are good. 4: some are not, or nobody who is trusted vouches for a
repository.`
)

func modulesCommand(c *console) *cli.Command {
	flags := func(more ...cli.Flag) []cli.Flag {
		return slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "module", Usage: "module, or folder with modules: `FILE|DIR`", EnvVars: env("MODULE"), Category: groupModule, TakesFile: true},
		}, more, repositoryFlags(), []cli.Flag{configFlag(), jsonFlag()}, s3AccessFlags())
	}
	sub := func(name, args, usage, text string, run func(*console, *cli.Context, *moduleSources) error, more ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, HelpName: "modules " + name, Usage: usage, ArgsUsage: args, Description: text, Flags: flags(more...),
			Action: func(ctx *cli.Context) error {
				c.json = ctx.Bool("json")
				if args == "" && ctx.NArg() > 0 {
					return usagef("unexpected argument %q", ctx.Args().First())
				}
				src, err := readModuleSources(c, ctx, name == "check")
				if err != nil {
					return err
				}
				return run(c, ctx, src)
			},
		}
	}
	return &cli.Command{
		Name: "modules", Usage: "list, fetch, check, build, add and publish LiME modules", ArgsUsage: "list|fetch|check|build|add|publish|prune", Description: modulesText,
		Action: func(ctx *cli.Context) error {
			if name := ctx.Args().First(); name != "" {
				return usagef("unknown command \"modules %s\"", name)
			}
			return usagef("modules wants a command: list, fetch, check, build, add, publish or prune")
		},
		Subcommands: []*cli.Command{
			sub("list", "", "list what repositories and folders have", modulesListText, modulesList),
			sub("fetch", "RELEASE...", "fetch modules, for the cache or a folder", modulesFetchText, modulesFetch,
				&cli.StringFlag{Name: "machine", Usage: "for this `MACHINE`, as uname -m prints it", Value: "x86_64", Category: groupModule},
				&cli.BoolFlag{Name: "all", Usage: "fetch everything that the repositories have", Category: groupModule, DisableDefaultText: true},
				&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the modules to this `DIR`", Category: groupOutput, TakesFile: true}),
			sub("check", "", "check repositories and folders in whole", modulesCheckText, modulesCheck,
				&cli.BoolFlag{Name: "insecure-accept-rollback", Usage: "take repositories as they are now for current, although newer revisions of them were seen", Category: groupModule, DisableDefaultText: true}),
			modulesBuildCommand(c),
			modulesAddCommand(c),
			modulesPublish(c),
			modulesPrune(c),
		},
	}
}

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "take the repository of this hosts file: `FILE`", EnvVars: env("CONFIG"), Category: groupHosts, TakesFile: true}
}

// moduleSources are where modules are looked for.
type moduleSources struct {
	paths []*kernelmodules.Path
	repos []*repository.Store
}

// readModuleSources opens them; reread is as that of readRepositories.
func readModuleSources(c *console, ctx *cli.Context, reread bool) (*moduleSources, error) {
	file := &hostsfile.File{}
	var err error
	if path := ctx.String("config"); path != "" {
		if file, err = readHostsFile(path); err != nil {
			return nil, err
		}
	}
	repos, err := readRepositories(c, ctx, file, reread)
	if err != nil {
		return nil, err
	}
	for _, w := range repos.Warnings {
		c.warn("%s", w)
	}
	src := &moduleSources{repos: repos.Stores}
	for _, name := range ctx.StringSlice("module") {
		p, err := kernelmodules.NewPath(name, kernelmodules.PathOptions{})
		if err != nil {
			return nil, usagef("--module: %v", err)
		}
		src.paths = append(src.paths, p)
	}
	if len(src.paths)+len(src.repos) == 0 {
		return nil, usagef("neither a repository nor a module").fix("name one with --repository URL --repository-key FINGERPRINT, or --module DIR")
	}
	return src, nil
}

// moduleMessage is a "module" line.
type moduleMessage struct {
	Release    string   `json:"release"`
	Machine    string   `json:"machine"`
	SHA256     string   `json:"sha256"` // of the file as it is stored
	Place      string   `json:"place"`
	Repository string   `json:"repository,omitempty"`
	State      string   `json:"state,omitempty"` // of check: good, bad
	Signature  string   `json:"signature,omitempty"`
	File       string   `json:"file,omitempty"`   // of fetch, build and add: where it was written
	Record     string   `json:"record,omitempty"` // of build and add: how it was made
	Problems   []string `json:"problems,omitempty"`
}

// print writes a module with the given columns.
func (m moduleMessage) print(c *console, columns ...string) error {
	if c.json {
		return c.message("module", m)
	}
	for i, col := range columns {
		if i > 0 {
			fmt.Fprint(c, "\t")
		}
		fmt.Fprint(c, printable(col))
	}
	_, err := fmt.Fprintln(c)
	return err
}

// tell says who vouches for a repository.
func tell(c *console, l *repository.Listing) error {
	if c.json {
		return c.message("repository", struct {
			*repository.Listing
			Modules int `json:"modules"`
		}{l, len(l.Modules)})
	}
	who := "signature not checked"
	if l.Key != "" {
		who = fmt.Sprintf("signed on %s by %s", l.SignedAt.Format(time.DateOnly), l.Key)
	}
	c.info("%s: revision %d, %s, %d modules in %q, read %s", printable(l.URL), l.Revision, who, len(l.Modules), l.Manifest, l.Fetched.Format(time.RFC3339))
	return nil
}

func modulesList(c *console, ctx *cli.Context, src *moduleSources) error {
	code, count := exitOK, 0
	fail := func(err error) { c.fail("", err); code = worse(code, moduleErrorCode(err)) }
	for _, p := range src.paths {
		err := p.Each(ctx.Context, func(name string, m *kernelmodules.Module, err error) error {
			if err != nil {
				fail(err)
				return nil
			}
			count++
			return moduleMessage{Release: m.Release(), Machine: m.Machine, SHA256: m.SHA256, Place: name}.print(c, m.Release(), m.Machine, m.SHA256, name)
		})
		if err != nil {
			fail(err)
		}
	}
	for _, r := range src.repos {
		l, err := r.List(ctx.Context)
		if err != nil {
			fail(err)
			continue
		}
		if err := tell(c, l); err != nil {
			return err
		}
		for _, e := range l.Modules {
			count++
			m := moduleMessage{Release: e.Release, Machine: e.Arch, SHA256: e.Checksum, Place: r.String() + "/" + e.Path, Repository: r.String()}
			if err := m.print(c, m.Release, m.Machine, m.SHA256, m.Place); err != nil {
				return err
			}
		}
	}
	return endModules(c, code, count, 0)
}

// moduleErrorCode tells what contradicts its signature from what could not be read.
func moduleErrorCode(err error) int {
	var mismatch *kernelmodules.MismatchError
	if errors.Is(err, repository.ErrUntrusted) || errors.As(err, &mismatch) {
		return exitMismatch
	}
	return exitFailed
}

func endModules(c *console, code, good, bad int) error {
	if c.json {
		if err := c.message("summary", struct {
			Code    int `json:"code"`
			Modules int `json:"modules"`
			Bad     int `json:"bad"`
		}{code, good, bad}); err != nil {
			return err
		}
	}
	return exitWith(code)
}

func modulesCheck(c *console, ctx *cli.Context, src *moduleSources) error {
	code, good, bad := exitOK, 0, 0
	verdict := func(m moduleMessage, err error) error {
		m.State = "good"
		if err != nil {
			m.State, m.Problems = "bad", []string{err.Error()}
			bad++
			code = worse(code, moduleErrorCode(err))
			c.fail("", err)
		} else {
			good++
		}
		return m.print(c, m.State, m.Release, m.Machine, m.Place)
	}
	for _, p := range src.paths {
		err := p.Each(ctx.Context, func(name string, m *kernelmodules.Module, err error) error {
			if err != nil {
				code = worse(code, exitMismatch)
				return verdict(moduleMessage{Release: "-", Machine: "-", Place: name}, err)
			}
			return verdict(moduleMessage{Release: m.Release(), Machine: m.Machine, SHA256: m.SHA256, Place: name},
				m.Check(kernelmodules.Kernel{Release: m.Release(), Machine: m.Machine}))
		})
		if err != nil {
			c.fail("", err)
			code = worse(code, exitFailed)
		}
	}
	for _, r := range src.repos {
		if ctx.Bool("insecure-accept-rollback") {
			if err := r.AcceptRollback(ctx.Context); err != nil {
				c.fail("", err)
				code = worse(code, moduleErrorCode(err))
				continue
			}
		}
		l, err := r.List(ctx.Context)
		if err == nil {
			err = tell(c, l)
		}
		if err != nil {
			c.fail("", err)
			code = worse(code, moduleErrorCode(err))
			continue
		}
		for _, e := range l.Modules {
			m, err := r.Get(ctx.Context, e)
			if errors.Is(err, fs.ErrNotExist) { // it is listed, and not there
				code = worse(code, exitMismatch)
			}
			msg := moduleMessage{Release: e.Release, Machine: e.Arch, SHA256: e.Checksum, Place: r.String() + "/" + e.Path, Repository: r.String()}
			if m != nil {
				msg.Signature = m.Signature
			}
			if err := verdict(msg, err); err != nil {
				return err
			}
		}
	}
	return endModules(c, code, good, bad)
}

func modulesFetch(c *console, ctx *cli.Context, src *moduleSources) error {
	if (ctx.NArg() == 0) == !ctx.Bool("all") {
		return usagef("modules fetch wants RELEASE... or --all")
	}
	code, count, missing := exitOK, 0, 0
	fail := func(err error) {
		missing++
		c.fail("", err)
		code = worse(code, moduleErrorCode(err))
	}
	dir := ctx.String("output")
	one := func(release, machine string, m *kernelmodules.Module) error {
		msg := moduleMessage{Release: release, Machine: machine, SHA256: m.SHA256, Place: m.Origin, Signature: m.Signature}
		if m.Repository != nil {
			msg.Repository, msg.SHA256 = m.Repository.URL, m.Repository.Checksum
		}
		place := m.Origin
		if dir != "" {
			path, err := writeModule(ctx.Context, dir, "lime-"+release+"-"+machine+".ko", m.Data)
			if err != nil {
				fail(err)
				return nil
			}
			msg.File, place = path, path
		}
		count++
		return msg.print(c, release, machine, msg.SHA256, m.Signature, place)
	}
	var all stores
	for _, p := range src.paths {
		all = append(all, p)
	}
	for _, r := range src.repos {
		all = append(all, r)
		if !ctx.Bool("all") {
			continue
		}
		l, err := r.List(ctx.Context)
		if err != nil {
			fail(err)
			continue
		}
		for _, e := range l.Modules {
			m, err := r.Get(ctx.Context, e)
			if err != nil {
				fail(err)
			} else if err := one(e.Release, m.Machine, m); err != nil {
				return err
			}
		}
	}
	for _, release := range ctx.Args().Slice() {
		machine := ctx.String("machine")
		m, err := all.Find(ctx.Context, kernelmodules.Kernel{Release: release, Machine: machine})
		if err != nil {
			fail(err)
		} else if err := one(release, machine, m); err != nil {
			return err
		}
	}
	return endModules(c, code, count, missing)
}

// writeModule writes a module to a folder, whole or not at all. One that is there and the
// same is fine; another is not overwritten.
func writeModule(ctx context.Context, dir, name string, data []byte) (string, error) {
	path := filepath.Join(dir, name)
	if have, err := os.ReadFile(path); err == nil && string(have) == string(data) {
		return path, nil
	}
	disk, err := sink.NewDisk(dir)
	if err != nil {
		return "", err
	}
	o, err := disk.Create(ctx, name)
	if err != nil {
		return "", err
	}
	if _, err := o.Write(data); err != nil {
		return "", errors.Join(err, o.Abort(ctx))
	}
	_, err = o.Commit(ctx)
	return path, err
}
