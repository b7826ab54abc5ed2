package acquire

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"
)

// checkShares tells each step how long its image takes where all share a rate, and stops those for which that is too long.
func (p *Plan) checkShares() {
	if p.opts.LimitTotalRate <= 0 {
		return
	}
	var take []*Step
	for _, s := range p.Steps {
		if s.Err == nil && s.Prior == nil {
			take = append(take, s)
		}
	}
	all := slices.Clone(take)
	for {
		worst, why := -1, error(nil)
		for i, s := range take {
			if s.share == nil || worst >= 0 && s.Expected <= take[worst].Expected {
				continue
			}
			s.Shared = p.shared(s, take, p.opts.Parallel)
			if err := s.share(s, func(limit time.Duration) int { return p.most(s, all, limit) }); err != nil {
				worst, why = i, err
			}
		}
		if worst < 0 {
			break
		}
		s := take[worst] // without it there may be time for the others
		s.Err = s.stop(ObstacleTime, why)
		s.park()
		take = slices.Delete(take, worst, worst+1)
	}
	for _, s := range take {
		s.Shared = p.shared(s, take, p.opts.Parallel)
	}
}

// most is how many of all may be captured at once so that the image of s takes no longer than limit; 0: it does even alone.
func (p *Plan) most(s *Step, all []*Step, limit time.Duration) int {
	n := len(all)
	if p.opts.Parallel > 0 {
		n = min(n, p.opts.Parallel)
	}
	return sort.Search(n, func(i int) bool { return p.shared(s, all, i+1) > limit })
}

// shared is how long the image of s takes at the total rate if so many of take are captured at once; 0: all. Hosts take turns, so that
// each of the others gets what s does in that time, or all that it has, swap too, or what its own rate allows; and what is captured one after the other
// gets no more together. It is never less than it takes by that.
func (p *Plan) shared(s *Step, take []*Step, atOnce int) time.Duration {
	type other struct{ bytes, rate float64 }
	var others []other
	own, total := float64(s.Expected), float64(p.opts.LimitTotalRate)
	if own <= 0 {
		return 0
	}
	for _, o := range take {
		if o == s {
			continue
		}
		bytes, rate := o.Expected, math.Inf(1)
		for _, a := range o.Swap {
			bytes += a.Bytes
		}
		if r := o.opts.LimitRate; r > 0 {
			rate = float64(r)
		}
		others = append(others, other{min(float64(bytes), own), rate})
	}
	slices.SortFunc(others, func(a, b other) int { return cmp.Compare(b.rate, a.rate) })
	beside := len(others)
	if atOnce > 0 {
		beside = min(beside, atOnce-1)
	}
	// What the others get in so many seconds: at any time it is so many of them, at worst the fastest.
	get := func(seconds float64) float64 {
		var all, fastest float64
		for i, o := range others {
			all += min(o.bytes, o.rate*seconds)
			if i < beside {
				fastest += min(own, o.rate*seconds)
			}
		}
		return min(all, fastest)
	}
	// That grows ever more slowly with time, so that there is one time in which all of it is got.
	short, long := own/total, (own+get(math.Inf(1)))/total
	for range 64 {
		if half := (short + long) / 2; half*total >= own+get(half) {
			long = half
		} else {
			short = half
		}
	}
	return time.Duration(long * float64(time.Second))
}
