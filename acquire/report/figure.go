package report

import (
	"strconv"
	"time"
)

// Figures are geometry alone, in units of their viewBox: the template draws them.

func num(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

// A bar is a stretch of time.
type bar struct {
	Class string
	X, W  string
}

// A track is the capture on a common axis of time.
type track struct {
	Bars  []bar
	Title string
}

// trackWidth is the width of the viewBox of a track.
const trackWidth = 400

// track draws the phases between from and to.
func (p phases) track(from, to time.Time, partial bool) track {
	whole := to.Sub(from).Seconds()
	if whole <= 0 {
		whole = 1
	}
	at := func(t time.Time) float64 {
		return min(trackWidth, max(0, t.Sub(from).Seconds()/whole*trackWidth))
	}
	t := track{Title: clock(p.begin) + " to " + clock(p.end) + " UTC"}
	add := func(class string, a, b time.Time) {
		if a.IsZero() || b.IsZero() || b.Before(a) {
			return
		}
		x := min(at(a), trackWidth-1)
		t.Bars = append(t.Bars, bar{class, num(x), num(max(1, at(b)-x))})
	}
	flow := "flow"
	if partial {
		flow = "flow cut"
	}
	if p.stream.IsZero() || p.streamEnd.IsZero() {
		add("prep", p.begin, p.end)
		return t
	}
	add("prep", p.begin, p.stream)
	add(flow, p.stream, p.streamEnd)
	add("tidy", p.streamEnd, p.end)
	return t
}

// A chart is rates over the time of the stream.
type chart struct {
	Bars      []chartBar
	Top, Mean string // rates
	MeanY     string
	From, To  string // times
}

type chartBar struct{ X, Y, W, H, Title string }

const chartWidth, chartHeight = 720, 72

func chartOf(list []pace, mean float64) *chart {
	if len(list) < 3 {
		return nil
	}
	from, to := list[0].from, list[len(list)-1].to
	whole, top := to.Sub(from).Seconds(), mean
	for _, p := range list {
		top = max(top, p.perSecond())
	}
	if whole <= 0 || top <= 0 {
		return nil
	}
	c := &chart{Top: rateText(top), Mean: rateText(mean), From: hour(from), To: hour(to), MeanY: num(chartHeight * (1 - mean/top))}
	for _, p := range list {
		h := p.perSecond() / top * chartHeight
		x := p.from.Sub(from).Seconds() / whole * chartWidth
		w := p.to.Sub(p.from).Seconds() / whole * chartWidth
		c.Bars = append(c.Bars, chartBar{num(x), num(chartHeight - h), num(max(0.5, w-0.75)), num(h), hour(p.from) + ": " + rateText(p.perSecond())})
	}
	return c
}
