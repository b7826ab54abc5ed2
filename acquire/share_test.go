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
			p.Steps = append(p.Steps, &Step{Expected: n * mib, opts: &p.opts, host: new(remote), share: func(s *Step) error {
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
	take := []*Step{s}
	for range 9 { // 1 MiB a second each leave 31
		take = append(take, &Step{Expected: 310 * mib, opts: &Options{LimitRate: mib}})
	}
	if d := p.shared(s, take); d < 10*time.Second || d > 11*time.Second {
		t.Errorf("beside slow ones: %s", d)
	}
	other := &Step{Expected: 10 * mib, Swap: []PlannedSwap{{Swap: Swap{Bytes: 190 * mib}}}, opts: &p.opts}
	if d := p.shared(s, []*Step{s, other}); d != 12750*time.Millisecond {
		t.Errorf("beside swap: %s", d)
	}
}
