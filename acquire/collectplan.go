package acquire

import (
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// A PlannedItem is something that is to be collected, with what it costs.
type PlannedItem struct {
	Name   string       `json:"name"`
	Stages []live.Stage `json:"stages"`
	How    string       `json:"how"`
	Bytes  int64        `json:"bytes"`           // all stages together
	About  bool         `json:"about,omitempty"` // Bytes is an estimate: the host does not say before it is read
	// Time is what it takes to come here, at most, at collectRate or the target's limits.
	Time time.Duration `json:"time_ns"`
	// Missing says that the host has none.
	Missing bool `json:"missing,omitempty"`
}

// collectRate is what the times of a plan are reckoned with, in bytes per second: a gigabit link takes ten
// times as much, but kallsyms, the largest, is made by the kernel as it is read.
const collectRate = 10e6

// planCollect lists what is to be collected.
func (s *Step) planCollect() {
	s.Collect = nil
	rtt := 0.0
	if s.Info.RTT > 0 {
		rtt = channelWindow / s.Info.RTT.Seconds()
	}
	for _, k := range s.opts.Collect {
		p := PlannedItem{Name: k.Name, Stages: k.Stages, How: k.How, Bytes: k.Guess, About: true}
		if n, ok := s.Facts.sizes[k.Name]; ok {
			p.Bytes, p.About = min(n, k.Limit), k.State
		} else if !k.State && k.Guess == 0 {
			p.Missing, p.About = true, false
		}
		p.Bytes *= int64(len(k.Stages))
		p.Time = slowest(p.Bytes, collectRate, rtt, float64(s.opts.LimitRate), float64(s.opts.LimitTotalRate))
		s.Collect = append(s.Collect, p)
	}
}

// collectRoom is what the archive needs, at most.
func (s *Step) collectRoom() (n int64) {
	for _, p := range s.Collect {
		n += p.Bytes
	}
	if n > 0 {
		n += 1 << 20
	}
	return n
}

// parseSizes reads the section sizes of facts.sh: how large files are, and how many things there are, each of
// which takes about so many bytes of an item.
func parseSizes(text string) map[string]int64 {
	sizes := map[string]int64{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		number := f[0]
		switch {
		case len(f) >= 9: // ls -ln
			number = f[4]
		case f[0] == "processes":
			number = f[1]
		}
		n, err := strconv.ParseInt(number, 10, 40)
		if err != nil || n < 0 {
			continue
		}
		switch name := f[len(f)-1]; {
		case f[0] == "processes":
			sizes["processes"], sizes["executables"], sizes["ps"] = n*400, n*90, n*120
		case len(f) >= 9 && name == "/sys/kernel/btf/vmlinux":
			sizes["btf"] = n
		case len(f) >= 9 && strings.HasPrefix(name, "/sys/kernel/btf/"):
			sizes["btf-modules"] += n + 100
		case len(f) >= 9 && strings.HasPrefix(name, "/boot/System.map-"):
			sizes["system-map"] = n
		case len(f) >= 9 && strings.HasPrefix(name, "/boot/config-"):
			sizes["config"] = n
		case name == "/proc/modules":
			sizes["modules"], sizes["sysmodules"] = n*70, n*40
		case strings.HasPrefix(name, "/proc/net/"):
			sizes["sockets"] += n * 150
			sizes["ss"] += n * 200
		case name == "/proc/self/mountinfo":
			sizes["mounts"] = n * 120
		}
	}
	return sizes
}
