package acquire

import "time"

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
	for _, s := range take {
		s.Shared = p.shared(s, take)
	}
	for _, s := range take {
		if s.share == nil {
			continue
		}
		if err := s.share(s); err != nil {
			s.Err = s.stop(ObstacleTime, err)
			s.park()
		}
	}
}

// shared is how long the image of s takes at the total rate. Hosts take turns, so that each of the others gets what s does in that time, or all
// that it has; and no more of them than are captured at once.
func (p *Plan) shared(s *Step, take []*Step) time.Duration {
	var bytes int64
	for _, o := range take {
		bytes += min(o.Expected, s.Expected)
	}
	if n := int64(p.opts.Parallel); n > 0 {
		bytes = min(bytes, n*s.Expected)
	}
	return slowest(bytes, float64(p.opts.LimitTotalRate))
}
