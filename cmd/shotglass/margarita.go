package main

import (
	"net"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
)

// margaritaNames are flags of Margarita Shotgun and ours that mean the same. Its others have
// the same names here, or are read below.
var margaritaNames = [][2]string{
	{"username", "user"}, {"filename", "name"}, {"output-dir", "output"}, {"workers", "parallel"}, {"bucket", "to"}, {"jump-server", "jump"},
}

// margaritaFlags let a command line of Margarita Shotgun work as it is. They are not in the
// help: whoever begins anew has better ones.
func margaritaFlags() []cli.Flag {
	var flags []cli.Flag
	hide := func(name, usage string) {
		flags = append(flags, &cli.StringFlag{Name: name, Usage: usage, Hidden: true, Category: groupHosts})
	}
	for _, n := range margaritaNames {
		hide(n[0], "Margarita Shotgun's name for --"+n[1])
	}
	hide("server", "Margarita Shotgun's name for HOST")
	hide("jump-port", "port of --jump-server")
	hide("jump-username", "login name for --jump-server")
	hide("jump-key", "private key for --jump-server")
	hide("password", "refused: use --password-file")
	hide("jump-password", "refused: use a hosts file")
	return flags
}

// readMargarita gives the flags of Margarita Shotgun to ours. It returns what to correct in the
// settings of the manifest: as its flags say so, our values come from flags.
func readMargarita(ctx *cli.Context) (fix []acquire.Setting, err error) {
	const seen = "the secret stands in the list of processes and in the history of the shell: treat it as known, and change it"
	if ctx.IsSet("password") {
		return nil, usagef("--password: every user of this machine can read it; %s", seen).
			fix("--password-file FILE, --ask-password or SHOTGLASS_PASSWORD; for the passphrase of --key: --key-passphrase-file FILE or SHOTGLASS_KEY_PASSPHRASE")
	}
	if ctx.IsSet("jump-password") {
		return nil, usagef("--jump-password: every user of this machine can read it; %s", seen).
			fix("name the jump host in a hosts file (capture -c), with password: {file: FILE} or {env: NAME}")
	}
	for _, n := range margaritaNames {
		theirs, ours := n[0], n[1]
		if !ctx.IsSet(theirs) {
			continue
		}
		value := ctx.String(theirs)
		if ctx.IsSet(ours) {
			return nil, usagef("--%s and --%s are the same: give one of them", theirs, ours)
		}
		switch theirs {
		case "workers":
			if strings.EqualFold(value, "auto") {
				continue // as without it
			}
		case "bucket":
			value = "s3://" + value + "/"
		case "jump-server":
			value = jumpSpec(value, ctx.String("jump-username"), ctx.String("jump-port"))
		}
		if err := ctx.Set(ours, value); err != nil {
			return nil, usagef("--%s %q: %v", theirs, value, err)
		}
		fix = append(fix, acquire.Setting{Name: ours, Value: value, Origin: "flag"})
	}
	for _, name := range []string{"jump-port", "jump-username", "jump-key"} {
		if ctx.IsSet(name) && !ctx.IsSet("jump-server") {
			return nil, usagef("--%s goes with --jump-server", name).fix("--jump [USER@]HOST[:PORT]")
		}
	}
	return fix, nil
}

// jumpSpec is a jump host as --jump wants it.
func jumpSpec(host, user, port string) string {
	if port != "" {
		host = net.JoinHostPort(host, port)
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if user != "" {
		host = user + "@" + host
	}
	return host
}
