package symbols

import (
	"bytes"
	"fmt"
	"slices"
)

// kernelHalf is where the kernel's addresses begin. Below lie offsets, which KASLR does not move:
// those of per-CPU variables, on x86.
const kernelHalf = 1 << 63

// linkedText is where every distribution's x86-64 kernel is linked to begin.
const linkedText = 0xffffffff81000000

// gather returns the addresses of all symbols as the linker gave them, and all addresses in order:
// there are more than names.
func gather(in Inputs, v *vmlinux, n note, rep *Report) (map[string]uint64, []uint64, error) {
	live, liveErr := readList(in.Kallsyms)
	linked, mapErr := readList(in.SystemMap)
	if linked == nil && v != nil {
		linked, mapErr = v.symbols()
	}
	if live == nil && linked == nil {
		return nil, nil, fmt.Errorf("%w: kallsyms: %w; System.map: %w", ErrNoSymbols, liveErr, mapErr)
	}
	if live == nil {
		if len(in.Kallsyms) > 0 {
			rep.note("kallsyms was not used: %v", liveErr)
		}
		return linked.addr, inOrder(linked.all, 0), nil
	}
	if mapErr != nil && len(in.SystemMap) > 0 {
		rep.note("System.map was not used: %v", mapErr)
	}
	offset, how := kernelOffset(live, linked, n)
	if how != "" {
		rep.note("%s", how)
	}
	rep.KernelOffset = offset
	out := make(map[string]uint64, len(live.addr))
	for name, addr := range live.addr {
		if addr >= kernelHalf {
			addr -= offset
		}
		out[name] = addr
	}
	for _, name := range []string{"swapper_pg_dir", "init_uts_ns"} {
		if _, ok := out[name]; !ok {
			if addr, ok := n.hex("SYMBOL(" + name + ")"); ok && addr >= kernelHalf {
				out[name] = addr - offset
			}
		}
	}
	if linked != nil {
		merge(out, linked.addr, rep)
	}
	return out, inOrder(live.all, offset), nil
}

func inOrder(all []uint64, offset uint64) []uint64 {
	for i, addr := range all {
		if addr >= kernelHalf {
			all[i] -= offset
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func readList(raw []byte) (*list, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("not there")
	}
	if n := bytes.Count(raw, []byte("\n")); n < fewSymbols {
		return nil, stub(n)
	}
	l, err := parseSymbols(raw)
	if err != nil {
		return nil, err
	}
	if err := l.usable(); err != nil {
		return nil, err
	}
	return l, nil
}

// kernelOffset is what KASLR added to the addresses of kallsyms. how says what it rests on, if not on
// VMCOREINFO. System.map, which needs no running kernel, comes first; then the note, whose own
// address of _stext makes it good even if it is of another boot than kallsyms.
func kernelOffset(live, linked *list, n note) (offset uint64, how string) {
	text, ok := live.addr["_stext"]
	if !ok {
		text, ok = live.addr["_text"]
	}
	if linked != nil {
		for _, name := range []string{"_stext", "_text"} {
			a, ok := live.addr[name]
			if b, same := linked.addr[name]; ok && same {
				return a - b, ""
			}
		}
	}
	if off, known := n.hex("KERNELOFFSET"); known {
		if there, given := n.hex("SYMBOL(_stext)"); given && ok && there != text {
			return text - (there - off), "VMCOREINFO is of another boot than kallsyms, or one of them was changed: _stext is at different places"
		}
		return off, ""
	}
	if _, x86 := live.addr["startup_64"]; x86 && ok && text >= linkedText && (text-linkedText)%(2<<20) == 0 {
		return text - linkedText, fmt.Sprintf("there is no VMCOREINFO: the kernel is taken to be linked at %#x, as distributions' are", uint64(linkedText))
	}
	return 0, "there is no VMCOREINFO and no System.map: addresses are those of the running kernel, moved by KASLR or not"
}

// merge adds symbols that only System.map has, if it is of this kernel.
func merge(out, linked map[string]uint64, rep *Report) {
	same, other := 0, 0
	for name, addr := range linked {
		if have, ok := out[name]; ok {
			if have == addr {
				same++
			} else {
				other++
			}
		}
	}
	// Static symbols of one name are told apart by nobody.
	if same < 9*other {
		rep.note("System.map was not used: it is of another kernel, %d of %d symbols have other addresses", other, same+other)
		return
	}
	added := 0
	for name, addr := range linked {
		if _, ok := out[name]; !ok {
			out[name] = addr
			added++
		}
	}
	if added > 0 {
		rep.note("%d symbols come from System.map alone", added)
	}
}
