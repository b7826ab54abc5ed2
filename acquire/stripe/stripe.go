// Package stripe reads a sequence of pieces over several lanes at once and gives them
// back in order, in bounded memory.
//
// A lane is one connection. One SSH channel carries at most its window of 2 MiB per round
// trip, and channels of one connection share one TCP send buffer, so only connections
// add up. A [Reader] starts with some lanes, adds more as long as they make it
// faster, and replaces those that die; the pieces that a dead lane owed are asked for again,
// whole.
package stripe

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Lane delivers pieces, one after the other. A Reader calls it from one goroutine,
// but for Close, Last and Received.
type Lane interface {
	// Ask requests piece i, which will fill buf, without waiting for it. Several can be
	// asked for; they come in that order. buf is the lane's until Await of that piece,
	// or Close, has returned.
	Ask(i int64, buf []byte) error
	// Await waits until the piece that was asked for first is whole. After an error
	// the lane is of no more use.
	Await(i int64) error
	// Last is when the last byte arrived, or the lane was opened.
	Last() time.Time
	// Received counts the bytes that arrived.
	Received() int64
	// Close ends the lane; blocked calls return. It does not wait for the other side.
	// It may be called more than once.
	Close()
}

// Options say what to read and how. Pieces, Size and Open are required.
type Options struct {
	Pieces int64             // how many; their numbers start at 0
	Size   func(i int64) int // of piece i in bytes
	Max    int               // the largest Size
	// Open makes a lane. It may run several times at once, and must return when ctx ends.
	Open func(ctx context.Context) (Lane, error)

	Lanes int // to begin with; default 1
	Most  int // never more than these; default Lanes

	// RoundTrip bounds how soon a rate can be judged.
	RoundTrip time.Duration
	// Quiet is how long a lane may owe bytes and bring none before another way is tried
	// (default 15 s). If none works, the lane is waited for: whoever reads decides
	// when it has been too long.
	Quiet time.Duration
	// Event is told what happens to lanes, in words; nil: nobody.
	Event func(string)
}

func (o Options) withDefaults() Options {
	if o.Lanes == 0 {
		o.Lanes = 1
	}
	o.Most = max(o.Most, o.Lanes)
	if o.Quiet == 0 {
		o.Quiet = 15 * time.Second
	}
	if o.Event == nil {
		o.Event = func(string) {}
	}
	return o
}

// depth is how many pieces a lane is asked for at once: the next is on its way
// while one arrives, so that no round trip is lost between them.
const depth = 2

// Memory is how many bytes of buffers a Reader of so many lanes takes, at most.
func Memory(lanes, pieceSize int) int64 { return int64(buffers(lanes)) * int64(pieceSize) }

// buffers is the number of pieces that are asked for, or have come before their turn. One
// for each lane beyond what it is asked for lets fast lanes run ahead of slow ones.
func buffers(lanes int) int { return (depth+1)*lanes + 2 }

// maxTries is how often a piece is asked for. Lanes die of the network, and that is no
// fault of the piece; but a piece on which they all die would keep them dying.
const maxTries = 6

// ErrFatal is wrapped by errors of Open that another try would meet again: once no lane is
// left, the reader ends with one.
var ErrFatal = errors.New("no other connection would do better")

// ErrEnd is wrapped by errors of Ask and Await that end the reading: no other try is wanted.
var ErrEnd = errors.New("the reading was given up")

// A PieceError says that a piece could not be had.
type PieceError struct {
	Piece int64
	Tries int
	Err   error // of the last try
}

func (e *PieceError) Error() string {
	return fmt.Sprintf("piece %d could not be read in %d tries: %v", e.Piece, e.Tries, e.Err)
}

// Unwrap returns the last try's error.
func (e *PieceError) Unwrap() error { return e.Err }

// A Stats says what a Reader did.
type Stats struct {
	First int   `json:"first"`           // lanes to begin with
	Most  int   `json:"most"`            // lanes at once, at most
	Made  int   `json:"made"`            // lanes opened, in all
	Lost  int   `json:"lost,omitempty"`  // lanes that died
	Again int64 `json:"again,omitempty"` // pieces that were asked for again
	Bytes int64 `json:"bytes"`           // received, repeated pieces included
}
