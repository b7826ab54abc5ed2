package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// margaritaRepository is where Margarita Shotgun looked unless told otherwise. Nothing was
// added since 2018, and its key has expired.
const margaritaRepository = "https://threatresponse-lime-modules.s3.amazonaws.com/"

// repositoryFlags say where modules are downloaded from, and whose are trusted.
func repositoryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "repository", Usage: "take modules from this repository, after those of --module: `URL|DIR`", EnvVars: env("REPOSITORY"), Category: groupModule},
		&cli.StringSliceFlag{Name: "repository-url", Usage: "Margarita Shotgun's name for --repository: `URL`", Category: groupModule, Hidden: true},
		&cli.StringSliceFlag{Name: "repository-key", Usage: "trust repositories that this OpenPGP key signed: `FINGERPRINT|FILE`", EnvVars: env("REPOSITORY_KEY"), Category: groupModule},
		&cli.StringFlag{Name: "repository-manifest", Usage: "use the list `NAME` of repositories", Value: repository.DefaultManifest, Category: groupModule},
		&cli.BoolFlag{Name: "gpg-no-verify", Usage: "leave signatures of repositories unchecked: their modules are unverified", Category: groupModule, DisableDefaultText: true},
		&cli.BoolFlag{Name: "offline", Usage: "take what repositories have from the cache only", EnvVars: env("OFFLINE"), Category: groupModule, DisableDefaultText: true},
		&cli.StringFlag{Name: "module-cache", Usage: "keep what repositories have in this `DIR`, or none", EnvVars: env("MODULE_CACHE"), Category: groupModule, TakesFile: true, DefaultText: "shotglass/modules in the user's cache folder"},
		&cli.StringFlag{Name: "repository-ca", Usage: "accept repositories behind https by the CAs of this PEM `FILE` only, not by the system's", EnvVars: env("REPOSITORY_CA"), Category: groupModule, TakesFile: true},
		&cli.BoolFlag{Name: "insecure-repository-http", Usage: "take a repository without TLS on another machine: anybody in between sees which kernels are asked for", Category: groupModule, DisableDefaultText: true},
	}
}

// repositories are what flags, variables and the hosts file together say of them.
type repositories struct {
	Stores   []*repository.Store
	Settings []acquire.Setting // that came from elsewhere than flags
	Warnings []string
}

// readRepositories opens the repositories. Nothing is fetched yet. What is not safe is
// refused here, before any connection. reread: what they have now counts, not what the cache has of them;
// --offline outweighs it.
func readRepositories(c *console, ctx *cli.Context, file *hostsfile.File, reread bool) (*repositories, error) {
	r := &repositories{}
	from := func(name, value, origin string) {
		r.Settings = append(r.Settings, acquire.Setting{Name: name, Value: value, Origin: origin})
	}
	urls, err := r.addresses(ctx, file.Repository, "file "+file.Path)
	if err != nil || len(urls) == 0 {
		return r, err
	}
	keys, manifest := ctx.StringSlice("repository-key"), ctx.String("repository-manifest")
	if !ctx.IsSet("repository-key") && len(file.Repository.Key) > 0 {
		keys = file.Repository.Key
		from("repository-key", strings.Join(keys, "\n"), "file "+file.Path)
	}
	if !ctx.IsSet("repository-manifest") && file.Repository.Manifest != "" {
		manifest = file.Repository.Manifest
		from("repository-manifest", manifest, "file "+file.Path)
	}
	verify := !ctx.Bool("gpg-no-verify")
	switch asked := file.Repository.GPGVerify; {
	case !verify && ctx.IsSet("repository-key"):
		return nil, usagef("--gpg-no-verify and --repository-key exclude each other").fix("with a key, leave --gpg-no-verify out")
	case verify && len(keys) == 0 && asked != nil && !*asked:
		verify = false
		from("gpg-no-verify", "true", "file "+file.Path)
	case verify && len(keys) == 0:
		return nil, usagef("repository %s: no key is pinned, so nobody vouches for its modules", urls[0]).
			fix("pin the full fingerprint of its key, or the key itself, from a place that you trust and not from the repository: --repository-key FINGERPRINT|FILE, or repository.key in the hosts file; docs/modules.md says how")
	}
	o := repository.Options{Manifest: manifest, Offline: ctx.Bool("offline"), Log: c.log()}
	o.Reread = reread && !o.Offline
	if verify {
		if o.Pins, err = repository.ParsePins(keys); err != nil {
			return nil, usagef("--repository-key: %v", err).fix("gpg --fingerprint prints fingerprints; gpg --export writes a key")
		}
	} else {
		r.Warnings = append(r.Warnings, "signatures of repositories are not checked: their modules are unverified, and loaded only with --module-sha256 HEX or --insecure-unverified-module")
	}
	if o.Cache, err = moduleCache(ctx.String("module-cache")); err != nil {
		return nil, err
	}
	if o.Offline && o.Cache == "" {
		return nil, usagef("--offline needs the cache of modules").fix("leave --module-cache none out")
	}
	web := repository.WebOptions{InsecureHTTP: ctx.Bool("insecure-repository-http")}
	ca := ctx.String("repository-ca")
	if !ctx.IsSet("repository-ca") && file.Repository.CA != "" {
		ca = file.Repository.CA
		from("repository-ca", ca, "file "+file.Path)
	}
	if ca != "" {
		if web.Roots, err = readCA(ca); err != nil {
			return nil, usagef("--repository-ca: %v", err).fix("the file holds certificates in PEM: -----BEGIN CERTIFICATE-----")
		}
	}
	for _, u := range urls {
		fetcher, err := repositoryAt(ctx, u, web)
		if err != nil {
			return nil, err
		}
		s, err := repository.New(fetcher, o)
		if err != nil {
			return nil, err
		}
		r.Stores = append(r.Stores, s)
	}
	return r, nil
}

// addresses returns where the repositories are: of the flag, else of Margarita Shotgun's
// variables and its section of the hosts file.
func (r *repositories) addresses(ctx *cli.Context, section hostsfile.Repository, origin string) ([]string, error) {
	for _, u := range ctx.StringSlice("repository") {
		if strings.HasPrefix(u, "-") {
			return nil, usagef("--repository wants a URL, not %q", u).fix("Margarita Shotgun's --repository --repository-url URL is --repository URL here")
		}
	}
	if ctx.IsSet("repository") || ctx.IsSet("repository-url") {
		return slices.Concat(ctx.StringSlice("repository"), ctx.StringSlice("repository-url")), nil
	}
	urls := []string(section.URL)
	switch v := os.Getenv("LIME_REPOSITORY"); strings.ToLower(v) {
	case "enabled":
		origin = "env LIME_REPOSITORY"
	case "", "disabled": // as Margarita Shotgun: the file may say otherwise
		if !section.Enabled {
			return nil, nil
		}
	default:
		return nil, usagef("LIME_REPOSITORY=%s: want enabled or disabled", v)
	}
	if u := os.Getenv("LIME_REPOSITORY_URL"); u != "" {
		urls, origin = []string{u}, "env LIME_REPOSITORY_URL"
	}
	if len(urls) == 0 {
		urls = []string{margaritaRepository}
	}
	r.Settings = append(r.Settings, acquire.Setting{Name: "repository", Value: strings.Join(urls, "\n"), Origin: origin})
	return urls, nil
}

// moduleCache is the folder of --module-cache.
func moduleCache(dir string) (string, error) {
	switch dir {
	case "none":
		return "", nil
	case "":
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", nil // no home: nothing is kept
		}
		return filepath.Join(cache, "shotglass", "modules"), nil
	}
	return filepath.Abs(dir)
}

// readCA reads certificates of CAs.
func readCA(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return pool, nil
}

// repositoryAt is the repository at a URL or in a folder.
func repositoryAt(ctx *cli.Context, address string, web repository.WebOptions) (repository.Fetcher, error) {
	scheme, _, isURL := strings.Cut(address, "://")
	bad := func(err error) error {
		return usagef("--repository %s: %v", printable(address), err)
	}
	switch {
	case isURL && scheme == "s3":
		f, err := newBucketRepository(ctx.Context, address, s3Access(ctx))
		if err != nil {
			return nil, bad(err)
		}
		return f, nil
	case isURL && (scheme == "https" || scheme == "http"):
		f, err := repository.NewWeb(address, web)
		if err != nil {
			// The address may hold a password.
			return nil, usagef("--repository: the URL %v", err)
		}
		return f, nil
	case isURL:
		return nil, bad(errors.New("want https://, s3:// or a folder"))
	}
	if info, err := os.Stat(address); !ctx.Bool("offline") && err != nil {
		return nil, bad(err)
	} else if err == nil && !info.IsDir() {
		return nil, bad(errors.New("is no folder; a single module is for --module"))
	}
	f, err := repository.NewFolder(address)
	if err != nil {
		return nil, bad(err)
	}
	return f, nil
}

// A bucketRepository reads a repository from S3, through what reads evidence there.
type bucketRepository struct {
	url            string
	bucket, prefix string
	access         s3.Options
}

var _ repository.Fetcher = (*bucketRepository)(nil)

func newBucketRepository(ctx context.Context, address string, access s3.Options) (*bucketRepository, error) {
	b := &bucketRepository{url: strings.TrimSuffix(address, "/"), access: access}
	b.access.BucketOwner = "" // is about the bucket for evidence
	var err error
	if b.bucket, b.prefix, err = s3.ParseURL(address); err != nil {
		return nil, err
	}
	b.access.Bucket, b.access.Prefix = b.bucket, b.prefix
	_, err = s3.New(ctx, b.access)
	return b, err
}

func (b *bucketRepository) String() string { return b.url }

// Fetch reads an object.
func (b *bucketRepository) Fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	access := b.access
	dir, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i+1], name[i+1:]
	}
	access.Prefix += dir
	s, err := s3.New(ctx, access)
	if err != nil {
		return nil, err
	}
	r, err := s.Open(ctx, base)
	if e, ok := errors.AsType[*s3.Error](err); ok && e.Status == http.StatusForbidden {
		return nil, fmt.Errorf("%w: %w", err, fs.ErrPermission) // also what is not there, to who may not list
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return repository.ReadAtMost(r, limit)
}
