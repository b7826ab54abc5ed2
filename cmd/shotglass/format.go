package main

import (
	"fmt"
	"strconv"
	"time"
)

// size formats bytes for people, in binary units.
func size(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), 0
	for v >= 1024 && unit < 5 {
		v /= 1024
		unit++
	}
	prec := 1
	if v >= 100 {
		prec = 0
	}
	return strconv.FormatFloat(v, 'f', prec, 64) + " " + [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}[unit]
}

// rate formats bytes per second. MB are 10^6 bytes, as links are counted.
func rate(bytesPerSecond float64) string {
	return fmt.Sprintf("%.1f MB/s", bytesPerSecond/1e6)
}

// short formats a duration to the precision that its length deserves.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + short(-d)
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// percent of a part, "?" when the whole is not known. It says 100 only for all.
func percent(part, whole int64) string {
	switch {
	case whole <= 0:
		return "?"
	case part == whole:
		return "100 %"
	}
	return fmt.Sprintf("%d %%", min(99, int64(float64(part)/float64(whole)*100)))
}
