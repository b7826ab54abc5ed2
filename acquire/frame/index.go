package frame

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An Entry is the place and the digest of one frame.
type Entry struct {
	StoredOffset int64
	StoredSize   int64
	RawOffset    int64
	RawSize      int64
	SHA256       Sum // of the stored bytes; zero when unknown
}

// An Index lists the frames of an image in order. Frames lie one after the other without
// gaps, in the stored file and in the raw stream.
type Index struct {
	Compression string // Zstd, S2, None, or Age for the pieces of an encrypted file
	// Chained says that the SHA256 of an entry is not the digest of the frame but
	// the state of the SHA-256 of the whole image after it: see ChainSum.
	Chained bool
	Entries []Entry
}

// indexHeader starts the text form; the compression follows. Lines after it
// have five columns, separated by tabs: stored offset, stored size, raw
// offset, raw size, SHA-256 of the stored bytes. For the frame in line 2:
//
//	dd if=IMAGE iflag=skip_bytes,count_bytes skip=OFFSET count=SIZE | sha256sum
//
// Where a third column of the first line says chained, the last is the state
// of SHA-256 after the frame.
const (
	indexHeader  = "shotglass-frames\t1\t"
	indexChained = "\tchained"
)

// ErrIndex is wrapped by errors about an index that is not as it must be.
var ErrIndex = errors.New("bad frame index")

// Stored returns the stored bytes that the index covers.
func (x *Index) Stored() int64 {
	if n := len(x.Entries); n > 0 {
		return x.Entries[n-1].StoredOffset + x.Entries[n-1].StoredSize
	}
	return 0
}

// Raw returns the raw bytes that the index covers.
func (x *Index) Raw() int64 {
	if n := len(x.Entries); n > 0 {
		return x.Entries[n-1].RawOffset + x.Entries[n-1].RawSize
	}
	return 0
}

// add appends a frame.
func (x *Index) add(stored, raw int64, sum Sum) {
	x.Entries = append(x.Entries, Entry{x.Stored(), stored, x.Raw(), raw, sum})
}

// Validate checks that the frames follow each other and have plausible sizes.
func (x *Index) Validate() error {
	if x.Compression == Age {
		return x.validatePieces()
	}
	if !slices.Contains(Compressions, x.Compression) {
		return fmt.Errorf("%w: compression %q", ErrIndex, x.Compression)
	}
	if len(x.Entries) > maxFrames {
		return fmt.Errorf("%w: more than %d frames", ErrIndex, maxFrames)
	}
	if x.Chained && x.Compression != None {
		return fmt.Errorf("%w: chained with compression %q", ErrIndex, x.Compression)
	}
	var stored, raw int64
	for i, e := range x.Entries {
		switch {
		case x.Chained && raw%ChainBlock != 0:
			return fmt.Errorf("%w: frame %d does not begin with a block of SHA-256", ErrIndex, i)
		case e.StoredOffset != stored || e.RawOffset != raw:
			return fmt.Errorf("%w: frame %d does not follow the one before", ErrIndex, i)
		case e.StoredSize <= 0 || e.RawSize <= 0 || e.RawSize > maxDecoded || e.StoredSize > 2*maxDecoded:
			return fmt.Errorf("%w: frame %d: size out of bounds", ErrIndex, i)
		case x.Compression == None && e.StoredSize != e.RawSize:
			return fmt.Errorf("%w: frame %d: sizes differ without compression", ErrIndex, i)
		case stored > math.MaxInt64-e.StoredSize || raw > math.MaxInt64-e.RawSize:
			return fmt.Errorf("%w: frame %d: offset out of bounds", ErrIndex, i)
		}
		stored += e.StoredSize
		raw += e.RawSize
	}
	return nil
}

// validatePieces checks pieces of an encrypted file. The raw bytes of a piece begin where
// those of the one before end, or earlier, and do not end earlier; there may be none.
func (x *Index) validatePieces() error {
	if len(x.Entries) > maxFrames {
		return fmt.Errorf("%w: more than %d pieces", ErrIndex, maxFrames)
	}
	var stored, from, to int64
	for i, e := range x.Entries {
		switch {
		case e.StoredOffset != stored:
			return fmt.Errorf("%w: piece %d does not follow the one before", ErrIndex, i)
		case e.StoredSize <= 0 || e.StoredSize > 2*maxDecoded || stored > math.MaxInt64-e.StoredSize:
			return fmt.Errorf("%w: piece %d: size out of bounds", ErrIndex, i)
		case e.RawSize < 0 || e.RawOffset < from || e.RawOffset > to || e.RawOffset > math.MaxInt64-e.RawSize || e.RawOffset+e.RawSize < to:
			return fmt.Errorf("%w: piece %d: raw bytes out of order", ErrIndex, i)
		}
		stored += e.StoredSize
		from, to = e.RawOffset, e.RawOffset+e.RawSize
	}
	return nil
}

// WriteTo writes the text form.
func (x *Index) WriteTo(w io.Writer) (int64, error) {
	c := &counter{w: w}
	b := bufio.NewWriterSize(c, 64<<10)
	line := append([]byte(indexHeader), x.Compression...)
	if x.Chained {
		line = append(line, indexChained...)
	}
	b.Write(append(line, '\n'))
	for _, e := range x.Entries {
		line = line[:0]
		for _, v := range [...]int64{e.StoredOffset, e.StoredSize, e.RawOffset, e.RawSize} {
			line = append(strconv.AppendInt(line, v, 10), '\t')
		}
		line = append(line, e.SHA256.String()...)
		b.Write(append(line, '\n'))
	}
	err := b.Flush()
	return c.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// ParseIndex reads the text form, exactly as WriteTo writes it, and validates
// it. Its errors wrap ErrIndex, or are those of r.
func ParseIndex(r io.Reader) (*Index, error) {
	b := bufio.NewReaderSize(r, 4096)
	x := &Index{}
	for n := 0; ; n++ {
		s, err := b.ReadSlice('\n')
		switch {
		case err == io.EOF && len(s) == 0 && n > 0:
			return x, x.Validate()
		case err == io.EOF, err == bufio.ErrBufferFull:
			return nil, fmt.Errorf("%w: line %d is cut short or too long", ErrIndex, n+1)
		case err != nil:
			return nil, fmt.Errorf("read frame index: %w", err)
		}
		line := string(s[:len(s)-1])
		if n == 0 {
			var ok bool
			if x.Compression, ok = strings.CutPrefix(line, indexHeader); !ok {
				return nil, fmt.Errorf("%w: first line %.40q", ErrIndex, line)
			}
			x.Compression, x.Chained = strings.CutSuffix(x.Compression, indexChained)
			continue
		}
		if n > maxFrames {
			return nil, fmt.Errorf("%w: more than %d frames", ErrIndex, maxFrames)
		}
		e, err := parseEntry(line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrIndex, n+1, err)
		}
		x.Entries = append(x.Entries, e)
	}
}

func parseEntry(line string) (e Entry, err error) {
	for _, v := range [...]*int64{&e.StoredOffset, &e.StoredSize, &e.RawOffset, &e.RawSize} {
		field, rest, ok := strings.Cut(line, "\t")
		if !ok {
			return e, errors.New("want five columns")
		}
		line = rest
		if *v, err = strconv.ParseInt(field, 10, 64); err != nil || strconv.FormatInt(*v, 10) != field {
			return e, fmt.Errorf("number %.40q", field)
		}
	}
	if err := e.SHA256.UnmarshalText([]byte(line)); err != nil {
		return e, err
	}
	if e.SHA256 == (Sum{}) {
		return e, errors.New("no SHA-256")
	}
	return e, nil
}
