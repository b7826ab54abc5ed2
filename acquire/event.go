package acquire

import (
	"time"

	"github.com/shotglass-ir/shotglass/acquire/pipeline"
)

// An Observer is told of every change of state. It is called from the
// goroutines of all hosts, and must not block: the capture waits for it.
// Bytes are not events; sample Streaming.Progress.
type Observer func(Event)

// An Event is one of the structs of this file.
type Event interface {
	// Host is the target's name, as the user wrote it.
	Host() string
}

type host string

func (h host) Host() string { return string(h) }

// Connecting: a dial has begun.
type Connecting struct{ host }

// Connected: the target let us in.
type Connected struct {
	host
	RTT time.Duration
	// MaxRate is the most that one SSH channel can carry over this round trip, in
	// bytes per second: the 2 MiB window of x/crypto/ssh divided by RTT. 0 when
	// it does not matter.
	MaxRate float64
}

// Planned: the step is decided, nothing was written yet.
type Planned struct {
	host
	Step *Step
}

// Waiting: nothing happens for a while, for a reason in words.
type Waiting struct {
	host
	Why string
}

// Rereading: the image of an earlier run is read again, to be kept if it is whole.
type Rereading struct {
	host
	Prior *Prior
}

// Preparing: what is being done to the target, in words.
type Preparing struct {
	host
	What string
	// Agentless: nothing is going to be loaded or written on the target.
	Agentless bool
	// Freezes is set from when user processes are frozen: after how long without us they are thawed.
	Freezes time.Duration
}

// Streaming: bytes flow. Progress may be sampled until Finished.
type Streaming struct {
	host
	Expected int64 // raw bytes
	Progress *pipeline.Progress
	What     string // is read; empty: memory
}

// Stalled: no byte came for For. Resumed follows if it goes on.
type Stalled struct {
	host
	For     time.Duration
	GivesUp time.Duration // the stall timeout
}

// Resumed: bytes flow again after a stall.
type Resumed struct {
	host
	After time.Duration
}

// Cleaning: the stream has ended, the target is being cleaned.
type Cleaning struct{ host }

// Rejected: the image that came is whole and is not the memory. It is kept, with its manifest;
// a second one follows.
type Rejected struct {
	host
	Result *Result
	Second string // name
}

// Problem: something the user should know now; the capture goes on.
type Problem struct {
	host
	Err error
}

// Finished: the host is done; nothing follows for it.
type Finished struct {
	host
	Result *Result
}
