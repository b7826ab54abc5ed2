package report

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/audit"
)

// harmless escapes, in every text below v, what could hide or forge text on the page; the
// template keeps it from being markup.
func harmless(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		lines := strings.Split(v.String(), "\n")
		for i, l := range lines {
			lines[i] = audit.Printable(l)
		}
		v.SetString(strings.Join(lines, "\n"))
	case reflect.Slice:
		for i := range v.Len() {
			harmless(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				harmless(v.Field(i))
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			harmless(v.Elem())
		}
	}
}

// bytesText is a size for people, in binary units.
func bytesText(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), -1
	for v >= 1024 && unit < 5 {
		v /= 1024
		unit++
	}
	prec := 1
	if v >= 100 {
		prec = 0
	}
	return strconv.FormatFloat(v, 'f', prec, 64) + " " + string("KMGTPE"[unit]) + "iB"
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func rateText(perSecond float64) string {
	if perSecond <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f MB/s", perSecond/1e6)
}

// spanText is a duration for people.
func spanText(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + spanText(-max(d, -math.MaxInt64)) // the least of all has no opposite
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// clock is a moment in UTC.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func hour(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("15:04:05")
}

// digest is a SHA-256 of a manifest for a line that people paste into a shell: nothing but its digits.
func digest(s string) string {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdefABCDEF") != "" {
		return "not-a-SHA-256"
	}
	return s
}

// quote makes a word of a shell out of a name.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-+=@/:,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
