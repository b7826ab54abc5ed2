package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire/signature"
)

// A topic is what `shotglass help` and the man page explain beside the commands.
type topic struct {
	name, title string
	text        func() string
}

func topics() []topic {
	return []topic{
		{"exit-codes", "What the exit codes mean", exitCodesText},
		{"environment", "Environment variables", environmentText},
		{"secrets", "How passwords and passphrases get in", func() string { return secretsText }},
		{"json", "The JSON Lines of --json", func() string { return jsonText }},
		{"evidence", "What lies in the output folder, and how to check it", func() string { return evidenceText }},
	}
}

func exitCodesText() string {
	var b strings.Builder
	for _, c := range exitCodes {
		for i, l := range wrap(c.Meaning, helpWidth-7) {
			code := ""
			if i == 0 {
				code = fmt.Sprint(c.Code)
			}
			fmt.Fprintf(&b, "  %3s  %s\n", code, l)
		}
	}
	b.WriteString("\nA command with several hosts or files ends with the most severe code: 130 before 4, 1, 3, 5 and 0. Other codes, such as\n2, are not shotglass's own: treat them as failure.\n")
	return b.String()
}

// environmentText lists every variable with its flag, from the flags themselves.
func environmentText() string {
	var b strings.Builder
	b.WriteString("A flag outweighs its variable, a variable the hosts file, and that the default. The manifest records every value and where it came\nfrom. A variable of a flag that may be repeated holds one value.\n\n")
	seen := map[string]bool{}
	var list func([]*cli.Command)
	list = func(commands []*cli.Command) {
		for _, cmd := range commands {
			for _, f := range cmd.Flags {
				d := f.(cli.DocGenerationFlag)
				for _, e := range d.GetEnvVars() {
					if !seen[e] {
						seen[e] = true
						fmt.Fprintf(&b, "  %-38s --%s\n", e, d.Names()[0])
					}
				}
			}
			list(cmd.Subcommands)
		}
	}
	list(newApp(newConsole(strings.NewReader(""), io.Discard, io.Discard), nil).Commands)
	for _, s := range []string{"SHOTGLASS_PASSWORD", "SHOTGLASS_SUDO_PASSWORD", "SHOTGLASS_KEY_PASSPHRASE", "SHOTGLASS_IDENTITY_PASSPHRASE", notifySecret, "SHOTGLASS_LOCKDOWN_EXTERNAL_ID"} {
		fmt.Fprintf(&b, "  %-38s see shotglass help secrets\n", s)
	}
	b.WriteString("  LIME_REPOSITORY                        Margarita Shotgun's: enabled turns on the repository of LIME_REPOSITORY_URL, or of the hosts file\n")
	b.WriteString("  SSH_AUTH_SOCK                          the socket of ssh-agent\n")
	return b.String()
}

const secretsText = `No flag takes a password or a passphrase as its value: every user of this machine could read it. Each of

  the login password       --ask-password        --password-file FILE        SHOTGLASS_PASSWORD
  sudo's password          --ask-sudo-password   --sudo-password-file FILE   SHOTGLASS_SUDO_PASSWORD
  the passphrase of keys   (asked for by itself) --key-passphrase-file FILE  SHOTGLASS_KEY_PASSPHRASE
  the passphrase of        (asked for by itself) --identity-passphrase-file FILE
  identities (age)                                                          SHOTGLASS_IDENTITY_PASSPHRASE
  the secret of webhooks                         --notify-secret-file FILE  SHOTGLASS_NOTIFY_SECRET
  lockdown's external id   --ask-external-id     --external-id-file FILE    SHOTGLASS_LOCKDOWN_EXTERNAL_ID

comes from the terminal if --ask-... says so, else from the first line of the file, else from the variable. Questions are
asked on the terminal itself, before the first byte of memory flows. Passwords are for the targets: jump hosts are
reached with keys. Secrets are in no log and no manifest.

In a hosts file each host and jump host can have its own, which best stand elsewhere: in a file, a variable, or
with a program that prints them. What a flag or a variable above says goes before.
`

const jsonText = `With --json standard output is JSON Lines. Every line is an object with "v":1 and a "message_type"; fields are only ever
added. Times are UTC, durations end in _ns and are nanoseconds, sizes are bytes.

  plan          what will be done to a host; "ok", and "error" when it cannot be captured
  state         a host's state changed: connecting, connected, waiting, preparing, streaming, stalled, resumed,
                cleaning, problem
  progress      where a stream stands, every two seconds (not with --progress none)
  result        how a host ended: "state" is complete, partial or failed
  verification  what verify found in a file
  log_verification   what verify found in an audit log
  inspection    what inspect found in a file
  hosts_file    what hosts check found in a file
  repository    a repository of modules: its revision, who signed it
  module        a module that modules list, fetch or check came upon
  version       what shotglass version prints
  summary       the last line, with the exit code
  exit_error    in place of the summary when the command failed as a whole

These are the kinds of capture, verify and modules. docs/json.md has those of the other commands too, and names all fields.
Errors are told on standard error as well.
`

const evidenceText = `A capture leaves, with mode 0600, and never overwrites:

  NAME.lime.zst            the image: plain zstd, of which zstd -d makes the LiME image; .lime.s2 (for s2d) or .lime with --compress;
                           encrypted it ends in .age, and age -d -i KEY makes it what it was
  NAME.lime.zst.frames     digests of its frames, with which verify names the damaged part
  NAME.lime.zst.live.tar.zst   what --collect took beside memory: symbols, and what live tools showed
  NAME.lime.zst.json       the manifest, written last; an image without one is no evidence
  NAME.lime.zst.json.sig   the SSH signature of the manifest
  NAME.lime.zst.partial    an image that is not complete
  CASE-TIME-audit.jsonl    the audit log of the run, each line with the digest of the one before; .sig is its signature

Stock OpenSSH checks the signature:

  ssh-keygen -Y verify -f allowed_signers -I NAME -n ` + signature.Namespace + ` -s IMAGE.json.sig < IMAGE.json
  ssh-keygen -Y verify -f allowed_signers -I NAME -n ` + signature.LogNamespace + ` -s LOG.jsonl.sig < LOG.jsonl

shotglass verify --signers allowed_signers IMAGE LOG checks everything.
`
