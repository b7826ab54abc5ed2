package live

import (
	"path"
	"strconv"
	"strings"
	"time"
)

// A Module is a line of /proc/modules.
type Module struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	State   string `json:"state"`
	Address uint64 `json:"address"`
}

// Modules reads the item modules.
func Modules(data []byte) []Module {
	var out []Module
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			continue
		}
		at, _ := strconv.ParseUint(strings.TrimPrefix(f[5], "0x"), 16, 64)
		out = append(out, Module{f[0], size, f[4], at})
	}
	return out
}

// SysModules reads the item sysmodules: the names of modules that /sys knows to be loaded.
func SysModules(data []byte) []string {
	var out []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if path.Base(line) == "initstate" && strings.HasPrefix(line, "/sys/module/") {
			out = append(out, path.Base(path.Dir(line)))
		}
	}
	return out
}

// A Mount is a line of mountinfo, of proc(5).
type Mount struct {
	Point  string `json:"point"`
	Root   string `json:"root"` // of the file system, what is mounted there
	Type   string `json:"type"`
	Source string `json:"source"`
}

// Mounts reads the item mounts.
func Mounts(data []byte) []Mount {
	var out []Mount
	for line := range strings.Lines(string(data)) {
		front, back, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		f, b := strings.Fields(front), strings.Fields(back)
		if !ok || len(f) < 6 || len(b) < 2 {
			continue
		}
		out = append(out, Mount{Point: Unescape(f[4]), Root: Unescape(f[3]), Type: b[0], Source: Unescape(b[1])})
	}
	return out
}

// Unescape undoes what the kernel does to blanks and backslashes in names of /proc/mounts and
// /proc/swaps: three octal digits.
func Unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// A Clock is what the item clock says.
type Clock struct {
	Now    time.Time     // the host's clock
	Boot   time.Time     // by that clock
	Uptime time.Duration // when it was asked: what ticks are counted from
	Ticks  int           // per second, of Process.Start
	Shell  int           // PID of the shell that read all items; 0: it does not say
}

// ParseClock reads the item clock. Ticks are 100 (USER_HZ) where the host does not say.
func ParseClock(data []byte) Clock {
	c := Clock{Ticks: 100}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			if n, err := strconv.ParseInt(v, 10, 40); err == nil {
				c.Boot = time.Unix(n, 0).UTC()
			}
			continue
		}
		k, v, _ := strings.Cut(line, "=")
		v, _, _ = strings.Cut(v, " ")
		switch k {
		case "now":
			if f, err := strconv.ParseFloat(strings.TrimSuffix(v, ".N"), 64); err == nil && f > 0 && f < 1<<40 {
				c.Now = time.UnixMilli(int64(f * 1e3)).UTC()
			}
		case "uptime":
			if f, err := strconv.ParseFloat(v, 64); err == nil && f >= 0 && f < 1<<33 {
				c.Uptime = time.Duration(f * float64(time.Second))
			}
		case "shell":
			if n, err := strconv.Atoi(v); err == nil && n > 1 {
				c.Shell = n
			}
		case "ticks":
			if n, err := strconv.Atoi(v); err == nil && n > 0 && n <= 1e6 {
				c.Ticks = n
			}
		}
	}
	return c
}
