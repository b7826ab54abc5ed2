package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/cmd/internal/nbd"
	"github.com/shotglass-ir/shotglass/transport"
)

const serveImageText = `Serves IMAGE read-only as network block devices (NBD), for machines and tools without FUSE, until Ctrl-C. The exports are
lime (the LiME stream, and what a client gets that names none), raw (memory by physical address) and elf (ELF core):

  nbdcopy nbd://127.0.0.1:10809/raw memory.raw
  nbd-client -unix /run/memory.sock -N lime /dev/nbd0 -readonly      # with --listen unix:/run/memory.sock

` + viewsText + `

NBD here has no password and no encryption: whoever can connect reads the memory. So it listens on the loopback address, where every user
of this machine can connect, or on a unix socket, where this user can.

Exit codes are those of mount.`

// nbdAddress is the port that NBD has by registration.
const nbdAddress = "127.0.0.1:10809"

func serveImageCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "serve-image", Usage: "serve an image as a network block device, without unpacking it",
		ArgsUsage: "IMAGE", Description: serveImageText,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "listen", EnvVars: env("LISTEN"), Usage: "`ADDRESS` to listen on: host:port, port 0 for any, or unix:PATH", Value: nbdAddress},
			&cli.BoolFlag{Name: "insecure-listen", Usage: "listen on an address that other machines reach: anybody there reads the memory", DisableDefaultText: true},
		}, slices.Concat(viewFlags(), identityFlags(), s3AccessFlags())...),
		Action: func(cc *cli.Context) error {
			c.json = cc.Bool("json")
			if cc.NArg() != 1 {
				return usagef("serve-image takes one image, there are %d", cc.NArg())
			}
			network, address, open, err := listenAddress(cc.String("listen"))
			if err != nil {
				return usagef("--listen %q: %v", cc.String("listen"), err).fix("--listen 127.0.0.1:10809, --listen unix:/run/memory.sock")
			}
			if open && !cc.Bool("insecure-listen") {
				return usagef("--listen %s: other machines reach that address, and whoever connects reads the memory", address).
					fix("listen on 127.0.0.1 and let them in by ssh -L; or, in a network that you trust, add --insecure-listen")
			}
			sctx, stop := catchSignals(cc.Context, c.exit, func(string) {}, func() {})
			defer stop()
			defer outliveReader()()
			v, err := openViews(sctx, c, cc, cc.Args().First())
			if err != nil {
				if sctx.Err() != nil {
					return context.Cause(sctx)
				}
				return err
			}
			defer v.Close()
			if open {
				c.warn("%s is open to other machines: there is no password and no encryption", address)
			}
			limitMemory(v.memory(cc.Args().First(), nbd.Memory))
			return v.serve(sctx, c, network, address)
		},
	}
}

// listenAddress takes --listen apart; open says that other machines may reach it.
func listenAddress(s string) (network, address string, open bool, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return "", "", false, errors.New("no path")
		}
		return "unix", path, false, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", "", false, err
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		if host != "" {
			return "", "", false, errors.New("want the number of an address, not a name")
		}
		return "tcp", s, true, nil
	}
	return "tcp", net.JoinHostPort(host, port), !a.Unmap().IsLoopback(), nil
}

// listenPrivately lets nobody but this user connect to a socket in the file system.
func listenPrivately(network, address string) (net.Listener, error) {
	if network == "unix" {
		defer hideNewFiles()()
	}
	return net.Listen(network, address)
}

// serve serves the views until ctx ends, which is how it ends.
func (v *viewed) serve(ctx context.Context, c *console, network, address string) error {
	l, err := listenPrivately(network, address)
	if err != nil {
		hint := "another address: --listen 127.0.0.1:0 takes any port that is free"
		if network == "unix" {
			hint = "another path; if nobody serves there any more, rm " + transport.Quote(address)
		}
		return &hinted{err, hint}
	}
	s := &nbd.Server{Patience: v.patience, Failed: v.say.failed}
	type export struct {
		Name  string `json:"name"`
		Bytes int64  `json:"bytes"`
		URI   string `json:"uri"`
	}
	var exports []export
	for _, w := range v.views {
		name := w.Name[strings.LastIndexByte(w.Name, '.')+1:]
		uri := "nbd://" + l.Addr().String() + "/" + name
		if network == "unix" {
			uri = "nbd+unix:///" + name + "?socket=" + address
		}
		s.Exports = append(s.Exports, nbd.Export{Name: name, Description: w.What, Source: w.View})
		exports = append(exports, export{name, w.Bytes, uri})
	}
	if c.json {
		err = c.message("serving", struct {
			Image   string   `json:"image"`
			Address string   `json:"address"`
			Exports []export `json:"exports"`
		}{v.Location(), l.Addr().String(), exports})
	} else {
		for i, e := range exports {
			if _, err = fmt.Fprintf(c, "%s: %d bytes, %s\n", e.URI, e.Bytes, v.views[i].What); err != nil {
				break
			}
		}
		c.info("serving until Ctrl-C")
	}
	if err != nil { // nobody learned of it
		l.Close()
		return err
	}
	if err := s.Serve(ctx, l); err != nil {
		return err
	}
	code := v.code()
	if c.json {
		c.message("summary", struct {
			Code    int `json:"code"`
			Damaged int `json:"damaged"`
		}{code, v.say.damages()})
	}
	return exitWith(code)
}
