package kernelmodules

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

const (
	gzipMagic = "\x1f\x8b"
	zstdMagic = "\x28\xb5\x2f\xfd"
	xzMagic   = "\xfd7zXZ\x00"
)

// maxWindow bounds the dictionary of a module packed with xz, which a hostile one may claim to have 4 GiB:
// a distribution's has 1 or 2 MiB, what xz makes without options 8.
const maxWindow = 64 << 20

// unpack returns the module inside data. insmod of a stock kernel does not
// take packed modules, so the target gets the unpacked one.
func unpack(data []byte) ([]byte, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("has %d bytes: no module has more than %d", len(data), MaxSize)
	}
	var (
		r   io.Reader
		err error
	)
	switch {
	case bytes.HasPrefix(data, []byte(gzipMagic)):
		r, err = gzip.NewReader(bytes.NewReader(data))
	case bytes.HasPrefix(data, []byte(zstdMagic)):
		var z *zstd.Decoder
		z, err = zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(4*MaxSize), zstd.WithDecoderLowmem(true))
		if err == nil {
			defer z.Close()
			r = z
		}
	case bytes.HasPrefix(data, []byte(xzMagic)):
		r, err = xz.NewReader(bytes.NewReader(data), maxWindow)
	default:
		return data, nil
	}
	var out []byte
	if err == nil {
		out, err = io.ReadAll(io.LimitReader(r, MaxSize+1))
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, xz.ErrBuf):
		return nil, fmt.Errorf("is packed, and truncated: %w", err)
	case err != nil:
		return nil, fmt.Errorf("is packed, and damaged: %w", err)
	case len(out) > MaxSize:
		return nil, fmt.Errorf("unpacks to more than %d bytes: no module does", MaxSize)
	}
	return out, nil
}

// looksLike says what a file is that is no ELF file: mostly a download that
// went wrong.
func looksLike(data []byte) string {
	if len(data) == 0 {
		return "is empty"
	}
	for _, k := range []struct{ magic, what string }{
		{"!<arch>\n", "an archive (a .deb package?)"},
		{"\xed\xab\xee\xdb", "an RPM package"},
		{"PK\x03\x04", "a ZIP archive"},
		{"BZh", "packed with bzip2"},
		{"\x02\x21\x4c\x18", "packed with lz4"},
		{"MZ", "a Windows program"},
		{"version https://git-lfs", "a Git LFS pointer, not the file"},
		{"#!", "a script"},
		{gzipMagic, "packed twice"},
		{zstdMagic, "packed twice"},
		{xzMagic, "packed twice"},
	} {
		if bytes.HasPrefix(data, []byte(k.magic)) {
			return "is not a kernel module, but " + k.what
		}
	}
	head := string(bytes.TrimSpace(data[:min(len(data), 512)]))
	lower := strings.ToLower(head)
	switch {
	case len(data) > 262 && string(data[257:262]) == "ustar":
		return "is not a kernel module, but a tar archive"
	case strings.HasPrefix(lower, "<!doctype html"), strings.HasPrefix(lower, "<html"):
		return "is not a kernel module, but a web page"
	case strings.HasPrefix(lower, "<?xml"):
		return "is not a kernel module, but an XML document (an error of S3?)"
	case head == "" || len(bytes.Trim(data, "\x00")) == 0:
		return "is not a kernel module: it is blank"
	case utf8.ValidString(head) && !strings.ContainsFunc(head, func(r rune) bool { return r < '\t' }):
		return fmt.Sprintf("is not a kernel module, but text: %.40q", head)
	}
	return fmt.Sprintf("is not a kernel module: it starts with % x", data[:min(len(data), 8)])
}
