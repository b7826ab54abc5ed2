package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const modulesPublishText = `Makes modules part of a signed repository, in a folder or in S3, that capture --repository reads; makes the repository if there is
none. Each module is checked first, and so is each that stays on the list, as the repository has it now; if one is bad, nothing is
published. Other lists must be there as they were signed; with a new key there may be none but empty ones. Readers see the old state or the new,
also when this is cut off, or when two publish at once. No file of a module is ever overwritten. Standard output gets one line per module, with tabs: added, kept, replaced or
withdrawn, kernel release, machine, SHA-256, place.`

func modulesPublish(c *console) *cli.Command {
	return &cli.Command{
		Name: "publish", HelpName: "modules publish", Usage: "make modules part of a signed repository", Description: modulesPublishText,
		Flags: append([]cli.Flag{
			&cli.StringSliceFlag{Name: "module", Usage: "publish this module, or all of this folder: `FILE|DIR`", EnvVars: env("MODULE"), Category: groupModule, TakesFile: true},
			&cli.StringFlag{Name: "to", Usage: "the repository: `DIR|s3://BUCKET/PREFIX`", Category: groupModule, TakesFile: true},
			&cli.StringFlag{Name: "sign-with", Usage: "sign with this OpenPGP key: a private key in a `FILE|FINGERPRINT` of one that gpg has", EnvVars: env("REPOSITORY_SIGN_WITH"), Category: groupModule, TakesFile: true},
			&cli.StringFlag{Name: "key-passphrase-file", Usage: "read the passphrase of a key file from `FILE`", Category: groupModule, TakesFile: true},
			&cli.StringSliceFlag{Name: "repository-key", Usage: "trust what this key signed there, too: that of before the one to sign with: `FINGERPRINT|FILE`", EnvVars: env("REPOSITORY_KEY"), Category: groupModule},
			&cli.BoolFlag{Name: "replace", Usage: "list modules in place of others for the same kernels", Category: groupModule, DisableDefaultText: true},
			&cli.StringSliceFlag{Name: "withdraw", Usage: "list no modules for this kernel `RELEASE` any more", Category: groupModule},
			&cli.StringFlag{Name: "packager", Usage: "what the list says of who made the modules: `TEXT`", Category: groupModule, DefaultText: "shotglass and its version"},
			&cli.StringFlag{Name: "repository-manifest", Usage: "publish the list `NAME`", Value: repository.DefaultManifest, Category: groupModule},
			&cli.StringFlag{Name: "module-cache", Usage: "remember revisions in this `DIR`, or none", EnvVars: env("MODULE_CACHE"), Category: groupModule, TakesFile: true, DefaultText: "shotglass/modules in the user's cache folder"},
			jsonFlag(),
		}, s3AccessFlags()...),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			return publishModules(c, ctx)
		},
	}
}

func publishModules(c *console, ctx *cli.Context) error {
	switch {
	case ctx.NArg() > 0:
		return usagef("unexpected argument %q", ctx.Args().First()).fix("modules are named with --module, the repository with --to")
	case ctx.String("to") == "":
		return usagef("no repository").fix("name the place with --to DIR or --to s3://BUCKET/PREFIX")
	case ctx.String("sign-with") == "":
		return usagef("no key to sign with").fix("--sign-with FILE, a private key as gpg --export-secret-keys writes it, or --sign-with FINGERPRINT of a key that gpg has")
	}
	o := repository.PublishOptions{
		Manifest: ctx.String("repository-manifest"), Packager: ctx.String("packager"), Replace: ctx.Bool("replace"),
		Withdraw: ctx.StringSlice("withdraw"), Log: c.log(),
	}
	if !ctx.IsSet("packager") {
		o.Packager = "shotglass " + toolInfo().Version
	}
	var err error
	if o.Cache, err = moduleCache(ctx.String("module-cache")); err != nil {
		return err
	}
	if keys := ctx.StringSlice("repository-key"); len(keys) > 0 {
		if o.Trust, err = repository.ParsePins(keys); err != nil {
			return usagef("--repository-key: %v", err)
		}
	}
	if o.Signer, err = repositorySigner(c, ctx); err != nil {
		return err
	}
	depot, err := depotAt(ctx)
	if err != nil {
		return err
	}
	modules, err := modulesToPublish(c, ctx)
	if err != nil {
		return err
	}
	p, err := repository.Publish(ctx.Context, depot, modules, o)
	if err != nil {
		c.fail("", err)
		return endModules(c, moduleErrorCode(err), 0, 0)
	}
	return tellPublished(c, p)
}

// repositorySigner opens the key of --sign-with.
func repositorySigner(c *console, ctx *cli.Context) (repository.Signer, error) {
	name := ctx.String("sign-with")
	bad := func(err error) error {
		return usagef("--sign-with: %v", err).fix("gpg --list-secret-keys prints fingerprints; gpg --export-secret-keys writes a key")
	}
	if _, err := os.Stat(name); err != nil && looksLikeFingerprint(name) {
		s, err := repository.NewGnuPG(name)
		if err != nil {
			return nil, bad(err)
		}
		return s, nil
	}
	source := secretSource{what: "key-passphrase", flag: "key-passphrase-file", file: ctx.String("key-passphrase-file"), env: "SHOTGLASS_KEY_PASSPHRASE", always: true}
	secret, _, err := source.open(newPrompter(c))
	if err != nil {
		return nil, err
	}
	s, err := repository.OpenKey(name, func() ([]byte, error) {
		return secret(ctx.Context, "passphrase of the signing key "+name)
	})
	if err != nil {
		return nil, bad(err)
	}
	return s, nil
}

// looksLikeFingerprint tells a fingerprint, whole or not, from the name of a file.
func looksLikeFingerprint(s string) bool {
	s = strings.TrimPrefix(strings.ToUpper(strings.Join(strings.Fields(s), "")), "0X")
	return len(s) >= 8 && strings.Trim(s, "0123456789ABCDEF") == ""
}

// depotAt is the place of --to.
func depotAt(ctx *cli.Context) (repository.Depot, error) {
	to := ctx.String("to")
	var d repository.Depot
	var err error
	switch {
	case s3.IsURL(to):
		d, err = newBucketDepot(ctx.Context, to, s3Access(ctx))
	case strings.Contains(to, "://"):
		err = errors.New("want s3:// or a folder: what is behind https:// is published where its server takes it from")
	default:
		d, err = repository.NewFolderDepot(to)
	}
	if err != nil {
		return nil, usagef("--to %s: %v", printable(to), err)
	}
	return d, nil
}

// modulesToPublish reads all modules. A file that is none, or that its record contradicts, stops everything.
func modulesToPublish(c *console, ctx *cli.Context) (modules []*kernelmodules.Module, err error) {
	bad := 0
	for _, name := range ctx.StringSlice("module") {
		p, err := kernelmodules.NewPath(name, kernelmodules.PathOptions{})
		if err != nil {
			return nil, usagef("--module: %v", err)
		}
		err = p.Each(ctx.Context, func(name string, m *kernelmodules.Module, err error) error {
			if err == nil {
				err = checkRecord(name, m)
			}
			if err != nil {
				bad++
				c.fail("", err)
				return nil
			}
			modules = append(modules, m)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	switch {
	case bad > 0:
		return nil, &exitError{Code: exitMismatch, Err: fmt.Errorf("nothing is published: %d of %d modules are bad", bad, bad+len(modules))}
	case len(modules) == 0 && len(ctx.StringSlice("module")) > 0:
		return nil, usagef("--module: no file there is called *.ko, *.ko.gz, *.ko.xz or *.ko.zst")
	}
	return modules, nil
}

// checkRecord holds a module against the record of how it was made, if there is one beside it.
func checkRecord(name string, m *kernelmodules.Module) error {
	data, err := os.ReadFile(kernelmodules.RecordName(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := kernelmodules.ReadRecord(data)
	if err != nil {
		return fmt.Errorf("%s: %w", kernelmodules.RecordName(name), err)
	}
	return r.Matches(m)
}

// expiresSoon is when a warning begins that readers will refuse the repository.
const expiresSoon = 60 * 24 * time.Hour

func tellPublished(c *console, p *repository.Publication) error {
	if c.json {
		if err := c.message("publication", struct {
			*repository.Publication
			Modules int `json:"modules"`
		}{p, listed(p)}); err != nil {
			return err
		}
	}
	for _, m := range p.Modules {
		msg := moduleMessage{Release: m.Release, Machine: m.Arch, SHA256: m.Checksum, Place: p.URL + "/" + m.Path, Repository: p.URL, State: m.State}
		if err := msg.print(c, msg.State, msg.Release, msg.Machine, msg.SHA256, msg.Place); err != nil {
			return err
		}
	}
	if !c.json {
		c.info("%s: revision %d, %d modules, signed by %s", printable(p.URL), p.Revision, listed(p), p.Key)
	}
	if left := time.Until(p.Expires); !p.Expires.IsZero() && left < expiresSoon {
		c.warn("the key expires on %s; then nobody can use the repository: gpg --quick-set-expire %s 2y, publish again, and hand the new key out", p.Expires.Format(time.DateOnly), p.Key)
	}
	return endModules(c, exitOK, listed(p), 0)
}

// listed counts the modules that the list names.
func listed(p *repository.Publication) (n int) {
	for _, m := range p.Modules {
		if m.State == repository.StateAdded || m.State == repository.StateKept {
			n++
		}
	}
	return n
}
