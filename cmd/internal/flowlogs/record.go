// Package flowlogs reads the flow logs of VPCs: which addresses talked to an instance, as far as its VPC, subnet or interfaces record it. It
// only reads.
//
// A flow log has what its format says, of the traffic that it records, minutes late, and DNS to the VPC's resolver, metadata and a few more never.
package flowlogs

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultFormat is that of a flow log without one of its own.
const DefaultFormat = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"

// A format is where the fields are in a line.
type format map[string]int

var field = regexp.MustCompile(`^\$\{([a-z0-9-]+)\}$`)

// parseFormat reads a flow log's LogFormat; nil if it does not tell who talked to whom.
func parseFormat(text string) format {
	if text == "" {
		text = DefaultFormat
	}
	f := format{}
	for i, word := range strings.Fields(text) {
		if m := field.FindStringSubmatch(word); m != nil {
			f[m[1]] = i
		}
	}
	_, src := f["srcaddr"]
	_, dst := f["dstaddr"]
	_, psrc := f["pkt-srcaddr"]
	_, pdst := f["pkt-dstaddr"]
	if !(src && dst) && !(psrc && pdst) {
		return nil
	}
	return f
}

// A kind is what a line is.
type kind int

const (
	aFlow  kind = iota
	quiet       // NODATA: there was no traffic
	lost        // SKIPDATA: AWS lost flows
	silent      // no flow, and the format does not record which of the two
	bad         // none that can be read
)

// A flow is one line.
type flow struct {
	from, to         netip.Addr
	fromPort, toPort uint16
	proto            uint8
	bytes            int64
	start, end       time.Time
	action           string
}

// maxLine bounds a line. The longest format has some 40 fields.
const maxLine = 4096

// maxBytes bounds the bytes of a flow, more than any minute's: sums of whoever's lines do not overflow.
const maxBytes = 1 << 40

// parse reads a line. Where the packet's own addresses are recorded, which a NAT gateway or a load balancer on the way changes, they count.
func (f format) parse(line string) (x flow, k kind) {
	if len(line) > maxLine {
		return x, bad
	}
	words := strings.Fields(line)
	get := func(name string) string {
		i, there := f[name]
		if !there || i >= len(words) || words[i] == "-" {
			return ""
		}
		return words[i]
	}
	address := func(names ...string) netip.Addr {
		for _, n := range names {
			if a, err := netip.ParseAddr(get(n)); err == nil {
				return a.Unmap().WithZone("")
			}
		}
		return netip.Addr{}
	}
	switch get("log-status") {
	case "NODATA":
		return x, quiet
	case "SKIPDATA":
		return x, lost
	}
	x.from, x.to = address("pkt-srcaddr", "srcaddr"), address("pkt-dstaddr", "dstaddr")
	if !x.from.IsValid() || !x.to.IsValid() {
		if f.dashed(words) {
			return x, silent
		}
		return x, bad
	}
	port := func(name string) uint16 {
		n, _ := strconv.ParseUint(get(name), 10, 16)
		return uint16(n)
	}
	second := func(name string) time.Time {
		n, err := strconv.ParseInt(get(name), 10, 64)
		if err != nil || n <= 0 || n > 1<<40 {
			return time.Time{}
		}
		return time.Unix(n, 0).UTC()
	}
	proto, _ := strconv.ParseUint(get("protocol"), 10, 8)
	x.proto = uint8(proto)
	if n, err := strconv.ParseInt(get("bytes"), 10, 64); err == nil && n > 0 {
		x.bytes = min(n, maxBytes)
	}
	x.fromPort, x.toPort, x.start, x.end, x.action = port("srcport"), port("dstport"), second("start"), second("end"), get("action")
	return x, aFlow
}

// dashed reports whether a line has a dash for each address, and no log-status.
func (f format) dashed(words []string) bool {
	if _, tells := f["log-status"]; tells {
		return false
	}
	for _, name := range []string{"srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr"} {
		if i, there := f[name]; there && (i >= len(words) || words[i] != "-") {
			return false
		}
	}
	return true
}

// tells are the fields that are read.
var tells = []string{"srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr", "srcport", "dstport", "protocol", "bytes", "start", "end", "action", "log-status"}

// hasAll reports whether a format has all that is read of another.
func (f format) hasAll(other format) bool {
	return !slices.ContainsFunc(tells, func(name string) bool {
		_, here := f[name]
		_, there := other[name]
		return there && !here
	})
}
