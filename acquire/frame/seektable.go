package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	zstdMagic      = 0xFD2FB528
	skipMagic      = 0x184D2A50 // and the 15 values above it
	tableMagic     = 0x184D2A5E
	seekableMagic  = 0x8F92EAB1
	footerSize     = 9
	skipHeaderSize = 8
	checksumFlag   = 0x80
	reservedFlags  = 0x7C
)

// errNoTable says that a file does not end with a seek table.
var errNoTable = errors.New("no seek table")

// appendTable appends what follows the frames of x, in the form of its
// compression: checksums are those of zstd's frames.
func appendTable(b []byte, x *Index, checksums []uint32) []byte {
	switch x.Compression {
	case Zstd:
		return appendSeekTable(b, x.Entries, checksums)
	case S2:
		return appendS2Table(b, x.Entries)
	}
	return b
}

// appendSeekTable appends the seek table of frames, with the given checksums,
// as a skippable frame.
func appendSeekTable(b []byte, entries []Entry, checksums []uint32) []byte {
	b = binary.LittleEndian.AppendUint32(b, tableMagic)
	b = binary.LittleEndian.AppendUint32(b, uint32(12*len(entries)+footerSize))
	for i, e := range entries {
		b = binary.LittleEndian.AppendUint32(b, uint32(e.StoredSize))
		b = binary.LittleEndian.AppendUint32(b, uint32(e.RawSize))
		b = binary.LittleEndian.AppendUint32(b, checksums[i])
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)))
	b = append(b, checksumFlag)
	return binary.LittleEndian.AppendUint32(b, seekableMagic)
}

// readSeekTable reads the seek table at the end of r. The frames returned have
// no digests. An error wraps errNoTable when there is no table, or none that
// fits the file.
func readSeekTable(r io.ReaderAt, size int64) (*Index, error) {
	var foot [footerSize]byte
	if size < footerSize+skipHeaderSize {
		return nil, errNoTable
	}
	if err := readFullAt(r, foot[:], size-footerSize); err != nil {
		return nil, fmt.Errorf("read seek table: %w", err)
	}
	if binary.LittleEndian.Uint32(foot[5:]) != seekableMagic {
		return nil, errNoTable
	}
	n, flags := int64(binary.LittleEndian.Uint32(foot[:])), foot[4]
	each := int64(8)
	if flags&checksumFlag != 0 {
		each = 12
	}
	length := skipHeaderSize + n*each + footerSize
	if flags&reservedFlags != 0 || n > maxFrames || length > size {
		return nil, fmt.Errorf("%w: footer says %d frames, flags 0x%02x", errNoTable, n, flags)
	}
	b := make([]byte, length-footerSize)
	if err := readFullAt(r, b, size-length); err != nil {
		return nil, fmt.Errorf("read seek table: %w", err)
	}
	if binary.LittleEndian.Uint32(b) != tableMagic || int64(binary.LittleEndian.Uint32(b[4:])) != length-skipHeaderSize {
		return nil, fmt.Errorf("%w: its header does not fit its footer", errNoTable)
	}
	x := &Index{Compression: Zstd, Entries: make([]Entry, 0, n)}
	for b = b[skipHeaderSize:]; len(b) > 0; b = b[each:] {
		stored, raw := int64(binary.LittleEndian.Uint32(b)), int64(binary.LittleEndian.Uint32(b[4:]))
		if stored == 0 || raw > maxDecoded {
			return nil, fmt.Errorf("%w: frame of %d stored and %d raw bytes", errNoTable, stored, raw)
		}
		x.add(stored, raw, Sum{})
	}
	if x.Stored() != size-length {
		return nil, fmt.Errorf("%w: it covers %d of %d bytes", errNoTable, x.Stored(), size-length)
	}
	return x, nil
}

// readFullAt fills p from r at off; a file that ends before is
// io.ErrUnexpectedEOF.
func readFullAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
