package lime

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// ErrIOMemHidden is returned by ParseIOMem when all addresses are zero, which
// is what the kernel shows to readers without CAP_SYS_ADMIN.
var ErrIOMemHidden = errors.New("/proc/iomem hides its addresses: not privileged")

// ErrNoSystemRAM is returned by ParseIOMem when nothing is named System RAM.
var ErrNoSystemRAM = errors.New("/proc/iomem names no System RAM")

// maxIOMemLines bounds what a target can make us read; large hosts have some
// hundreds of lines.
const maxIOMemLines = 1 << 16

// ParseIOMem returns the System RAM ranges of a /proc/iomem text, ascending.
// As the LiME module does, it takes them at any depth, hot-plugged
// "System RAM (virtio_mem)" and "System RAM (kmem)" included, and does not look inside
// one for more. Ranges that touch are kept apart, as LiME writes one record for each.
func ParseIOMem(r io.Reader) ([]Range, error) {
	var out []Range
	inside, hidden := -1, true // indent of the match that we are inside of
	s := bufio.NewScanner(r)
	s.Buffer(nil, 4096)
	line := 0
	for s.Scan() {
		if line++; line > maxIOMemLines {
			return nil, fmt.Errorf("iomem: more than %d lines", maxIOMemLines)
		}
		text := strings.TrimLeft(s.Text(), " ")
		if text == "" {
			continue
		}
		indent := len(s.Text()) - len(text)
		if inside >= 0 && indent > inside {
			continue
		}
		inside = -1
		span, name, ok := strings.Cut(text, " : ")
		if !ok {
			return nil, fmt.Errorf("iomem line %d: %q has no name", line, text)
		}
		rng, err := parseSpan(span)
		if err != nil {
			return nil, fmt.Errorf("iomem line %d: %w", line, err)
		}
		if !strings.HasPrefix(name, "System RAM") {
			continue
		}
		inside = indent
		hidden = hidden && rng == (Range{})
		if !hidden && !rng.Valid() {
			return nil, fmt.Errorf("iomem line %d: %q: %w", line, span, ErrBadRange)
		}
		if n := len(out) - 1; !hidden && n >= 0 && rng.Start <= out[n].End {
			return nil, fmt.Errorf("iomem line %d: %q is not above %s", line, span, out[n])
		}
		out = append(out, rng)
	}
	switch {
	case s.Err() != nil:
		return nil, fmt.Errorf("iomem: %w", s.Err())
	case len(out) == 0:
		return nil, ErrNoSystemRAM
	case hidden:
		return nil, ErrIOMemHidden
	}
	return out, nil
}

// maxNamed bounds what IOMemNamed returns.
const maxNamed = 64

// IOMemNamed returns the ranges of a /proc/iomem text, at any depth and in its order, that have one of the
// names. What cannot be read, and what hides its addresses, is left out.
func IOMemNamed(text string, names ...string) (out []Range) {
	for line := range strings.Lines(text) {
		span, name, _ := strings.Cut(strings.TrimSpace(line), " : ")
		if !slices.Contains(names, name) {
			continue
		}
		if r, err := parseSpan(span); err == nil && r.Valid() && r.End != 0 && len(out) < maxNamed {
			out = append(out, r)
		}
	}
	return out
}

// parseSpan parses "START-END", both hexadecimal without a prefix.
func parseSpan(s string) (Range, error) {
	start, end, ok := strings.Cut(s, "-")
	if !ok {
		return Range{}, fmt.Errorf("%q is no range", s)
	}
	a, err := strconv.ParseUint(start, 16, 64)
	if err != nil {
		return Range{}, fmt.Errorf("start of %q: %w", s, errors.Unwrap(err))
	}
	b, err := strconv.ParseUint(end, 16, 64)
	if err != nil {
		return Range{}, fmt.Errorf("end of %q: %w", s, errors.Unwrap(err))
	}
	return Range{a, b}, nil
}
