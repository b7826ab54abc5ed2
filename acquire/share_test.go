package acquire

import (
	"errors"
	"slices"
	"testing"
	"time"
)

// TestCheckShares: what a host takes of the time is what the others take turns with, and whom that is too long for is stopped.
func TestCheckShares(t *testing.T) {
	const mib = 1 << 20
	tooLong := errors.New("too long")
	for _, tt := range []struct {
		parallel int
		sizes    []int64
		want     []time.Duration // -: it is stopped
	}{
		{0, []int64{100}, []time.Duration{100}},
		{0, []int64{100, 100, 100}, []time.Duration{-300, 200, 200}},
		{1, []int64{100, 100, 100}, []time.Duration{100, 100, 100}},
		{2, []int64{100, 100, 100}, []time.Duration{200, 200, 200}},
		{0, []int64{10, 200, 30}, []time.Duration{20, -240, 40}},
		{2, []int64{10, 200, 30}, []time.Duration{20, -240, 40}},
	} {
		p := &Plan{opts: Options{LimitTotalRate: mib, Parallel: tt.parallel}}
		for _, n := range tt.sizes {
			p.Steps = append(p.Steps, &Step{Expected: n * mib, opts: &p.opts, host: new(remote), share: func(s *Step, _ func(time.Duration) int) error {
				if s.Shared > 200*time.Second {
					return tooLong
				}
				return nil
			}})
		}
		gone, kept := &Step{Expected: 900 * mib, Err: errors.New("away")}, &Step{Expected: 900 * mib, Prior: new(Prior)}
		p.Steps = append(p.Steps, gone, kept)
		p.checkShares()
		var got []time.Duration
		for _, s := range p.Steps[:len(tt.sizes)] {
			d := s.Shared / time.Second
			if s.Err != nil {
				d = -d
			}
			if (s.Err != nil) != (s.Obstacle == ObstacleTime) {
				t.Errorf("%v: obstacle %q", s.Err, s.Obstacle)
			}
			got = append(got, d)
		}
		if !slices.Equal(got, tt.want) || gone.Shared+kept.Shared != 0 {
			t.Errorf("%d of %v at once: %d, want %d", tt.parallel, tt.sizes, got, tt.want)
		}
	}
}

// TestSharedBounds: others take no more turns than their own rate allows, and their swap takes some.
func TestSharedBounds(t *testing.T) {
	const mib = 1 << 20
	p := &Plan{opts: Options{LimitTotalRate: 40 * mib}}
	s := &Step{Expected: 310 * mib, opts: &p.opts}
	slow := func(n int, mibs float64) []*Step {
		take := []*Step{s}
		for range n {
			take = append(take, &Step{Expected: 310 * mib, opts: &Options{LimitRate: int64(mibs * mib)}})
		}
		return take
	}
	fast := &Step{Expected: 310 * mib, opts: &p.opts}
	swapped := &Step{Expected: 10 * mib, Swap: []PlannedSwap{{Swap: Swap{Bytes: 190 * mib}}}, opts: &p.opts}
	for name, tt := range map[string]struct {
		take   []*Step
		atOnce int
		want   time.Duration
	}{
		"alone":                        {[]*Step{s}, 0, 7750 * time.Millisecond},
		"beside slow ones":             {slow(9, 1), 0, 10 * time.Second},               // which leave 31
		"beside ones not as slow":      {slow(9, 3.5), 0, 310 * time.Second * 10 / 85},  // which leave 8.5
		"beside so many that it halts": {slow(99, 4), 0, 100 * 7750 * time.Millisecond}, // each has its turn
		"beside two slow ones of 99":   {slow(99, 4), 3, 310 * time.Second / 32},
		"at once with nobody":          {slow(99, 4), 1, 7750 * time.Millisecond},
		"a fast one of them":           {append(slow(99, 4), fast), 3, 310 * time.Second / 18}, // (40-4)/2
		"beside swap":                  {[]*Step{s, swapped}, 0, 12750 * time.Millisecond},
	} {
		if d := p.shared(s, tt.take, tt.atOnce); (d - tt.want).Abs() > time.Microsecond {
			t.Errorf("%s: %s, want %s", name, d, tt.want)
		}
	}
	if d := p.shared(&Step{opts: &p.opts}, slow(3, 1), 0); d != 0 {
		t.Errorf("of nothing: %s", d)
	}
}

// TestMostAtOnce: whom a turn among all is too long for is told how many at once would be few enough, of all that there were.
func TestMostAtOnce(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		parallel int
		sizes    []int64
		rate     int64 // each one's own
		want     []int // 0: it is not stopped; -1: by none
	}{
		{0, []int64{100, 100, 100}, 0, []int{2, 0, 0}},
		{0, []int64{100, 100, 100, 100}, 0, []int{2, 2, 0, 0}}, // the second, too, is told of all four
		{0, []int64{150, 150, 150}, 0, []int{1, 1, 0}},
		{2, []int64{150, 150, 150}, 0, []int{1, 1, 0}},
		{1, []int64{150, 150, 150}, 0, []int{0, 0, 0}},
		{0, []int64{201, 10}, 0, []int{-1, 0}},
		{0, []int64{10, 160, 30}, 0, []int{0, 0, 0}},
		{0, []int64{120, 120, 120, 120}, mib / 5, []int{3, 0, 0, 0}}, // each of the others takes a fifth
	} {
		p := &Plan{opts: Options{LimitTotalRate: mib, Parallel: tt.parallel}}
		most := map[*Step]int{}
		for _, n := range tt.sizes {
			opts := p.opts
			opts.LimitRate = tt.rate
			p.Steps = append(p.Steps, &Step{Expected: n * mib, opts: &opts, host: new(remote), share: func(s *Step, fits func(time.Duration) int) error {
				const limit = 200 * time.Second
				if s.Shared <= limit {
					return nil
				}
				if most[s] = fits(limit); most[s] == 0 {
					most[s] = -1
				}
				return errors.New("too long")
			}})
		}
		p.checkShares()
		var got []int
		for _, s := range p.Steps {
			n := most[s]
			if s.Err == nil {
				n = 0
			}
			got = append(got, n)
			if n > 0 && (p.shared(s, p.Steps, n) > 200*time.Second || p.shared(s, p.Steps, n+1) <= 200*time.Second) {
				t.Errorf("%v: %d at once: %s", tt.sizes, n, p.shared(s, p.Steps, n))
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%d of %v: %v, want %v", tt.parallel, tt.sizes, got, tt.want)
		}
	}
}
