package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const catText = `Prints the memory image as LiME made it, or a swap area as it was, whatever way it is stored. No manifest is needed, and none is checked: see
verify. FILE may be s3://bucket/key. An encrypted image takes --identity. Of a file that was cut short everything whole is printed, and the exit code is 3.`

func catCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "cat", Usage: "print the raw image to standard output",
		ArgsUsage: "FILE", Description: catText,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "print to a terminal too", DisableDefaultText: true},
		}, slices.Concat(identityFlags(), s3AccessFlags())...),
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() != 1 {
				return usagef("cat takes one file, there are %d", ctx.NArg())
			}
			if _, tty := terminal(c.stdout); tty && !ctx.Bool("force") {
				return usagef("standard output is a terminal, and memory holds bytes that drive terminals").
					fix("send it somewhere: shotglass cat %s > image.lime; or use --force", ctx.Args().First())
			}
			ids, err := readIdentities(c, ctx)
			if err != nil {
				return err
			}
			defer exitOnSignal(c)()
			img, err := openImage(ctx.Context, ctx.Args().First(), s3Access(ctx), ids)
			if err != nil {
				return err
			}
			defer img.Close()
			_, err = img.WriteTo(c)
			if cutShort(err) {
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
	file      io.Closer
	name      string
	size      int64           // stored
	encrypted *agefile.Reader // nil if it is not
}

// openImage opens an image in a file or in S3, where it is read as it is needed.
func openImage(ctx context.Context, name string, access s3.Options, ids []age.Identity) (*image, error) {
	var file interface {
		io.ReaderAt
		io.Closer
	}
	var size int64
	if s3.IsURL(name) {
		where, base, err := place(ctx, name, access)
		if err != nil {
			return nil, err
		}
		obj, err := where.Open(ctx, base)
		if err != nil {
			return nil, err
		}
		file, size = obj, obj.Size()
	} else {
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
		file, size = f, info.Size()
	}
	img := &image{file: file, name: name, size: size}
	if err := img.open(file, ids); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return img, nil
}

// open finds out how the image is stored.
func (i *image) open(r io.ReaderAt, ids []age.Identity) (err error) {
	size := i.size
	head := make([]byte, min(64, size))
	n, err := r.ReadAt(head, 0)
	if err != nil && (err != io.EOF || n < len(head)) {
		return err
	}
	switch {
	case agefile.IsArmored(head):
		return &hinted{errors.New("encrypted with age, as text"), "turn it into a binary file first: age -d -i KEY FILE > image.lime"}
	case agefile.Is(head) && len(ids) == 0:
		return &hinted{errors.New("encrypted with age"), identityHint}
	case agefile.Is(head):
		if i.encrypted, err = agefile.Open(r, size, ids...); err != nil {
			if errors.Is(err, agefile.ErrNoMatch) {
				err = &hinted{err, identityHint}
			}
			return err
		}
		r, size = i.encrypted, i.encrypted.Size()
	}
	if _, plain := acquire.IsSwap(strings.TrimSuffix(path.Base(i.name), sink.PartialSuffix)); plain || isSwap(r, size) {
		i.Reader = frame.OpenPlain(r, size)
		return nil
	}
	if i.Reader, err = frame.Open(r, size); errors.Is(err, frame.ErrFormat) {
		err = &hinted{err, formatHint}
	}
	if tail := i.tail(); tail != nil && err != nil {
		return fmt.Errorf("%w; and %w", err, tail)
	}
	return err
}

// isSwap reports whether what is stored as it is begins as a swap area does.
func isSwap(r io.ReaderAt, size int64) bool {
	return swapHeaderOf(r, size) != nil
}

func swapHeaderOf(r io.ReaderAt, size int64) *acquire.SwapHeader {
	head := make([]byte, min(acquire.MaxSwapPage, size))
	n, _ := r.ReadAt(head, 0) // what is wrong with it is met again
	return acquire.ParseSwapHeader(head[:n])
}

// tail says why the encrypted file is not whole, or is nil.
func (i *image) tail() error {
	if i.encrypted == nil || i.encrypted.Tail() == nil {
		return nil
	}
	return i.encrypted.Tail()
}

// WriteTo writes the raw bytes. Of an encrypted file that was cut short that is an error even
// where what is left looks whole.
func (i *image) WriteTo(w io.Writer) (int64, error) {
	n, err := i.Reader.WriteTo(w)
	if err == nil {
		err = i.tail()
	}
	return n, err
}

// cutShort reports whether an error says that an image lacks its end.
func cutShort(err error) bool {
	var frames *frame.TailError
	var chunks *agefile.TailError
	return errors.As(err, &frames) || errors.As(err, &chunks)
}

// Close ends decoding and closes the file.
func (i *image) Close() error { return errors.Join(i.Reader.Close(), i.file.Close()) }

var _ io.WriterTo = (*image)(nil)
