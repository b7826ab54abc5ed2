package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// memory is a Source that fails from some place on, and where told waits.
type memory struct {
	data []byte
	bad  int64
	hang bool
}

func (m *memory) Size() int64 { return int64(len(m.data)) }

func (m *memory) ReadContext(ctx context.Context, p []byte, off int64) (int, error) {
	if m.hang {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	if off+int64(len(p)) > m.bad {
		return 0, errors.New("damaged")
	}
	return bytes.NewReader(m.data).ReadAt(p, off)
}

// serve starts a server, and returns what connects to it.
func serve(t *testing.T, s *Server) func() *client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func() *client {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(30 * time.Second))
		t.Cleanup(func() { c.Close() })
		x := &client{t, c}
		if head := x.read(18); string(head[:16]) != "NBDMAGICIHAVEOPT" || head[17] != 3 {
			t.Fatalf("greeting % x", head)
		}
		x.send(uint32(3))
		return x
	}
}

// A client speaks NBD, as the protocol has it and not as the server does.
type client struct {
	t *testing.T
	net.Conn
}

func (c *client) send(values ...any) {
	c.t.Helper()
	for _, v := range values {
		if s, ok := v.(string); ok {
			v = []byte(s)
		}
		if err := binary.Write(c, binary.BigEndian, v); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *client) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *client) option(n uint32, data []byte) {
	c.t.Helper()
	c.send("IHAVEOPT", n, uint32(len(data)), data)
}

// reply reads one answer to an option.
func (c *client) reply(option uint32) (kind uint32, data []byte) {
	c.t.Helper()
	h := c.read(20)
	if binary.BigEndian.Uint64(h) != 0x3e889045565a9 || binary.BigEndian.Uint32(h[8:]) != option {
		c.t.Fatalf("reply % x", h)
	}
	return binary.BigEndian.Uint32(h[12:]), c.read(int(binary.BigEndian.Uint32(h[16:])))
}

// goTo asks for an export, and returns its size.
func (c *client) goTo(name string) uint64 {
	c.t.Helper()
	data := append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...)
	c.option(7, append(data, 0, 1, 0, 3)) // and its block sizes
	var size uint64
	for {
		kind, data := c.reply(7)
		switch {
		case kind == 1:
			return size
		case kind != 3:
			c.t.Fatalf("reply %#x", kind)
		case binary.BigEndian.Uint16(data) == 0:
			if size = binary.BigEndian.Uint64(data[2:]); data[11]&2 == 0 {
				c.t.Error("not read-only")
			}
		}
	}
}

func (c *client) request(kind uint16, cookie, off uint64, n uint32) {
	c.t.Helper()
	c.send(uint32(0x25609513), uint16(0), kind, cookie, off, n)
}

func (c *client) answer() (errno uint32, cookie uint64) {
	c.t.Helper()
	h := c.read(16)
	if binary.BigEndian.Uint32(h) != 0x67446698 {
		c.t.Fatalf("answer % x", h)
	}
	return binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint64(h[8:])
}

func testData() *memory {
	m := &memory{data: make([]byte, 1<<20)}
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range m.data {
		m.data[i] = byte(rnd.Uint32())
	}
	m.bad = int64(len(m.data)) - 5000
	return m
}

func TestReads(t *testing.T) {
	m := testData()
	var mu sync.Mutex
	var failed []int64
	dial := serve(t, &Server{Exports: []Export{{Name: "lime", Source: m}, {Name: "raw", Source: &memory{data: make([]byte, 10)}}},
		Failed: func(_ string, off int64, _ error) {
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, off)
		}})
	var wg sync.WaitGroup
	for seed := range uint64(3) {
		c := dial()
		if size := c.goTo([]string{"lime", ""}[seed%2]); size != uint64(len(m.data)) {
			t.Fatalf("size %d", size)
		}
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			type span struct{ off, n int }
			asked := map[uint64]span{}
			for cookie := range uint64(200) { // all at once, as real clients do
				off := rnd.IntN(int(m.bad))
				s := span{off, 1 + rnd.IntN(min(9000, int(m.bad)-off))}
				asked[cookie] = s
				c.request(0, cookie, uint64(s.off), uint32(s.n))
				if len(asked) < 20 && cookie < 199 {
					continue
				}
				for range min(len(asked), 20) {
					errno, cookie := c.answer()
					s, ok := asked[cookie]
					if errno != 0 || !ok || !bytes.Equal(c.read(s.n), m.data[s.off:s.off+s.n]) {
						t.Errorf("read of %d at %d: error %d", s.n, s.off, errno)
						return
					}
					delete(asked, cookie)
				}
			}
		})
	}
	wg.Wait()

	c := dial()
	c.goTo("lime")
	for _, r := range []struct {
		kind  uint16
		off   uint64
		n     uint32
		errno uint32
	}{
		{0, uint64(m.bad) - 10, 20, 5},            // damaged
		{0, uint64(len(m.data)), 1, 22},           // after the end
		{0, 1<<64 - 1, 2, 22},                     // overflows
		{0, 0, 33 << 20, 22},                      // too much
		{3, 0, 0, 0},                              // flush
		{4, 0, 4096, 22},                          // trim
		{0, 100, 10, 0},                           // it goes on
		{0, uint64(len(m.data)) - 6000, 100, 0},   // beside the damage
		{0, uint64(len(m.data)) - 1, 1 << 31, 22}, //
	} {
		c.request(r.kind, 7, r.off, r.n)
		errno, cookie := c.answer()
		if errno != r.errno || cookie != 7 {
			t.Errorf("%+v: error %d", r, errno)
		}
		if errno == 0 && r.kind == 0 && !bytes.Equal(c.read(int(r.n)), m.data[r.off:r.off+uint64(r.n)]) {
			t.Errorf("%+v: other bytes", r)
		}
	}
	c.request(1, 9, 0, 4) // a write
	c.send("evil")
	if errno, cookie := c.answer(); errno != 1 || cookie != 9 {
		t.Errorf("a write: error %d", errno)
	}
	c.request(2, 0, 0, 0)
	if n, err := c.Conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after leaving: %d, %v", n, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(failed) != 1 || failed[0] != m.bad-10 {
		t.Errorf("told of %v", failed)
	}
}

func TestHandshake(t *testing.T) {
	m := testData()
	dial := serve(t, &Server{Exports: []Export{{Name: "lime", Description: "a stream", Source: m}, {Name: "raw", Source: m}}})
	c := dial()
	c.option(5, nil) // TLS
	if kind, _ := c.reply(5); kind != 1<<31|1 {
		t.Errorf("TLS: %#x", kind)
	}
	c.option(3, nil)
	var names []string
	for {
		kind, data := c.reply(3)
		if kind == 1 {
			break
		}
		names = append(names, string(data[4:]))
	}
	if len(names) != 2 || names[0] != "lime" || names[1] != "raw" {
		t.Errorf("list %q", names)
	}
	c.option(6, append([]byte{0, 0, 0, 3}, "gone\x00\x00"[:5]...))
	if kind, _ := c.reply(6); kind != 1<<31|3 {
		t.Errorf("nonsense: %#x", kind)
	}
	c.option(6, append([]byte{0, 0, 0, 4}, "gone\x00\x00"...))
	if kind, _ := c.reply(6); kind != 1<<31|6 {
		t.Errorf("unknown export: %#x", kind)
	}
	c.option(6, append([]byte{0, 0, 0, 4}, "lime\x00\x01\x00\x02"...))
	var told []byte
	for {
		kind, data := c.reply(6)
		if kind == 1 {
			break
		}
		if data[1] == 2 {
			told = data[2:]
		}
	}
	if string(told) != "a stream" {
		t.Errorf("description %q", told)
	}
	c.option(1, []byte("raw"))
	if got := c.read(10); binary.BigEndian.Uint64(got) != uint64(len(m.data)) || got[9]&2 == 0 {
		t.Errorf("old way: % x", got)
	}
	c.request(0, 1, 5, 5)
	if errno, _ := c.answer(); errno != 0 || !bytes.Equal(c.read(5), m.data[5:10]) {
		t.Error("old way: other bytes")
	}

	gone := dial()
	gone.option(1, []byte("gone"))
	if n, err := gone.Conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("unknown export: %d, %v", n, err)
	}
	left := dial()
	left.option(2, nil)
	if kind, _ := left.reply(2); kind != 1 {
		t.Errorf("abort: %#x", kind)
	}
}

// QEMU reads the end of an export that is no sector only in chunks.
func TestStructured(t *testing.T) {
	m := testData()
	c := serve(t, &Server{Exports: []Export{{Name: "lime", Source: m}}})()
	c.option(8, nil)
	if kind, _ := c.reply(8); kind != 1 {
		t.Fatalf("reply %#x", kind)
	}
	c.goTo("lime")
	for _, r := range []struct {
		off   uint64
		n     uint32
		errno uint32
	}{{100, 50, 0}, {100, 0, 0}, {uint64(len(m.data)) - 10, 10, 5}, {uint64(len(m.data)) - 10, 11, 22}} {
		c.request(0, 77, r.off, r.n)
		h := c.read(20)
		body := c.read(int(binary.BigEndian.Uint32(h[16:])))
		kind := binary.BigEndian.Uint16(h[6:])
		if binary.BigEndian.Uint32(h) != 0x668e33ef || h[5] != 1 || binary.BigEndian.Uint64(h[8:]) != 77 {
			t.Fatalf("%+v: chunk % x", r, h)
		}
		switch {
		case r.errno != 0:
			if kind != 1<<15|1 || binary.BigEndian.Uint32(body) != r.errno {
				t.Errorf("%+v: kind %d, % x", r, kind, body)
			}
		case r.n == 0:
			if kind != 0 || len(body) > 0 {
				t.Errorf("%+v: kind %d, % x", r, kind, body)
			}
		case kind != 1 || binary.BigEndian.Uint64(body) != r.off || !bytes.Equal(body[8:], m.data[r.off:r.off+uint64(r.n)]):
			t.Errorf("%+v: kind %d, or other bytes", r, kind)
		}
	}
	c.request(3, 78, 0, 0)
	if errno, cookie := c.answer(); errno != 0 || cookie != 78 {
		t.Errorf("flush: error %d", errno)
	}
}

// A source that does not answer costs its reader an error in time, and nobody else anything.
func TestPatience(t *testing.T) {
	dial := serve(t, &Server{Patience: 50 * time.Millisecond, Exports: []Export{{Name: "slow", Source: &memory{data: make([]byte, 100), hang: true}}, {Name: "lime", Source: testData()}}})
	slow, quick := dial(), dial()
	slow.goTo("slow")
	quick.goTo("lime")
	slow.request(0, 1, 0, 10)
	quick.request(0, 1, 0, 10)
	if errno, _ := quick.answer(); errno != 0 {
		t.Errorf("the quick one: error %d", errno)
	}
	if errno, _ := slow.answer(); errno != 5 {
		t.Errorf("the slow one: error %d", errno)
	}
}

// FuzzServer sends anything: the server answers or leaves, and never panics.
func FuzzServer(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x07\x00\x00\x00\x0a\x00\x00\x00\x04lime\x00\x00\x25\x60\x95\x13\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05"))
	f.Add([]byte("\x00\x00\x00\x01IHAVEOPT\x00\x00\x00\x01\x00\x00\x00\x04lime"))
	m := testData()
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Server{Exports: []Export{{Name: "lime", Source: m}}}
		here, there := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { s.client(t.Context(), there, newBudget()); there.Close() })
		wg.Go(func() { io.Copy(io.Discard, here) })
		here.SetWriteDeadline(time.Now().Add(5 * time.Second))
		here.Write(data)
		here.Close()
		wg.Wait()
	})
}
