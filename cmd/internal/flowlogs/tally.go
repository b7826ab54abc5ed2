package flowlogs

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// A tally counts the lines of a file or of a log's streams. It is for one goroutine; those of several files add up in their scan.
type tally struct {
	w     *work
	s     *scan
	form  *format
	own   bool // the lines are of other interfaces too
	words [][]byte
	known addresses
	spent int64 // bytes that are not yet taken off what may be read
}

func (w *work) tally(s *scan, f *format) *tally {
	return &tally{w: w, s: s, form: f, known: addresses{}}
}

// batch is how many bytes are read before others are told.
const batch = 16 << 10

// spend takes n bytes off what may be read.
func (t *tally) spend(n int) error {
	if t.spent += int64(n); t.spent < batch {
		return nil
	}
	return t.flush()
}

// flush takes off the rest. It is to be called at the end.
func (t *tally) flush() error {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.left -= t.spent
	if t.spent = 0; t.w.left < 0 {
		most, _ := t.w.bounds()
		return &stopError{fmt.Sprintf("more than %d bytes: the rest was not read, after %d lines", most, t.s.Lines)}
	}
	return nil
}

// line counts a line of text, of n bytes of which those beyond maxLine may not be there.
func (t *tally) line(text []byte, n int) error {
	if err := t.spend(n); err != nil {
		return err
	}
	t.words = split(text[:min(len(text), maxLine)], t.words[:0])
	t.count(t.words, n <= maxLine+1)
	return nil
}

// row counts a line in words.
func (t *tally) row(words [][]byte) error {
	n := 0
	for _, word := range words {
		n += len(word) + 1
	}
	if err := t.spend(n); err != nil {
		return err
	}
	t.count(words, true)
	return nil
}

// count counts a line, if it is of the instance and of the time.
func (t *tally) count(words [][]byte, whole bool) {
	mine := true
	if t.own {
		own, tells := t.w.ownLine(t.form, words)
		if tells && !own {
			return
		}
		mine = tells
	}
	x, k := flow{}, bad
	if whole {
		x, k = t.form.parse(words, t.known)
	}
	if !x.end.IsZero() && x.end.Before(t.w.Since) || !t.w.Until.IsZero() && x.start.After(t.w.Until) {
		return
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.s.Lines++
	switch k {
	case aFlow:
		if !t.s.sums.add(x) && mine {
			t.s.Others++
		}
	case lost:
		t.s.Skipped++
	case silent:
		t.s.Silent++
	case bad:
		t.s.Bad++
	}
}

// ownLine reports whether a line was recorded at an interface of the instance, as one that it has now or by its id, and whether it tells
// where it was. A dash is none of it: a NAT gateway of a whole region has no interface.
func (w *work) ownLine(f *format, words [][]byte) (own, tells bool) {
	if i := f[interfaceID]; i >= 0 && i < len(words) {
		own, tells = slices.ContainsFunc(w.i.Interfaces, func(id string) bool { return id == string(words[i]) }), true
	}
	if i := f[instanceID]; i >= 0 && i < len(words) {
		own, tells = own || string(words[i]) == w.i.ID, true
	}
	return own, tells
}

// event counts a line of CloudWatch Logs.
func (t *tally) event(text string, at time.Time) error {
	if !t.form.has(endField) && at.Before(t.w.Since) {
		return nil
	}
	line := bytes.TrimSpace([]byte(text))
	return t.line(line, len(line))
}
