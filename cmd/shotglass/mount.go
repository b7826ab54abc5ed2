package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	memory "github.com/shotglass-ir/shotglass/acquire/image"
	"github.com/shotglass-ir/shotglass/cmd/internal/fusefs"
	"github.com/shotglass-ir/shotglass/transport"
)

const mountText = `Shows IMAGE in the empty folder DIR, read-only and without unpacking it, until Ctrl-C or until somebody unmounts it:

  NAME.lime      the LiME stream, as captured: what shotglass cat prints
  NAME.raw       memory by physical address, with holes where there is none
  NAME.elf       the same as an ELF core
  manifest.json  the manifest, if there is one
  NAME.isf.json.xz  the symbol file, if one lies beside the image, decrypted; no manifest vouches for it

` + viewsText + `

Exit code 0: unmounted, and nothing was wrong. 3: the same of a partial image. 4: manifest and image do not agree, or a damaged part was met.`

func mountCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "mount", Usage: "show an image as files, without unpacking it",
		ArgsUsage: "IMAGE DIR", Description: mountText,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "allow-other", Usage: "let other users of this machine read it too", DisableDefaultText: true},
		}, slices.Concat(viewFlags(), identityFlags(), s3AccessFlags())...),
		Action: func(cc *cli.Context) error {
			c.json = cc.Bool("json")
			if cc.NArg() != 2 {
				return usagef("mount takes an image and a folder, there are %d arguments", cc.NArg())
			}
			name, dir := cc.Args().Get(0), cc.Args().Get(1)
			// The image outlives the signal: who is reading is answered until it is unmounted.
			sctx, stop := catchSignals(cc.Context, c.exit, func(string) {}, func() { c.warn("%s is still mounted: %s", dir, unmountHint(dir)) })
			defer stop()
			defer outliveReader()()
			life, end := context.WithCancel(context.WithoutCancel(cc.Context))
			defer end()
			opening := context.AfterFunc(sctx, end)
			v, err := openViews(life, c, cc, name)
			if err != nil {
				if sctx.Err() != nil {
					return context.Cause(sctx)
				}
				return err
			}
			defer v.Close()
			if !opening() {
				return context.Cause(sctx)
			}
			limitMemory(v.memory(name, fusefs.Memory))
			return v.mount(sctx, c, name, dir, cc.Bool("allow-other"))
		},
	}
}

// busy is how long unmounting waits for those who have a file open.
const busy = 5 * time.Second

// files are those that a mount shows.
func (v *viewed) files(name string) (files []fusefs.File, err error) {
	created := time.Now()
	if m := v.Trust().Manifest; m != nil {
		created = m.Created
		paper, err := m.Marshal()
		if err != nil {
			return nil, err
		}
		files = append(files, fusefs.File{Name: "manifest.json", Source: fusefs.Bytes(paper), Time: created})
	}
	if v.symbols != nil {
		files = append(files, fusefs.File{Name: viewBase(name) + symbolsSuffix, Source: fusefs.Bytes(v.symbols), Time: created})
	}
	for _, w := range v.views {
		files = append(files, fusefs.File{Name: w.Name, Source: w.View, Time: created})
	}
	return files, nil
}

// mount serves the views until ctx ends.
func (v *viewed) mount(ctx context.Context, c *console, name, dir string, others bool) error {
	files, err := v.files(name)
	if err != nil {
		return err
	}
	m, err := fusefs.New(dir, files, fusefs.Options{Name: "shotglass", AllowOther: others, Patience: v.patience, Failed: v.say.failed, Damage: memory.Damage})
	if err != nil {
		return mountError(dir, err)
	}
	if m.Freed() {
		c.info("%s was still mounted by a shotglass that was killed, and was freed", dir)
	}
	if err := v.mounted(c, name, dir); err != nil { // nobody learned of it
		_, uerr := m.Unmount(ctx)
		return errors.Join(err, uerr)
	}
	select {
	case <-m.Done():
	case <-ctx.Done():
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), busy)
		defer cancel()
		lazy, err := m.Unmount(wait)
		if err != nil {
			return &hinted{fmt.Errorf("%s is still mounted: %w", dir, err), unmountHint(dir)}
		}
		if lazy {
			c.warn("%s was still in use; whoever has a file of it open gets errors from now on", dir)
		}
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

// mounted says that the files are there.
func (v *viewed) mounted(c *console, name, dir string) error {
	if c.json {
		return c.message("mounted", struct {
			Image string  `json:"image"`
			Dir   string  `json:"dir"`
			Files []shown `json:"files"`
		}{v.Location(), dir, v.views})
	}
	for _, w := range v.views {
		if _, err := fmt.Fprintf(c, "%s: %d bytes, %s\n", filepath.Join(dir, w.Name), w.Bytes, w.What); err != nil {
			return err
		}
	}
	c.info("%s is mounted until Ctrl-C, or %s", name, unmountHint(dir))
	return nil
}

// mountError adds what helps.
func mountError(dir string, err error) error {
	switch {
	case errors.Is(err, fusefs.ErrStale):
		return &hinted{err, "free the folder first: " + unmountHint(dir)}
	case errors.Is(err, fusefs.ErrNotEmpty):
		return &hinted{err, "make one: mkdir memory && shotglass mount IMAGE memory"}
	case errors.Is(err, fusefs.ErrUnsupported):
		return &hinted{err, "shotglass serve-image IMAGE needs no FUSE; shotglass cat IMAGE > image.lime unpacks it"}
	case errors.Is(err, os.ErrNotExist):
		return &hinted{err, "make the folder first; without root, mounting takes fusermount3 (Debian: apt install fuse3)"}
	}
	return &hinted{err, "without root, mounting takes fusermount3 (Debian: apt install fuse3), and --allow-other takes user_allow_other in /etc/fuse.conf; shotglass serve-image needs neither"}
}

// unmountHint is the command that frees the folder.
func unmountHint(dir string) string {
	if runtime.GOOS == "linux" && os.Geteuid() != 0 {
		return "fusermount3 -u " + transport.Quote(dir)
	}
	return "umount " + transport.Quote(dir)
}
