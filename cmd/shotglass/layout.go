package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/shotglass-ir/shotglass/acquire"
)

// words say in words where a host is.
func (l look) words(now time.Time) string {
	lasting := func(what string) string {
		if d := now.Sub(l.since); !l.since.IsZero() && d >= 5*time.Second {
			return what + ", " + short(d.Truncate(time.Second))
		}
		return what
	}
	switch l.Phase {
	case phaseQueued:
		return l.What
	case phasePreparing:
		return lasting(l.What)
	case phaseStreaming:
		if l.Stalled {
			return stallWords(l, now)
		}
		return "streaming" + after(" ", l.What)
	case phaseCleaning:
		return lasting("cleaning the target")
	case phaseFinished:
		return endWords(l.Result)
	case phaseConnecting, phasePlanning, phaseRereading:
		return lasting(l.Phase.String())
	default:
		return l.Phase.String()
	}
}

func stallWords(l look, now time.Time) string {
	quiet := now.Sub(l.stallBegan).Truncate(time.Second)
	return fmt.Sprintf("stalled %s (gives up in %s)", short(quiet), short(max(0, l.GivesUp-quiet)))
}

// endWords say in one line how a host ended.
func endWords(r *acquire.Result) string {
	if r == nil {
		return "finished"
	}
	words := string(r.State)
	if r.State == acquire.StateComplete {
		words += ", " + size(r.Image.Raw.Bytes) + " in " + short(r.Duration) + averageOf(r)
		if missesSwap(*r) {
			words += ", but not its swap"
		}
	} else if why := whyNot(r); why != "" {
		words += ": " + why
	}
	if len(r.Left) > 0 {
		words += "; something was left on the target"
	}
	return words
}

// whyNot is the first reason why a result is not complete, in one line.
func whyNot(r *acquire.Result) string {
	why := ""
	switch {
	case len(r.Reasons) > 0:
		why = r.Reasons[0]
	case r.Err != nil:
		why = r.Err.Error()
	}
	why, _, _ = strings.Cut(strings.TrimSpace(why), "\n")
	return why
}

// class orders hosts by how much they are worth a line: smaller is more.
func (l look) class() int {
	switch {
	case l.Stalled:
		return 0
	case l.Phase == phaseCleaning, l.Phase == phaseStreaming, l.Phase == phasePreparing:
		return 1
	case l.Phase == phaseConnecting, l.Phase == phasePlanning, l.Phase == phaseRereading:
		return 2
	case l.Phase == phaseFinished && (l.Result == nil || l.Result.State != acquire.StateComplete):
		return 3
	case l.Phase == phaseFinished:
		return 5
	default:
		return 4
	}
}

// kind is the word under which a host is counted.
func (l look) kind() string {
	switch {
	case l.Stalled:
		return "stalled"
	case l.Phase == phaseFinished && l.Result != nil:
		return string(l.Result.State)
	default:
		return l.Phase.String()
	}
}

// kinds are in the order in which counts are told: what needs a look first.
var kinds = []string{"failed", "partial", "stalled", "streaming", "preparing", "cleaning", "connecting", "planning", "reading again", "planned", "waiting", "complete", "finished"}

// counts tells how many hosts are in which state, such as "1 failed, 40 streaming".
func counts(hosts []look) string {
	n := map[string]int{}
	order := slices.Clone(kinds)
	for _, l := range hosts {
		k := l.kind()
		n[k]++
		if !slices.Contains(order, k) {
			order = append(order, k)
		}
	}
	var words []string
	for _, k := range order {
		if n[k] > 0 {
			words = append(words, fmt.Sprintf("%d %s", n[k], k))
		}
	}
	return strings.Join(words, ", ")
}

// total adds up all hosts. What finished hosts did not deliver is no longer expected.
func total(hosts []look) reading {
	var all reading
	var longest time.Duration
	for _, l := range hosts {
		all.Raw, all.Stored = all.Raw+l.Raw, all.Stored+l.Stored
		if l.Phase == phaseFinished {
			all.Expected += l.Raw
			continue
		}
		all.Expected += l.reading.Expected
		if l.Phase == phaseStreaming {
			all.Rate += l.Rate
			longest = max(longest, l.Left)
		}
	}
	if all.Rate > 0 && all.Expected > all.Raw {
		all.Left = max(longest, time.Duration(float64(all.Expected-all.Raw)/all.Rate*float64(time.Second)))
	}
	return all
}

// layout makes the lines of the terminal view: a line for each host while there is room, else for
// those that need attention or run, and what all of them do. No line takes more than width
// columns, and there are no more than two thirds of height, so that problems stay in sight above.
func layout(hosts []look, now time.Time, took time.Duration, width, height int) []string {
	rows := max(2, height*2/3)
	var foot []string
	shown := slices.Clone(hosts)
	if len(hosts) > 1 {
		rows -= 2
		foot = append(foot, short(took.Truncate(time.Second))+": "+counts(hosts))
	}
	if len(shown) > rows {
		slices.SortStableFunc(shown, func(a, b look) int { return cmp.Compare(a.class(), b.class()) })
		rows = max(0, rows-1) // for the line about the others
		var others []look
		for len(shown) > rows || len(shown) > 0 && shown[len(shown)-1].class() > 2 {
			others = append(others, shown[len(shown)-1])
			shown = shown[:len(shown)-1]
		}
		foot = append([]string{fmt.Sprintf("and %d more: %s", len(others), counts(others))}, foot...)
	}
	domain := commonDomain(hosts)
	for i := range shown {
		shown[i].Name = strings.TrimSuffix(shown[i].Name, domain)
	}
	cols := columnsFor(shown, width)
	var lines []string
	for _, l := range shown {
		lines = append(lines, cols.host(l, now))
	}
	for _, f := range foot {
		lines = append(lines, squeezeEnd(f, width))
	}
	if all := total(hosts); len(hosts) > 1 && all.Expected > 0 {
		lines = append(lines, cols.row("total", all))
	}
	return lines
}

// commonDomain is what all names end with, from a dot on: it tells no host from another. Addresses have
// none.
func commonDomain(hosts []look) string {
	if len(hosts) < 2 {
		return ""
	}
	_, domain, _ := strings.Cut(hosts[0].Name, ".")
	domain = "." + domain
	for _, l := range hosts {
		for !strings.HasSuffix(l.Name, domain) || l.Name == domain {
			i := strings.Index(domain[1:], ".")
			if i < 0 {
				return ""
			}
			domain = domain[1+i:]
		}
	}
	if last := domain[strings.LastIndex(domain, ".")+1:]; last == "" || strings.Trim(last, "0123456789") == "" {
		return ""
	}
	return domain
}

// squeezeEnd cuts a text at its end, and shows that.
func squeezeEnd(s string, width int) string {
	return runewidth.Truncate(s, width, "..")
}

// columns are the widths of what stands in a line; 0 leaves a thing out.
type columns struct {
	width, name                            int
	percent, left, rate, bar, whole, ratio int
}

// columnsFor decides what fits into width. The more telling is kept longer.
func columnsFor(shown []look, width int) columns {
	c := columns{width: width, name: len("total")}
	for _, l := range shown {
		c.name = max(c.name, runewidth.StringWidth(printable(l.Name)))
	}
	c.name = min(c.name, max(8, width/4))
	room := width - c.name
	take := func(col *int, n int) {
		if room >= n+1 {
			*col, room = n, room-n-1
		}
	}
	take(&c.percent, len("100 %"))
	take(&c.left, len("59m59s left"))
	take(&c.rate, len("1234.5 MB/s"))
	take(&c.bar, 10)
	take(&c.whole, len("1023 MiB"))
	take(&c.ratio, len("99.9x"))
	if c.bar > 0 {
		c.bar = min(40, c.bar+room)
	}
	return c
}

// host is the line of one host.
func (c columns) host(l look, now time.Time) string {
	name := printable(l.Name)
	if l.Phase == phaseStreaming && !l.Stalled {
		return c.row(name, l.reading)
	}
	words := printable(l.words(now))
	if l.Stalled {
		words += ", " + percent(l.Raw, l.reading.Expected) + " of " + size(l.reading.Expected)
	}
	return squeezeEnd(fit(name, c.name)+" "+words, c.width)
}

// row is a line with a bar.
func (c columns) row(name string, r reading) string {
	var b strings.Builder
	b.WriteString(fit(name, c.name))
	if c.bar > 0 {
		b.WriteString(" " + bar(r.Raw, r.Expected, c.bar))
	}
	for _, col := range []struct {
		width int
		text  string
	}{
		{c.percent, percent(r.Raw, r.Expected)},
		{c.whole, size(r.Expected)},
		{c.rate, rateWords(r.Rate)},
		{c.ratio, ratio(r.Raw, r.Stored)},
		{c.left, leftWords(r)},
	} {
		if col.width > 0 {
			b.WriteString(" " + padLeft(col.text, col.width))
		}
	}
	return squeezeEnd(strings.TrimRight(b.String(), " "), c.width)
}

// rateWords keep to the width of their column.
func rateWords(bytesPerSecond float64) string {
	if bytesPerSecond >= 1e10 {
		return fmt.Sprintf("%.1f GB/s", bytesPerSecond/1e9)
	}
	return rate(bytesPerSecond)
}

func leftWords(r reading) string {
	if r.Left <= 0 {
		return ""
	}
	return short(r.Left.Round(time.Second)) + " left"
}

// bar is a bar of width columns. It is full for all only.
func bar(part, whole int64, width int) string {
	inner := max(width-2, 0)
	done := 0
	if whole > 0 {
		done = int(float64(min(part, whole)) / float64(whole) * float64(inner))
	}
	if done == inner && part != whole {
		done = max(inner-1, 0)
	}
	text := strings.Repeat("=", done)
	if done < inner {
		text += ">" + strings.Repeat(" ", inner-done-1)
	}
	return "[" + text + "]"
}

// ratio is by how much storing made it smaller, "" when not known.
func ratio(raw, stored int64) string {
	switch {
	case raw <= 0 || stored <= 0:
		return ""
	case raw >= 100*stored:
		return fmt.Sprintf("%dx", raw/stored)
	}
	return fmt.Sprintf("%.1fx", float64(raw)/float64(stored))
}
