package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
)

const makeKeyHint = `make a signing key once: ssh-keygen -t ed25519 -f ~/.ssh/shotglass; then pass --sign-key ~/.ssh/shotglass`

// openSigner loads the key that signs manifests and proves that it signs: hours
// later would be too late to find out. The closer ends the agent's connection.
func (o *captureOptions) openSigner(ctx context.Context) (io.Closer, error) {
	var none io.Closer = io.NopCloser(nil)
	if o.SignKey == "" {
		if !o.Unsigned {
			return nil, usagef("no key to sign the manifest with").
				fix("%s (or set SHOTGLASS_SIGN_KEY). A manifest that nobody signed needs --unsigned", makeKeyHint)
		}
		o.Engine.Settings = append(o.Engine.Settings, acquire.Setting{Name: "signer", Value: "none", Origin: "flag"})
		return none, nil
	}
	signer, err := signature.LoadSigner(o.SignKey, func(path string) ([]byte, error) {
		return o.passphrase(ctx, fmt.Sprintf("passphrase of the signing key %s", path))
	})
	closer := none
	if errors.Is(err, signature.ErrPublicKey) {
		signer, closer, err = agentSigner(o.SignKey)
	}
	if err == nil {
		_, err = signature.Sign([]byte("shotglass: does this key sign?"), signer)
	}
	if err != nil {
		if closer != nil {
			closer.Close()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &usageError{Msg: fmt.Sprintf("--sign-key: %v", err), Fix: makeKeyHint}
	}
	o.Engine.Signer = signer
	o.Engine.Settings = append(o.Engine.Settings, acquire.Setting{Name: "signer", Value: ssh.FingerprintSHA256(signer.PublicKey()), Origin: o.SignKey})
	return closer, nil
}

// recordSigner loads the key of --sign-key, for a record that is no manifest. The closer ends the agent's connection.
func recordSigner(c *console, ctx *cli.Context) (*captureOptions, io.Closer, error) {
	o := &captureOptions{SignKey: ctx.String("sign-key"), Unsigned: ctx.Bool("unsigned")}
	if o.SignKey != "" && o.Unsigned {
		return nil, nil, usagef("--sign-key and --unsigned exclude each other").fix("unset SHOTGLASS_SIGN_KEY or leave --unsigned out")
	}
	var err error
	if o.passphrase, _, err = (secretSource{what: "key-passphrase", flag: "key-passphrase-file", file: ctx.String("key-passphrase-file"), env: "SHOTGLASS_KEY_PASSPHRASE", always: true}).open(newPrompter(c)); err != nil {
		return nil, nil, err
	}
	closer, err := o.openSigner(ctx.Context)
	return o, closer, err
}

func agentSigner(path string) (ssh.Signer, io.Closer, error) {
	pub, err := signature.LoadPublicKey(path)
	if err != nil {
		return nil, nil, err
	}
	sock := os.Getenv("SSH_AUTH_SOCK")
	if sock == "" {
		return nil, nil, fmt.Errorf("%s is a public key, and no ssh-agent is running (SSH_AUTH_SOCK is not set)", path)
	}
	conn, err := net.Dial("unix", sock)
	if err != nil {
		return nil, nil, fmt.Errorf("ssh-agent: %w", err)
	}
	signer, err := signature.AgentSigner(agent.NewClient(conn), pub)
	return signer, conn, err
}
