package acquire

import (
	"slices"
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
	for {
		for _, s := range take {
			s.Shared = p.shared(s, take)
		}
		worst, why := -1, error(nil)
		for i, s := range take {
			if s.share == nil || worst >= 0 && s.Expected <= take[worst].Expected {
				continue
			}
			if err := s.share(s); err != nil {
				worst, why = i, err
			}
		}
		if worst < 0 {
			return
		}
		s := take[worst] // without it there may be time for the others
		s.Err = s.stop(ObstacleTime, why)
		s.park()
		take = slices.Delete(take, worst, worst+1)
	}
}

// shared is how long the image of s takes at the total rate. Hosts take turns, so that each of the others gets what s does in that time, or all
// that it has, swap too, or what its own rate allows; and no more of them than are captured at once. It is never less than it takes by that.
func (p *Plan) shared(s *Step, take []*Step) (d time.Duration) {
	for range 8 { // the less time, the less the others get in it
		var bytes int64
		for _, o := range take {
			its := o.Expected
			if o != s {
				for _, a := range o.Swap {
					its += a.Bytes
				}
				if r := o.opts.LimitRate; r > 0 && d > 0 {
					its = min(its, int64(float64(r)*d.Seconds()))
				}
			}
			bytes += min(its, s.Expected)
		}
		if n := int64(p.opts.Parallel); n > 0 {
			bytes = min(bytes, n*s.Expected)
		}
		now := slowest(bytes, float64(p.opts.LimitTotalRate))
		if now == d {
			break
		}
		d = now
	}
	return d
}
