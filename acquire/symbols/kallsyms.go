package symbols

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Bounds on a list of symbols. Distributions' kernels have some 200 thousand.
const (
	MaxSymbolList = 64 << 20
	maxSymbols    = 1 << 20
	// fewSymbols is what no kernel gets by with: a shorter list is a stub. Debian installs a
	// System.map of one line, which says where the real one is.
	fewSymbols = 1000
)

// A list is the symbols of one file, by name. A name that occurs more than once, which only static
// symbols do, has its last address, unless one of them is global.
type list struct {
	addr   map[string]uint64
	global map[string]bool
	all    []uint64 // addresses, also of names that occur again
	zero   bool     // all addresses are zero: hidden
}

// parseSymbols reads kallsyms or System.map: lines of address, type, name and, for symbols of modules and
// of BPF programs, which are left out, the module in brackets.
func parseSymbols(raw []byte) (*list, error) {
	if len(raw) > MaxSymbolList {
		return nil, fmt.Errorf("%d bytes, and no kernel lists more than %d", len(raw), MaxSymbolList)
	}
	l := &list{addr: map[string]uint64{}, global: map[string]bool{}, zero: true}
	n := 0
	for line := range bytes.Lines(raw) {
		if n++; n > 4*maxSymbols {
			return nil, fmt.Errorf("more than %d lines, as in no kernel", 4*maxSymbols)
		}
		words := bytes.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) > 3 && words[3][0] == '[' {
			continue
		}
		if len(words) != 3 || len(words[1]) != 1 {
			return nil, fmt.Errorf("line %d is not a symbol: %.60q", n, line)
		}
		addr, err := strconv.ParseUint(string(words[0]), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d is not a symbol: %.60q", n, line)
		}
		if len(words[2]) > maxName {
			return nil, fmt.Errorf("line %d has a name of %d bytes", n, len(words[2]))
		}
		l.add(string(words[2]), addr, words[1][0] < 'a')
		if len(l.addr) > maxSymbols {
			return nil, fmt.Errorf("more than %d symbols, as in no kernel", maxSymbols)
		}
	}
	return l, nil
}

func (l *list) add(name string, addr uint64, global bool) {
	l.zero = l.zero && addr == 0
	l.all = append(l.all, addr)
	if l.global[name] && !global {
		return
	}
	l.addr[name] = addr
	if global {
		l.global[name] = true
	}
}

// usable tells why a list is of no use; nil if it is.
func (l *list) usable() error {
	if len(l.addr) < fewSymbols {
		return stub(len(l.addr))
	}
	if l.zero {
		return errors.New("all its addresses are zero: the kernel hides them (kptr_restrict), root reads them")
	}
	return nil
}

func stub(n int) error {
	return fmt.Errorf("it has %d lines or symbols, so it is a stub: Debian ships the real System.map with the debug symbols", n)
}
