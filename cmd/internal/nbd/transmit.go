package nbd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// Numbers of the transmission.
const (
	magicRequest = 0x25609513
	magicSimple  = 0x67446698
	magicChunk   = 0x668e33ef

	chunkDone                        = 1 // the flag
	chunkNone, chunkData, chunkError = 0, 1, 1<<15 | 1

	cmdRead, cmdWrite, cmdDisconnect, cmdFlush = 0, 1, 2, 3

	errnoPermission, errnoIO, errnoInvalid = 1, 5, 22

	requestSize = 28
)

// A conn is the connection of a client.
type conn struct {
	net.Conn
	in         *bufio.Reader
	structured bool       // the client wants answers to reads in chunks; QEMU then has the end of an export that is no sector
	mu         sync.Mutex // of answers
}

func (c *conn) Read(p []byte) (int, error) { return c.in.Read(p) }

// client serves one until it leaves. What it does wrong ends its connection, and nothing else.
func (s *Server) client(ctx context.Context, nc net.Conn, bytes *semaphore.Weighted) {
	c := &conn{Conn: nc, in: bufio.NewReader(nc)}
	e, err := s.negotiate(c)
	if err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	flying := semaphore.NewWeighted(maxFlying)
	var head [requestSize]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil || binary.BigEndian.Uint32(head[:]) != magicRequest {
			return
		}
		cookie, off, n := binary.BigEndian.Uint64(head[8:]), binary.BigEndian.Uint64(head[16:]), binary.BigEndian.Uint32(head[24:])
		errno := uint32(0)
		switch binary.BigEndian.Uint16(head[6:]) {
		case cmdRead:
			if n > maxRequest || off > uint64(e.Size()) || uint64(n) > uint64(e.Size())-off {
				if c.failed(cookie, errnoInvalid) != nil {
					return
				}
				continue
			}
			if flying.Acquire(ctx, 1) != nil {
				return
			}
			if bytes.Acquire(ctx, int64(n)) != nil {
				flying.Release(1)
				return
			}
			wg.Go(func() {
				defer flying.Release(1)
				defer bytes.Release(int64(n))
				if s.read(ctx, c, e, cookie, int64(off), int(n)) != nil {
					nc.Close() // half an answer was sent
				}
			})
			continue
		case cmdWrite:
			if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
				return
			}
			errno = errnoPermission
		case cmdDisconnect:
			return
		case cmdFlush:
		default:
			errno = errnoInvalid
		}
		if c.answer(cookie, errno, nil) != nil {
			return
		}
	}
}

// read answers one read.
func (s *Server) read(ctx context.Context, c *conn, e *Export, cookie uint64, off int64, n int) error {
	patience := s.Patience
	if patience <= 0 {
		patience = 30 * time.Second
	}
	rctx, cancel := context.WithTimeoutCause(ctx, patience, ErrSlow)
	defer cancel()
	data := make([]byte, n)
	got, err := e.ReadContext(rctx, data, off)
	if got == n {
		return c.read(cookie, off, data)
	}
	if err == nil {
		err = errors.New("short read")
	}
	if s.Failed != nil && ctx.Err() == nil {
		s.Failed(e.Name, off, err)
	}
	return c.failed(cookie, errnoIO)
}

// read answers a read.
func (c *conn) read(cookie uint64, off int64, data []byte) error {
	switch {
	case !c.structured:
		return c.answer(cookie, 0, data)
	case len(data) == 0:
		return c.chunk(chunkNone, cookie, nil, nil)
	}
	return c.chunk(chunkData, cookie, binary.BigEndian.AppendUint64(nil, uint64(off)), data)
}

// failed answers a read that failed.
func (c *conn) failed(cookie uint64, errno uint32) error {
	if !c.structured {
		return c.answer(cookie, errno, nil)
	}
	return c.chunk(chunkError, cookie, append(binary.BigEndian.AppendUint32(nil, errno), 0, 0), nil) // and no words
}

// chunk sends an answer of one chunk.
func (c *conn) chunk(kind uint16, cookie uint64, first, data []byte) error {
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 32), magicChunk)
	head = binary.BigEndian.AppendUint16(head, chunkDone)
	head = binary.BigEndian.AppendUint16(head, kind)
	head = binary.BigEndian.AppendUint64(head, cookie)
	head = binary.BigEndian.AppendUint32(head, uint32(len(first)+len(data)))
	return c.send(append(head, first...), data)
}

// answer sends a simple answer to a request.
func (c *conn) answer(cookie uint64, errno uint32, data []byte) error {
	var head [16]byte
	binary.BigEndian.PutUint32(head[:], magicSimple)
	binary.BigEndian.PutUint32(head[4:], errno)
	binary.BigEndian.PutUint64(head[8:], cookie)
	return c.send(head[:], data)
}

// send sends an answer, apart from others.
func (c *conn) send(head, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.SetWriteDeadline(time.Now().Add(stall))
	buffers := net.Buffers{head, data}
	_, err := buffers.WriteTo(c.Conn)
	return err
}
