package symbols

import (
	"bytes"
	"strconv"
	"strings"
)

// maxNote is more than the kernel reserves for VMCOREINFO, which is a page.
const maxNote = 64 << 10

// A note is what the kernel says of itself for crash dumps, by key.
type note map[string]string

// parseNote reads VMCOREINFO: lines of KEY=VALUE, alone or somewhere in the bytes of /proc/kcore's head or of
// an ELF note. What is not there is not there.
func parseNote(raw []byte) note {
	n := note{}
	if i := bytes.Index(raw, []byte("OSRELEASE=")); i >= 0 {
		raw = raw[i:]
	} else {
		return n
	}
	raw = raw[:min(len(raw), maxNote)]
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		raw = raw[:i]
	}
	for line := range strings.Lines(string(raw)) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			n[key] = value
		}
	}
	return n
}

// hex returns a number written in base 16 without a prefix.
func (n note) hex(key string) (uint64, bool) {
	v, err := strconv.ParseUint(n[key], 16, 64)
	return v, err == nil
}

// fiveLevel tells whether the kernel runs with five levels of page tables.
func (n note) fiveLevel() bool {
	v, err := strconv.Atoi(n["NUMBER(pgtable_l5_enabled)"])
	return err == nil && v != 0
}

// symbols are the addresses that the note gives, where the kernel runs.
func (n note) symbols() map[string]uint64 {
	out := map[string]uint64{}
	for key := range n {
		name, ok := strings.CutPrefix(key, "SYMBOL(")
		if name, closed := strings.CutSuffix(name, ")"); ok && closed {
			if v, ok := n.hex(key); ok {
				out[name] = v
			}
		}
	}
	return out
}
