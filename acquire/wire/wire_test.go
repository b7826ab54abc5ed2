package wire

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// pack packs data as a tool on a target does, by the tool itself or by a library.
func pack(t testing.TB, tool string, data []byte, real bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if real {
		words := strings.Fields(Command(tool))
		if _, err := exec.LookPath(words[0]); err != nil {
			t.Skip(err)
		}
		c := exec.Command(words[0], words[1:]...)
		c.Stdin, c.Stdout = bytes.NewReader(data), &b
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var w io.WriteCloser
	switch tool {
	case Zstd:
		w, _ = zstd.NewWriter(&b)
	case Lz4:
		w = lz4.NewWriter(&b)
	default:
		w = gzip.NewWriter(&b)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func memory(size int) []byte {
	data := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{1})
	for at := 0; at+4096 <= size; at += 3 * 4096 {
		rnd.Read(data[at : at+4096])
	}
	return data
}

// each runs f with each tool, and with each library that writes its format.
func each(t *testing.T, f func(t *testing.T, tool string, pack func(data []byte) []byte)) {
	for _, tool := range Tools {
		for _, real := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %t", tool, real), func(t *testing.T) {
				f(t, tool, func(data []byte) []byte { return pack(t, tool, data, real) })
			})
		}
	}
}

// TestPieces: pieces one after the other, with other bytes between them, are each read to the last
// byte and no further.
func TestPieces(t *testing.T) {
	each(t, func(t *testing.T, tool string, pack func([]byte) []byte) {
		sizes := []int{0, 1, 4096, 2 << 20, 4 << 20, 12345, 0}
		var all bytes.Buffer
		for _, n := range sizes {
			all.Write(pack(memory(n)))
			all.WriteString("\nline\n")
		}
		u, err := NewUnpacker(tool)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		r := bufio.NewReader(iotest.HalfReader(&all))
		buf := make([]byte, 4<<20)
		for _, n := range sizes {
			got, err := u.Piece(r, buf)
			if err != nil || got != n || !bytes.Equal(buf[:got], memory(n)) {
				t.Fatalf("%d bytes: %d, %v", n, got, err)
			}
			if line, err := r.ReadString('\n'); line != "\n" || err != nil {
				t.Fatalf("after %d bytes: %q, %v", n, line, err)
			}
			if line, err := r.ReadString('\n'); line != "line\n" || err != nil {
				t.Fatalf("after %d bytes: %q, %v", n, line, err)
			}
		}
	})
}

// TestPieceTooLarge: a bomb ends at the size that was asked for, whatever its headers say.
func TestPieceTooLarge(t *testing.T) {
	each(t, func(t *testing.T, tool string, pack func([]byte) []byte) {
		for _, bomb := range [][]byte{pack(make([]byte, 64<<20)), pack(make([]byte, 4097))} {
			u, _ := NewUnpacker(tool)
			defer u.Close()
			buf := make([]byte, 4096, 1<<20)
			n, err := u.Piece(bufio.NewReader(bytes.NewReader(bomb)), buf)
			if err == nil || n > len(buf) {
				t.Errorf("%d, %v", n, err)
			}
			if tail := buf[4096:cap(buf)]; len(bytes.TrimLeft(tail, "\x00")) != 0 {
				t.Error("it wrote beyond the buffer")
			}
		}
	})
}

// endless gives a head, then a block for ever.
type endless struct{ head, block []byte }

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(e.head) == 0 {
			e.head = e.block
		}
		k := copy(p[n:], e.head)
		n, e.head = n+k, e.head[k:]
	}
	return n, nil
}

// TestPieceEndless: a piece of empty blocks brings nothing, and ends at what may come.
func TestPieceEndless(t *testing.T) {
	for tool, e := range map[string]*endless{
		Gzip: {[]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3}, []byte{0, 0, 0, 0xff, 0xff}},
		Zstd: {[]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}, []byte{0, 0, 0}},
	} {
		t.Run(tool, func(t *testing.T) {
			u, err := NewUnpacker(tool)
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			done := make(chan error, 1)
			go func() {
				_, err := u.Piece(bufio.NewReader(e), make([]byte, 1<<20))
				done <- err
			}()
			select {
			case err = <-done:
				if !errors.Is(err, errPacked) {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it goes on")
			}
		})
	}
}

// TestPieceCut: at no point is a piece that was cut off a whole one, nor is a stream.
func TestPieceCut(t *testing.T) {
	each(t, func(t *testing.T, tool string, pack func([]byte) []byte) {
		data := memory(20000)
		whole := pack(data)
		u, _ := NewUnpacker(tool)
		defer u.Close()
		buf := make([]byte, len(data))
		for n := 0; n < len(whole); n += 1 + n/50 {
			if _, err := u.Piece(bufio.NewReader(bytes.NewReader(whole[:n])), buf); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("piece of %d of %d bytes: %v", n, len(whole), err)
			}
			r := NewReader(tool, bytes.NewReader(whole[:n]), int64(len(data)))
			got, err := io.ReadAll(r)
			if n > 0 && err == nil || !bytes.HasPrefix(data, got) {
				t.Errorf("stream of %d of %d bytes: %d bytes, %v", n, len(whole), len(got), err)
			}
			r.Close()
		}
	})
}

// TestStream: a stream comes whole, up to what was asked for and not a byte more.
func TestStream(t *testing.T) {
	each(t, func(t *testing.T, tool string, pack func([]byte) []byte) {
		data := memory(9<<20 + 5)
		whole := pack(data)
		for _, tt := range []struct {
			most int64
			err  error
		}{{int64(len(data)), nil}, {int64(len(data)) - 1, ErrTooMuch}, {0, ErrTooMuch}} {
			r := NewReader(tool, iotest.HalfReader(bytes.NewReader(whole)), tt.most)
			got, err := io.ReadAll(r)
			if err != tt.err || !bytes.Equal(got, data[:tt.most]) {
				t.Errorf("at most %d: %d bytes, %v", tt.most, len(got), err)
			}
			r.Close()
		}
		boom := errors.New("link lost")
		r := NewReader(tool, io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), iotest.ErrReader(boom)), int64(len(data)))
		defer r.Close()
		if _, err := io.ReadAll(r); !errors.Is(err, boom) {
			t.Errorf("%v", err)
		}
	})
}

// FuzzPiece: whatever a target sends, what is unpacked fits the buffer, and memory stays small.
func FuzzPiece(f *testing.F) {
	for i, tool := range Tools {
		f.Add(pack(f, tool, memory(5000), false), uint8(i))
		f.Add(pack(f, tool, nil, false), uint8(i))
	}
	f.Fuzz(func(t *testing.T, sent []byte, which uint8) {
		tool := Tools[int(which)%len(Tools)]
		u, err := NewUnpacker(tool)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		r := bufio.NewReader(bytes.NewReader(sent))
		buf := make([]byte, 8192)
		for {
			n, err := u.Piece(r, buf)
			if err != nil {
				break
			}
			if n > len(buf) {
				t.Fatalf("%d bytes", n)
			}
		}
		if cap(u.packed) > 4*(len(buf)+slack) {
			t.Errorf("%d bytes are held", cap(u.packed))
		}
		s := NewReader(tool, bytes.NewReader(sent), 8192)
		defer s.Close()
		if n, _ := io.Copy(io.Discard, s); n > 8192 {
			t.Fatalf("%d bytes", n)
		}
	})
}
