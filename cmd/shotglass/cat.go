package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const catText = `Prints the memory image as LiME made it, whatever way it is stored. No manifest is needed, and none is checked: see
verify. FILE may be s3://bucket/key. Of a file that was cut short everything whole is printed, and the exit code is 3.`

func catCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "cat", Usage: "print the raw image to standard output",
		ArgsUsage: "FILE", Description: catText,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "print to a terminal too", DisableDefaultText: true},
		}, s3AccessFlags()...),
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() != 1 {
				return usagef("cat takes one file, there are %d", ctx.NArg())
			}
			if _, tty := terminal(c.stdout); tty && !ctx.Bool("force") {
				return usagef("standard output is a terminal, and memory holds bytes that drive terminals").
					fix("send it somewhere: shotglass cat %s > image.lime; or use --force", ctx.Args().First())
			}
			defer exitOnSignal(c)()
			img, err := openImage(ctx.Context, ctx.Args().First(), s3Access(ctx))
			if err != nil {
				return err
			}
			defer img.Close()
			_, err = img.WriteTo(c)
			var tail *frame.TailError
			if errors.As(err, &tail) {
				return &exitError{exitPartial, fmt.Errorf("%s: %w; everything before that was printed", img.name, err)}
			}
			if err != nil {
				return fmt.Errorf("%s: %w", img.name, err)
			}
			return nil
		},
	}
}

// An image is an open image file, of any storage and by whomever.
type image struct {
	*frame.Reader
	file io.Closer
	name string
	size int64 // stored
}

func openImage(ctx context.Context, name string, access s3.Options) (*image, error) {
	if s3.IsURL(name) {
		return openObject(ctx, name, access)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	r, err := frame.Open(f, info.Size())
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &image{Reader: r, file: f, name: name, size: info.Size()}, nil
}

// openObject opens an image in S3. It is read as it is needed.
func openObject(ctx context.Context, name string, access s3.Options) (*image, error) {
	where, base, err := place(ctx, name, access)
	if err != nil {
		return nil, err
	}
	obj, err := where.Open(ctx, base)
	if err != nil {
		return nil, err
	}
	r, err := frame.Open(obj, obj.Size())
	if err != nil {
		obj.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &image{Reader: r, file: obj, name: name, size: obj.Size()}, nil
}

// Close ends decoding and closes the file.
func (i *image) Close() error { return errors.Join(i.Reader.Close(), i.file.Close()) }

var _ io.WriterTo = (*image)(nil)
