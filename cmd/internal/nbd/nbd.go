// Package nbd serves files that never change as network block devices, read-only.
//
// It is a server of the fixed newstyle handshake, with simple and structured replies: what qemu, nbdkit's clients, nbd-client and the
// kernel speak. There is no TLS and no password: who can connect can read.
//
// The protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
package nbd

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// A Source is the content of an export. It is safe for concurrent use.
type Source interface {
	Size() int64
	// ReadContext reads as io.ReaderAt does, until ctx ends.
	ReadContext(ctx context.Context, p []byte, off int64) (int, error)
}

// An Export is something that clients can ask for. The first is what they get who name none.
type Export struct {
	Name, Description string
	Source
}

// A Server serves exports. Its fields are not changed while it serves.
type Server struct {
	Exports  []Export
	Patience time.Duration // how long a read may take; 0: 30 s
	// Failed is told of reads that fail, from any goroutine.
	Failed func(export string, off int64, err error)
}

const (
	// maxRequest is the most that is read at once; clients keep to it without being told.
	maxRequest = 32 << 20
	// Memory is how many bytes all answers that are under way take at most, and maxFlying how many of one client there are.
	Memory, maxFlying = 256 << 20, 32
	// maxClients bounds how many there are at once; qemu-img opens one connection, nbdcopy four.
	maxClients = 64
	// maxOption bounds the data of an option: the longest is a name of 4096 bytes and what one wants to know.
	maxOption = 8 << 10
	// handshake is how long a client may take to say what it wants, and stall how long it may take nothing
	// of an answer.
	handshake, stall = 30 * time.Second, 2 * time.Minute
)

// ErrSlow is the error of a read that took too long.
var ErrSlow = errors.New("no answer in time")

// Serve serves clients of l until ctx ends; then all connections are closed. It returns nil then, and otherwise why it
// cannot go on. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	slots, bytes := make(chan struct{}, maxClients), newBudget()
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case err != nil:
			l.Close()
			return err
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			s.client(ctx, conn, bytes)
		})
	}
}

// newBudget is of the bytes of answers.
func newBudget() *semaphore.Weighted { return semaphore.NewWeighted(Memory) }
