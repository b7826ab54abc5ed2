package acquire

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// MinRate is the least rate that a limit may have, in bytes per second: below it a host of 1 GiB
// takes hours, and its image shows no moment at all.
const MinRate = 64 << 10

// limitChunk bounds one read of a limited stream, so that hosts which share a limit take turns.
const limitChunk = 64 << 10

// newLimit makes a limit of so many bytes per second; 0 is none. What may come at once is a
// tenth of a second's bytes.
func newLimit(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), max(limitChunk, int(bytesPerSecond/10)))
}

// A pacer makes bytes of one host wait until they are within every limit. It is safe for concurrent use;
// nil has no limits.
type pacer struct {
	limits []*rate.Limiter
	paying atomic.Int64
	turn   chan struct{} // has one while somebody waits for a limit: a host with many connections has one turn among the others
}

// newPacer leaves out limits that are nil.
func newPacer(limits ...*rate.Limiter) *pacer {
	return &pacer{turn: make(chan struct{}, 1), limits: slices.DeleteFunc(limits, func(x *rate.Limiter) bool { return x == nil })}
}

// waiting reports whether somebody waits for a limit.
func (p *pacer) waiting() bool { return p != nil && p.paying.Load() > 0 }

// pay waits until n bytes are within every limit, in turns with who shares it. The error is why
// ctx ended.
func (p *pacer) pay(ctx context.Context, n int) error {
	if p == nil || len(p.limits) == 0 {
		return nil
	}
	p.paying.Add(1)
	defer p.paying.Add(-1)
	for n > 0 {
		part := min(n, limitChunk)
		n -= part
		if err := p.payPart(ctx, part); err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
	}
	return nil
}

func (p *pacer) payPart(ctx context.Context, n int) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.turn }()
	for _, x := range p.limits {
		if err := x.WaitN(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// A limitedReader reads no faster than its limits let it. What was read is given at once, and
// paid for before the next read: a byte of memory that is here should not wait. The sender waits
// meanwhile, as for any slow reader; LiME can (timeout=0).
type limitedReader struct {
	r    io.Reader
	ctx  context.Context
	pace *pacer
	owed int
}

// limited limits r; with no limits it is r itself.
func limited(ctx context.Context, r io.Reader, pace *pacer) io.Reader {
	if pace == nil || len(pace.limits) == 0 {
		return r
	}
	return &limitedReader{r: r, ctx: ctx, pace: pace}
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if err := l.pace.pay(l.ctx, l.owed); err != nil {
		return 0, err
	}
	n, err := l.r.Read(p[:min(len(p), limitChunk)])
	l.owed = n
	return n, err
}

// slowest returns how long a stream of n bytes takes at least at the least of rates, of which
// those that are 0 do not limit it; 0 when none does.
func slowest(n int64, rates ...float64) time.Duration {
	var least float64
	for _, r := range rates {
		if r > 0 && (least == 0 || r < least) {
			least = r
		}
	}
	if least == 0 {
		return 0
	}
	return time.Duration(float64(n) / least * float64(time.Second))
}

// rateUnits are bytes per second; longest suffixes first.
var rateUnits = []struct {
	suffix string
	bytes  float64
}{
	{"kbit", 1e3 / 8}, {"mbit", 1e6 / 8}, {"gbit", 1e9 / 8},
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9},
}

// ParseRate reads a rate limit: 50MB or 50MB/s (10^6 bytes per second, as shotglass shows
// rates), 50MiB (2^20), 400Mbit (10^6 bits, as links are sold). A number without a unit is an
// error, and so is less than MinRate.
func ParseRate(s string) (bytesPerSecond int64, err error) {
	n, err := parseRate(s)
	if err == nil && n < MinRate {
		return 0, fmt.Errorf("%q is less than %d kB/s: memory would change faster than it is read", s, MinRate/1000)
	}
	return n, err
}

// ParseLeastRate reads Options.LeastRate: a rate as ParseRate knows, or off.
func ParseLeastRate(s string) (bytesPerSecond int64, err error) {
	if s == "off" {
		return -1, nil
	}
	n, err := parseRate(s)
	if err == nil && n < 1 {
		return 0, fmt.Errorf("%q is less than a byte per second", s)
	}
	return n, err
}

func parseRate(s string) (bytesPerSecond int64, err error) {
	text := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(s)), "/s")
	for _, u := range rateUnits {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n > 0) || n*u.bytes > 1<<50 {
			break
		}
		return int64(n * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a rate such as 50MB/s, 50MiB/s or 400Mbit/s", s)
}
