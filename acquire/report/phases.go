package report

import (
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
)

// Phases are when a capture did what; a zero time is one that is not known.
type phases struct {
	begin, stream, streamEnd, end time.Time
}

// phasesOf reads them from the manifest's timeline, whose words are the engine's.
func phasesOf(m *acquire.Manifest) (p phases) {
	for _, t := range m.Timeline {
		switch {
		case p.begin.IsZero():
			p.begin = t.Time
		case strings.HasPrefix(t.Event, "streaming,") && p.stream.IsZero():
			p.stream = t.Time
		case strings.HasPrefix(t.Event, "stream ended"):
			p.streamEnd = t.Time
		}
		p.end = t.Time
	}
	if m.Stream != nil && len(m.Stream.Ranges) > 0 {
		first, last := m.Stream.Ranges[0].First, m.Stream.Ranges[len(m.Stream.Ranges)-1].Last
		if p.stream.IsZero() {
			p.stream = first
		}
		if p.streamEnd.IsZero() {
			p.streamEnd = last
		}
	}
	if p.begin.IsZero() {
		p.begin = m.Created
	}
	if p.end.Before(p.begin) {
		p.end = m.Created
	}
	return p
}

// flow is how long bytes flowed; 0 when that is not known.
func (p phases) flow() time.Duration {
	if p.stream.IsZero() || p.streamEnd.IsZero() {
		return 0
	}
	return max(0, p.streamEnd.Sub(p.stream))
}

// A pace is the rate of a stretch of the stream.
type pace struct {
	from, to time.Time
	bytes    int64
}

func (p pace) perSecond() float64 {
	if d := p.to.Sub(p.from).Seconds(); d > 0 {
		return float64(p.bytes) / d
	}
	return 0
}

// paces are the rates between the marks of the stream, in at most limit stretches of about
// the same time.
func paces(m *acquire.Manifest, limit int) []pace {
	if m.Stream == nil {
		return nil
	}
	type point struct {
		at    time.Time
		bytes int64 // since the last point
	}
	var points []point
	for _, r := range m.Stream.Ranges {
		if r.First.IsZero() || r.Last.IsZero() {
			continue
		}
		addr := uint64(r.Range.Start)
		points = append(points, point{at: r.First})
		for _, k := range r.Marks {
			if uint64(k.Addr) >= addr {
				points = append(points, point{k.Time, int64(uint64(k.Addr) - addr)})
				addr = uint64(k.Addr)
			}
		}
		if end := uint64(r.Range.Start) + r.Bytes; end > addr {
			points = append(points, point{r.Last, int64(end - addr)})
		}
	}
	if len(points) < 2 {
		return nil
	}
	first, last := points[0].at, points[len(points)-1].at
	step := last.Sub(first) / time.Duration(limit)
	if step <= 0 {
		return nil
	}
	var out []pace
	p := pace{from: first}
	for _, t := range points {
		p.bytes += t.bytes
		if t.at.Sub(p.from) >= step && p.bytes > 0 {
			p.to = t.at
			out = append(out, p)
			p = pace{from: t.at}
		}
	}
	if p.bytes > 0 && len(out) > 0 {
		out[len(out)-1].bytes += p.bytes
		out[len(out)-1].to = last
	}
	return out
}
