package acquire

import (
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A steadyClock tells UTC as the examiner's clock does when it is made, and goes on from there by
// the monotonic clock: setting the time during a capture moves nothing. Its zero value is
// no clock. It may be used by several goroutines.
type steadyClock struct {
	base  time.Time
	clock func() time.Time
}

func newSteadyClock(clock func() time.Time) steadyClock { return steadyClock{clock(), clock} }

// now is the time.
func (c steadyClock) now() time.Time { return c.at(c.clock()) }

// at is the time of t, a reading of the examiner's clock.
func (c steadyClock) at(t time.Time) time.Time { return c.base.Add(t.Sub(c.base)).UTC() }

// set returns by how much the examiner's clock has been set since; a machine that slept
// looks the same.
func (c steadyClock) set() time.Duration {
	t := c.clock()
	return t.Round(0).Sub(c.base.Round(0)) - t.Sub(c.base)
}

// readTimes are those of receipt. Sources that know better say so themselves.
func readTimes(rep *lime.Report) []ReadTime {
	if rep == nil {
		return nil
	}
	var out []ReadTime
	for _, s := range rep.Spans {
		out = append(out, ReadTime(s))
	}
	return out
}
