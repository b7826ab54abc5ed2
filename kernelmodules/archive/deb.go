package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// A .deb is an ar archive of debian-binary, control.tar.* and data.tar.*, in that order (deb(5)). It is
// read here, in few lines, since pault.ag/go/debian turns in circles on a member of negative size.
const (
	arMagic    = "!<arch>\n"
	maxControl = 1 << 20 // bytes of the control file
	maxMembers = 16
)

// An arReader reads the members of an ar archive.
type arReader struct {
	r    io.Reader
	left int64 // of the current member, with its padding
	pad  int64
}

func newArReader(r io.Reader) (*arReader, error) {
	magic := make([]byte, len(arMagic))
	if _, err := io.ReadFull(r, magic); err != nil {
		return nil, unexpected(err)
	}
	if string(magic) != arMagic {
		return nil, errors.New("is no .deb package")
	}
	return &arReader{r: r}, nil
}

// next goes to the next member and returns its name; io.EOF after the last.
func (a *arReader) next() (string, error) {
	if _, err := io.CopyN(io.Discard, a.r, a.left+a.pad); err != nil {
		return "", unexpected(err)
	}
	a.left, a.pad = 0, 0
	header := make([]byte, 60)
	if n, err := io.ReadFull(a.r, header); err != nil {
		if n == 0 {
			return "", err // io.EOF
		}
		return "", unexpected(err)
	}
	size, err := strconv.ParseInt(strings.TrimSpace(string(header[48:58])), 10, 64)
	if err != nil || size < 0 || string(header[58:]) != "`\n" {
		return "", errors.New("is a damaged .deb package: a member has no valid header")
	}
	a.left, a.pad = size, size%2
	return strings.TrimSuffix(strings.TrimSpace(string(header[:16])), "/"), nil
}

func (a *arReader) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	n, err := a.r.Read(p[:min(int64(len(p)), a.left)])
	a.left -= int64(n)
	if errors.Is(err, io.EOF) && a.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// member goes on to the next member whose name starts with prefix, and opens it as a tar.
func (a *arReader) member(prefix string) (*tar.Reader, func(), error) {
	for range maxMembers {
		name, err := a.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if strings.HasPrefix(name, prefix) {
			r, done, err := decompress(a)
			if err != nil {
				return nil, nil, fmt.Errorf("its %s: %w", name, err)
			}
			return tar.NewReader(r), done, nil
		}
	}
	return nil, nil, fmt.Errorf("is no .deb package: it has no %s", prefix)
}

// control reads what a .deb says of itself.
func (a *arReader) control() (map[string]string, error) {
	t, done, err := a.member("control.tar")
	if err != nil {
		return nil, err
	}
	defer done()
	for {
		h, err := t.Next()
		if err != nil {
			return nil, fmt.Errorf("its control.tar: %w", unexpected(err))
		}
		if path.Clean(h.Name) != "control" {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(t, maxControl))
		if err != nil {
			return nil, fmt.Errorf("its control file: %w", err)
		}
		return ParseControl(b), nil
	}
}

// ParseControl reads the first paragraph of a control file, or of what apt-cache show prints.
func ParseControl(b []byte) map[string]string {
	fields := make(map[string]string)
	last := ""
	for line := range bytes.Lines(b) {
		l := strings.TrimRight(string(line), "\r\n")
		switch {
		case strings.TrimSpace(l) == "":
			if len(fields) > 0 {
				return fields
			}
		case l[0] == ' ' || l[0] == '\t':
			if last != "" {
				fields[last] += "\n" + strings.TrimSpace(l)
			}
		default:
			name, value, ok := strings.Cut(l, ":")
			if last = ""; ok {
				last = name
				fields[name] = strings.TrimSpace(value)
			}
		}
	}
	return fields
}

// Dependencies returns the names of packages in a Depends field, of alternatives the first.
func Dependencies(field string) (names []string) {
	for d := range strings.SplitSeq(field, ",") {
		d, _, _ = strings.Cut(d, "|")
		name, _, _ := strings.Cut(strings.TrimSpace(d), " ")
		name, _, _ = strings.Cut(name, ":")
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// decompress opens a stream by its first bytes: gzip, xz, zstd, or plain. done frees what it holds.
func decompress(r io.Reader) (_ io.Reader, done func(), err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	nothing := func() {}
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(b)
		return z, nothing, err
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		// Debian packs with a window of up to 64 MiB.
		z, err := xz.NewReader(b, maxWindow)
		return z, nothing, err
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return b, nothing, nil
}

// maxWindow bounds the memory of a decompressor, in bytes.
const maxWindow = 128 << 20

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
