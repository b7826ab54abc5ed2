// Package notify tells others how a run goes: a webhook, an SNS topic.
//
// Messages hold states, sizes, digests and places, and nothing that a host said. Sending never
// holds up a capture: every place has a goroutine and a queue of its own, attempts
// and the time at the end are bounded, and what could not be sent is told.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Message is one notification. Fields are only ever added.
type Message struct {
	Version int       `json:"v"` // 1
	Type    string    `json:"message_type"`
	ID      string    `json:"id"`    // of the message: the same again is the same message
	Event   string    `json:"event"` // start, host, end
	Time    time.Time `json:"time"`
	Run     string    `json:"run"`
	Case    string    `json:"case,omitempty"`
	By      string    `json:"operator"`
	Text    string    `json:"text"` // for people, and for chat systems that show it

	Hosts int `json:"hosts"` // of the run

	// Of a host.
	Host         string `json:"host,omitempty"`
	State        string `json:"state,omitempty"` // complete, partial, failed
	RawBytes     int64  `json:"raw_bytes,omitempty"`
	RawSHA256    string `json:"raw_sha256,omitempty"`
	StoredBytes  int64  `json:"stored_bytes,omitempty"`
	StoredSHA256 string `json:"stored_sha256,omitempty"`
	Location     string `json:"location,omitempty"`
	Manifest     string `json:"manifest,omitempty"`
	LeftOnHost   bool   `json:"left_on_host,omitempty"` // something must be removed by hand

	// Of the end.
	Complete int  `json:"complete,omitempty"`
	Partial  int  `json:"partial,omitempty"`
	Failed   int  `json:"failed,omitempty"`
	Code     *int `json:"code,omitempty"` // the exit code as it stands
}

// A Target is a place that takes messages. Send makes one attempt; it is called from one
// goroutine. An error that a later attempt cannot mend is permanent.
type Target interface {
	Send(ctx context.Context, m Message, body []byte) error
	// String names the place without secrets.
	String() string
}

// permanent is an error that no later attempt mends.
type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// Options say how to send.
type Options struct {
	// Sent is told what became of each message, from the goroutines of the targets. It must not block.
	Sent func(target string, m Message, err error)
	// Pauses are the times before the second and later attempts (default 1 s, 3 s, 9 s).
	Pauses []time.Duration
	// Attempt bounds one attempt (default 10 s).
	Attempt time.Duration
}

// A Sender sends to several targets. Send may be called from any goroutine.
type Sender struct {
	opts   Options
	queues []*queue
	wg     sync.WaitGroup
	ctx    context.Context // of all attempts: it ends what Close does not wait for
	cancel context.CancelCauseFunc
}

type queue struct {
	target Target
	mu     sync.Mutex
	list   []Message
	ended  bool
	wake   chan struct{}
	failed int // messages
}

// errLate ends attempts that Close does not wait for.
var errLate = errors.New("there was no time left to send it")

// New starts a sender.
func New(targets []Target, o Options) *Sender {
	if o.Pauses == nil {
		o.Pauses = []time.Duration{time.Second, 3 * time.Second, 9 * time.Second}
	}
	if o.Attempt == 0 {
		o.Attempt = 10 * time.Second
	}
	s := &Sender{opts: o}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	for _, t := range targets {
		q := &queue{target: t, wake: make(chan struct{}, 1)}
		s.queues = append(s.queues, q)
		s.wg.Go(func() { s.run(q) })
	}
	return s
}

// Send queues a message for all targets.
func (s *Sender) Send(m Message) {
	for _, q := range s.queues {
		q.mu.Lock()
		if !q.ended {
			q.list = append(q.list, m)
		}
		q.mu.Unlock()
		q.poke()
	}
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Close sends what is queued, for at most limit, and returns how many messages did not get
// through.
func (s *Sender) Close(limit time.Duration) (failed int) {
	for _, q := range s.queues {
		q.mu.Lock()
		q.ended = true
		q.mu.Unlock()
		q.poke()
	}
	late := time.AfterFunc(limit, func() { s.cancel(errLate) })
	s.wg.Wait()
	late.Stop()
	s.cancel(nil)
	for _, q := range s.queues {
		failed += q.failed
	}
	return failed
}

func (s *Sender) run(q *queue) {
	for {
		q.mu.Lock()
		if len(q.list) == 0 {
			ended := q.ended
			q.mu.Unlock()
			if ended {
				return
			}
			<-q.wake
			continue
		}
		m := q.list[0]
		q.list = q.list[1:]
		q.mu.Unlock()
		// A place that just failed gets one attempt for each message, so that it does
		// not hold up hundreds of them.
		err := s.deliver(q.target, m, q.failed == 0 || m.Event == "end")
		if err != nil {
			q.failed++
		}
		if s.opts.Sent != nil {
			s.opts.Sent(q.target.String(), m, err)
		}
	}
}

// deliver sends one message.
func (s *Sender) deliver(t Target, m Message, again bool) error {
	m.Version, m.Type, m.Time = 1, "notification", m.Time.UTC()
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode notification: %w", err)
	}
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.Attempt)
		err = t.Send(ctx, m, body)
		cancel()
		var final *permanent
		if err == nil || errors.As(err, &final) || !again || try == len(s.opts.Pauses) {
			return err
		}
		select {
		case <-time.After(s.opts.Pauses[try]):
		case <-s.ctx.Done():
			return errors.Join(err, context.Cause(s.ctx))
		}
	}
}
