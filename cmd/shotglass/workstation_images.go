package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/cmd/internal/workstation"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const workstationImagesText = `Lists the images of memory that lie in PLACE, a folder or s3://BUCKET/PREFIX/, and in its folders, one a line: its state by its manifest (complete, partial, or unvouched
for one without, and for what convert made), plain or encrypted, its name, where it is. An analysis instance mounts what this lists. Nothing of an image is read: shotglass verify checks one.

Exit code 3: something may be an image and could not be told; it is named.`

func workstationImagesCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "images", Usage: "list the images of memory in a case", ArgsUsage: "PLACE", Description: workstationImagesText,
		Flags: append(s3AccessFlags(), jsonFlag()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() != 1 {
				return usagef("want one place, have %d", ctx.NArg())
			}
			sctx, stop := catchSignals(ctx.Context, c.exit, func(string) {}, func() {})
			defer stop()
			return listImages(sctx, c, ctx.Args().First(), s3Access(ctx))
		},
	}
}

func listImages(ctx context.Context, c *console, at string, access s3.Options) error {
	at = strings.TrimSuffix(at, "/") + "/"
	names, open, err := filesBelow(ctx, at, access)
	if err != nil {
		return err
	}
	code := exitOK
	err = workstation.Images(ctx, names, open, func(i workstation.Image) error {
		if i.State == workstation.Unusable {
			code = exitPartial
		}
		if c.json {
			return c.message("case_image", struct {
				workstation.Image
				Location string `json:"location"`
			}{i, at + i.Name})
		}
		if i.State == workstation.Unusable {
			c.warn("%q: %s", at+i.Name, i.Why)
			return nil
		}
		how := "plain"
		if i.Encrypted {
			how = "encrypted"
		}
		_, err := fmt.Fprintf(c, "%s\t%s\t%s\t%s\n", i.State, how, i.Name, at+i.Name)
		return err
	})
	if err != nil {
		return err
	}
	return exitWith(code)
}

// filesBelow are the files of a place and of its folders, by their names below it, and what opens one, for several at once.
func filesBelow(ctx context.Context, at string, access s3.Options) (names []string, open func(context.Context, string) (sink.Reader, error), err error) {
	if s3.IsURL(at) {
		if access.Bucket, access.Prefix, err = s3.ParseURL(at); err != nil {
			return nil, nil, usagef("%v", err)
		}
		s, err := s3.New(ctx, access)
		if err != nil {
			return nil, nil, fmt.Errorf("S3: %w", err)
		}
		names, err := s.Tree(ctx)
		return names, func(ctx context.Context, name string) (sink.Reader, error) {
			if path.Dir(name) == "." {
				return s.Open(ctx, name)
			}
			folder, err := s.Below(ctx, path.Dir(name))
			if err != nil {
				return nil, err
			}
			return folder.Open(ctx, path.Base(name))
		}, err
	}
	err = fs.WalkDir(os.DirFS(filepath.Clean(at)), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", at, err)
	}
	slices.Sort(names)
	return names, func(ctx context.Context, name string) (sink.Reader, error) {
		where, base, err := place(ctx, at+name, access)
		if err != nil {
			return nil, err
		}
		return where.Open(ctx, base)
	}, nil
}
