package transport

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// A script is a connection that gives what it is told.
type script struct {
	net.Conn
	data []byte
	give func(room int) int // bytes of the next read
	err  error
	most int // largest buffer that was offered
}

func (s *script) Read(p []byte) (int, error) {
	s.most = max(s.most, len(p))
	if len(s.data) == 0 {
		return 0, s.err
	}
	n := copy(p[:min(len(p), s.give(len(p)))], s.data)
	s.data = s.data[n:]
	return n, nil
}

// TestRawConnReads: whatever comes in whatever pieces, nothing is lost, and the error comes last.
func TestRawConnReads(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 4<<20)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	end := errors.New("reset")
	for name, give := range map[string]func(int) int{
		"all":    func(n int) int { return n },
		"little": func(int) int { return 1000 },
		"mixed":  func(n int) int { return 1 + rnd.IntN(n) },
		"packet": func(int) int { return 1448 },
	} {
		c := newRawConn(&script{data: data, give: give, err: end})
		var got bytes.Buffer
		var err error
		for err == nil { // as x/crypto/ssh does: a header, a body
			p := make([]byte, []int{4096, 5, 32 << 10, 1, 300 << 10}[rnd.IntN(5)])
			var n int
			n, err = c.Read(p)
			got.Write(p[:n])
		}
		if err != end || c.readErr() != end || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("%s: %d bytes, %v", name, got.Len(), err)
		}
		if c.buf != nil {
			t.Errorf("%s: the buffer is kept after the end", name)
		}
	}
}

// TestRawConnBuffer: a stream gets the large buffer, an idle connection has none.
func TestRawConnBuffer(t *testing.T) {
	s := &script{data: make([]byte, 8<<20), give: func(n int) int { return n }, err: io.EOF}
	c := newRawConn(s)
	p := make([]byte, 4096)
	for range 4 {
		if _, err := c.Read(p); err != nil {
			t.Fatal(err)
		}
	}
	if s.most != readBuffer || c.buf == nil {
		t.Errorf("a stream is read in pieces of %d bytes", s.most)
	}
	s.give = func(int) int { return 100 } // keepalives
	for c.buf != nil {
		if _, err := c.Read(p); err != nil {
			t.Fatal(err)
		}
	}
	s.most = 0
	for range 10 {
		if n, err := c.Read(p); n != 100 || err != nil || c.buf != nil {
			t.Fatalf("%d, %v: an idle connection has a buffer", n, err)
		}
	}
	if s.most != len(p) {
		t.Errorf("an idle connection reads %d bytes at once", s.most)
	}
}
