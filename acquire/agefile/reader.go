package agefile

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
)

// A Reader gives back the stream of an age file, by range. What was cut short opens:
// see Tail. ReadAt may be called concurrently.
type Reader struct {
	src    io.ReaderAt
	head   int64 // bytes before the payload
	end    int64 // of what can be decrypted, in the file
	plain  int64
	marked bool // the last chunk is marked as such
	tail   *TailError
	aead   cipher.AEAD

	mu     sync.Mutex
	recent [8]chunk // of the edges of reads, where the next one begins
	turn   int
}

type chunk struct {
	n    int64
	data []byte
}

// A TailError says that an age file does not end with a chunk that is marked as the last: it was
// cut short, or something was appended. What lies before Offset can be read.
type TailError struct {
	Offset int64 // in the file
	Bytes  int64 // from there to its end; 0 when it was cut between two chunks
}

func (e *TailError) Error() string {
	if e.Bytes == 0 {
		return fmt.Sprintf("encrypted file ends at offset %d without its last chunk: it was cut short", e.Offset)
	}
	return fmt.Sprintf("the last %d bytes of the encrypted file, from offset %d, do not decrypt: it was cut short, appended to or altered", e.Bytes, e.Offset)
}

// A ChunkError says which chunk does not decrypt. It wraps ErrChunk.
type ChunkError struct {
	Offset int64 // in the file
	Bytes  int64
}

func (e *ChunkError) Error() string {
	return fmt.Sprintf("encrypted bytes %d to %d: %v", e.Offset, e.Offset+e.Bytes-1, ErrChunk)
}

// Unwrap returns ErrChunk.
func (e *ChunkError) Unwrap() error { return ErrChunk }

// Header returns how many bytes of the size bytes of src come before the payload: header and
// nonce. It needs no key, and checks the form alone. Errors wrap ErrHeader, or are those
// of src.
func Header(src io.ReaderAt, size int64) (int64, error) {
	_, n, err := header(src, size)
	return n, err
}

func header(src io.ReaderAt, size int64) (head []byte, payload int64, err error) {
	s := &source{r: io.NewSectionReader(src, 0, min(size, maxHeader))}
	head, err = age.ExtractHeader(s)
	switch {
	case s.err != nil:
		return nil, 0, fmt.Errorf("read age header: %w", s.err)
	case err != nil:
		return nil, 0, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	// A header in another spelling would have another length than its copy.
	there := make([]byte, len(head))
	if n, _ := src.ReadAt(there, 0); n != len(head) || !bytes.Equal(there, head) {
		return nil, 0, fmt.Errorf("%w: it is not spelled as age does", ErrHeader)
	}
	payload = int64(len(head)) + nonceSize
	if size < payload {
		return nil, 0, fmt.Errorf("%w: the file ends after it", ErrHeader)
	}
	return head, payload, nil
}

// A source remembers why reading failed, which the age library's errors do not always wrap.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Open returns a Reader of the age file of size bytes in src. Errors wrap ErrNoMatch,
// or ErrHeader, or are those of src and of the identities.
func Open(src io.ReaderAt, size int64, ids ...age.Identity) (*Reader, error) {
	head, payload, err := header(src, size)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, ErrNoMatch
	}
	key, err := age.DecryptHeader(head, ids...)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return nil, ErrNoMatch
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	nonce := make([]byte, nonceSize)
	if err := readFull(src, nonce, payload-nonceSize); err != nil {
		return nil, fmt.Errorf("read age nonce: %w", err)
	}
	stream, err := hkdf.Key(sha256.New, key, nonce, "payload", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(stream)
	if err != nil {
		return nil, err
	}
	r := &Reader{src: src, head: payload, aead: aead}
	for i := range r.recent {
		r.recent[i].n = -1
	}
	return r, r.findEnd(size)
}

// findEnd decrypts the last chunk, which says whether the file is whole.
func (r *Reader) findEnd(size int64) error {
	n := size - r.head
	last := max(0, (n-1)/encChunk)
	rest := n - last*encChunk
	r.end = size
	data := make([]byte, rest)
	if err := readFull(r.src, data, r.head+last*encChunk); err != nil {
		return fmt.Errorf("read last age chunk: %w", err)
	}
	// Only an empty stream ends with an empty chunk.
	if plain, err := r.aead.Open(nil, nonceOf(last, true), data, nil); err == nil && (len(plain) > 0 || last == 0) {
		r.marked, r.plain = true, last*chunkSize+int64(len(plain))
		return nil
	}
	if rest == encChunk {
		if _, err := r.aead.Open(nil, nonceOf(last, false), data, nil); err == nil {
			last, rest = last+1, 0
		}
	}
	r.end = r.head + last*encChunk
	r.plain = last * chunkSize
	r.tail = &TailError{r.end, rest}
	return nil
}

// Size returns how many bytes of the stream can be read.
func (r *Reader) Size() int64 { return r.plain }

// Tail says how the file ends when it does not end as it should, or is nil.
func (r *Reader) Tail() *TailError { return r.tail }

// Stored returns where in the file the chunk lies that holds the byte of the stream at
// off.
func (r *Reader) Stored(off int64) int64 { return r.head + off/chunkSize*encChunk }

// group is how many chunks are read at once.
const group = 16

var buffers = sync.Pool{New: func() any { b := make([]byte, group*encChunk); return &b }}

// ReadAt reads bytes of the stream. A part that does not decrypt is a *ChunkError; what
// lies before it has been read.
func (r *Reader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("agefile: negative offset")
	}
	for n < len(p) {
		if off >= r.plain {
			return n, io.EOF
		}
		first, skip := off/chunkSize, int(off%chunkSize)
		last := (min(off+int64(len(p)-n), r.plain) - 1) / chunkSize
		if data := r.remembered(first); data != nil {
			m := copy(p[n:], data[skip:])
			n, off = n+m, off+int64(m)
			continue
		}
		m, err := r.readGroup(p[n:], first, min(last-first+1, group), skip)
		n, off = n+m, off+int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readGroup reads count chunks from first on, and fills p with their bytes after skip.
func (r *Reader) readGroup(p []byte, first, count int64, skip int) (n int, err error) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	at := r.head + first*encChunk
	data := (*b)[:min(count*encChunk, r.end-at)]
	have, err := r.src.ReadAt(data, at)
	switch {
	case have == len(data):
		err = nil
	case err == nil || err == io.EOF:
		err = io.ErrUnexpectedEOF // the file has become shorter
	}
	for i := first; len(data) > 0; i++ {
		size := min(len(data), encChunk)
		if have < size {
			return n, fmt.Errorf("read encrypted bytes at offset %d: %w", at, err)
		}
		marked := r.marked && at+int64(size) == r.end
		plain, bad := r.aead.Open(data[:0], nonceOf(i, marked), data[:size], nil)
		if bad != nil {
			return n, &ChunkError{at, int64(size)}
		}
		n += copy(p[n:], plain[skip:])
		if i == first || len(data) == size {
			r.remember(i, plain)
		}
		data, have, at, skip = data[size:], have-size, at+int64(size), 0
	}
	return n, nil
}

func (r *Reader) remembered(n int64) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.recent {
		if c.n == n {
			return c.data
		}
	}
	return nil
}

func (r *Reader) remember(n int64, plain []byte) {
	c := chunk{n, bytes.Clone(plain)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent[r.turn] = c
	r.turn = (r.turn + 1) % len(r.recent)
}

// nonceOf is the nonce of a chunk: its number, and whether it is the last.
func nonceOf(n int64, last bool) []byte {
	nonce := make([]byte, chacha20poly1305.NonceSize)
	binary.BigEndian.PutUint64(nonce[3:11], uint64(n))
	if last {
		nonce[11] = 1
	}
	return nonce
}

// readFull fills p from r at off; a file that ends before is io.ErrUnexpectedEOF.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// ValidPayload reports whether n bytes after header and nonce can be the chunks of a whole file.
func ValidPayload(n int64) bool {
	last := n % encChunk
	return n == encChunk-chunkSize || n > 0 && (last == 0 || last > encChunk-chunkSize)
}
