package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
)

const (
	recipientHint = "make a key pair once: age-keygen -o FILE; it prints the recipient, age1..., and FILE, which decrypts, stays off this machine"
	identityHint  = "name the secret key of one of its recipients: --identity FILE (of age-keygen, or an SSH private key)"
)

// readRecipients reads whom to encrypt to. All errors come at once; a secret key that was
// given by mistake is in none of them.
func readRecipients(keys, files []string) ([]agefile.Recipient, error) {
	var lists [][]agefile.Recipient
	var errs []error
	for _, key := range keys {
		r, err := agefile.ParseRecipient(key)
		if errors.Is(err, agefile.ErrSecretKey) {
			err = fmt.Errorf("%w; it has been shown to everybody who can list processes here: make a new one", err)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--recipient: %w", err))
			continue
		}
		lists = append(lists, []agefile.Recipient{r})
	}
	for _, name := range files {
		list, err := recipientsFile(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("recipients file %s: %w", name, err))
			continue
		}
		lists = append(lists, list)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return agefile.Join(lists...)
}

func recipientsFile(name string) ([]agefile.Recipient, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	return agefile.ParseRecipients(f)
}

// shortList names recipients for people: those of the post-quantum kind have 2000 letters.
func shortList(names []string) string {
	var out []string
	for _, n := range names {
		if len(n) > 80 {
			n = n[:40] + "..."
		}
		out = append(out, n)
	}
	return strings.Join(out, ", ")
}

const groupDecrypt = "Decryption"

// identityFlags say how encrypted images are read.
func identityFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "identity", Aliases: []string{"i"}, TakesFile: true, EnvVars: env("IDENTITY"), Category: groupDecrypt,
			Usage: "decrypt images with this `FILE`: secret keys of age, also encrypted with a passphrase, or an SSH private key"},
		&cli.StringFlag{Name: "identity-passphrase-file", TakesFile: true, EnvVars: env("IDENTITY_PASSPHRASE_FILE"), Category: groupDecrypt,
			Usage: "read the passphrase of identities from the first line of `FILE`; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal"},
	}
}

// readIdentities reads the files of identityFlags.
func readIdentities(c *console, ctx *cli.Context) (ids []age.Identity, err error) {
	prompts := newPrompter(c)
	passphrase, _, err := secretSource{
		what: "identity-passphrase", flag: "identity-passphrase-file", file: ctx.String("identity-passphrase-file"),
		env: "SHOTGLASS_IDENTITY_PASSPHRASE", always: true,
	}.open(prompts)
	if err != nil {
		return nil, err
	}
	for _, name := range ctx.StringSlice("identity") {
		list, err := readIdentity(name, func() ([]byte, error) {
			return passphrase(ctx.Context, "passphrase of the identity "+name)
		})
		if ctx.Context.Err() != nil {
			return nil, context.Cause(ctx.Context)
		}
		if err != nil {
			return nil, usagef("--identity %s: %v", name, err).fix("it wants a file of age-keygen, or an SSH private key (ssh-ed25519, ssh-rsa); a passphrase is asked for on the terminal, or given with --identity-passphrase-file or SHOTGLASS_IDENTITY_PASSPHRASE")
		}
		ids = append(ids, list...)
	}
	return ids, nil
}

func readIdentity(name string, passphrase func() ([]byte, error)) ([]age.Identity, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, agefile.MaxIdentity+1))
	if err != nil {
		return nil, err
	}
	return agefile.ParseIdentities(data, passphrase)
}
