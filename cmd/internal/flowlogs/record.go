// Package flowlogs reads the flow logs of VPCs: which addresses talked to an instance, as far as its VPC, subnet or interfaces record it. It
// only reads.
//
// A flow log has what its format says, of the traffic that it records, minutes late, and DNS to the VPC's resolver, metadata and a few more never.
package flowlogs

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultFormat is that of a flow log without one of its own.
const DefaultFormat = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"

// A field is one that is read.
type field int

const (
	srcAddr field = iota
	dstAddr
	pktSrcAddr
	pktDstAddr
	srcPort
	dstPort
	protocolField
	bytesField
	startField
	endField
	actionField
	statusField
	interfaceID
	instanceID
	fieldCount
)

// fieldNames are theirs in a format and in a file's first line; a Parquet file's columns have underscores for the hyphens.
var fieldNames = [fieldCount]string{
	"srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr", "srcport", "dstport", "protocol", "bytes", "start", "end", "action", "log-status", "interface-id", "instance-id",
}

// A format is where the fields are in a line; -1: it does not have one.
type format [fieldCount]int

// formatOf is that of a line with words of these names, nil if it does not tell who talked to whom.
func formatOf(names []string) *format {
	f := &format{}
	for i, name := range fieldNames {
		f[i] = slices.Index(names, name)
	}
	if (f.has(srcAddr) && f.has(dstAddr)) || (f.has(pktSrcAddr) && f.has(pktDstAddr)) {
		return f
	}
	return nil
}

// parseFormat reads a flow log's LogFormat; nil if it does not tell who talked to whom.
func parseFormat(text string) *format {
	if text == "" {
		text = DefaultFormat
	}
	words := strings.Fields(text)
	for i, w := range words {
		name, ok := strings.CutPrefix(w, "${")
		if name, ok = strings.CutSuffix(name, "}"); ok {
			words[i] = name
		}
	}
	return formatOf(words)
}

func (f *format) has(n field) bool { return f[n] >= 0 }

// get is a word of a line; nil if it has none, or a dash.
func (f *format) get(words [][]byte, n field) []byte {
	if i := f[n]; i >= 0 && i < len(words) && len(words[i]) > 0 && string(words[i]) != "-" {
		return words[i]
	}
	return nil
}

// hasAll reports whether a format has all that is read of another.
func (f *format) hasAll(other *format) bool {
	for n := range interfaceID {
		if other.has(n) && !f.has(n) {
			return false
		}
	}
	return true
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

// A flow is one line. Of one without a flow, the times alone are there.
type flow struct {
	// from and to are the packets' own addresses, where they are recorded, which a NAT gateway or a load balancer on the way changes; else, and
	// always in atFrom and atTo, those that the interface saw.
	from, to, atFrom, atTo netip.Addr
	fromPort, toPort       uint16
	proto                  uint8
	bytes                  int64
	start, end             time.Time
	action                 string
}

// maxLine bounds a line. The longest format has some 40 fields.
const maxLine = 4096

// maxBytes bounds the bytes of a flow, more than any minute's: sums of whoever's lines do not overflow.
const maxBytes = 1 << 40

// addresses are those that were read: a log has few, very often.
type addresses map[string]netip.Addr

// maxAddresses bounds what is kept of them, maxAddress the text of one.
const maxAddresses, maxAddress = 1 << 14, len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")

func (a addresses) of(word []byte) netip.Addr {
	if len(word) == 0 || len(word) > maxAddress {
		return netip.Addr{}
	}
	if have, ok := a[string(word)]; ok {
		return have
	}
	if len(a) >= maxAddresses {
		clear(a)
	}
	text := string(word)
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	a[text] = addr.Unmap().WithZone("")
	return a[text]
}

// parse reads a line's words.
func (f *format) parse(words [][]byte, known addresses) (x flow, k kind) {
	x.start, x.end = second(f.get(words, startField)), second(f.get(words, endField))
	switch string(f.get(words, statusField)) {
	case "NODATA":
		return x, quiet
	case "SKIPDATA":
		return x, lost
	}
	x.atFrom, x.atTo = known.of(f.get(words, srcAddr)), known.of(f.get(words, dstAddr))
	x.from, x.to = known.of(f.get(words, pktSrcAddr)), known.of(f.get(words, pktDstAddr))
	if !x.from.IsValid() {
		x.from = x.atFrom
	}
	if !x.to.IsValid() {
		x.to = x.atTo
	}
	if !x.from.IsValid() || !x.to.IsValid() {
		if f.dashed(words) {
			return x, silent
		}
		return x, bad
	}
	x.fromPort, x.toPort = uint16(number(f.get(words, srcPort), 1<<16-1)), uint16(number(f.get(words, dstPort), 1<<16-1))
	x.proto = uint8(number(f.get(words, protocolField), 1<<8-1))
	x.bytes = min(number(f.get(words, bytesField), 1<<63-1), maxBytes)
	if action := f.get(words, actionField); string(action) == "ACCEPT" {
		x.action = "ACCEPT"
	} else {
		x.action = string(action)
	}
	return x, aFlow
}

// number is a positive one up to a bound; 0 is none.
func number(word []byte, most int64) int64 {
	if n, err := strconv.ParseInt(string(word), 10, 64); err == nil && n > 0 && n <= most {
		return n
	}
	return 0
}

func second(word []byte) time.Time {
	if n := number(word, 1<<40); n > 0 {
		return time.Unix(n, 0).UTC()
	}
	return time.Time{}
}

// dashed reports whether a line has nothing for each address, and no log-status.
func (f *format) dashed(words [][]byte) bool {
	if f.has(statusField) {
		return false
	}
	for n := srcAddr; n <= pktDstAddr; n++ {
		if i := f[n]; i >= 0 && (i >= len(words) || f.get(words, n) != nil) {
			return false
		}
	}
	return true
}

// split appends a line's words.
func split(line []byte, to [][]byte) [][]byte {
	from := 0
	for i, b := range line {
		if b == ' ' || b == '\t' || b == '\r' {
			if i > from {
				to = append(to, line[from:i])
			}
			from = i + 1
		}
	}
	if from < len(line) {
		to = append(to, line[from:])
	}
	return to
}
