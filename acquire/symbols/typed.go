package symbols

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxArray bounds an array whose end is the next symbol.
const maxArray = 1 << 16

// typeSymbols gives symbols their types: those that the kernel's types name, then those of the table.
func (f *file) typeSymbols(vars map[string]*descriptor, rep *Report) {
	if _, ok := f.addr[bannerSymbol]; !ok {
		f.addr[bannerSymbol] = 0
		rep.note("kallsyms does not list %s: its address is left 0; Volatility finds the file by its bytes", bannerSymbol)
	}
	for name, t := range vars {
		if _, ok := f.addr[name]; ok {
			f.vars[name] = t
		}
	}
	ends := f.ends()
	for _, k := range knowns {
		addr, ok := f.addr[k.symbol]
		if !ok || f.vars[k.symbol] != nil {
			continue
		}
		for _, expr := range k.typ {
			if t := f.parse(expr, ends[addr]); t != nil {
				f.vars[k.symbol] = t
				break
			}
		}
		if f.vars[k.symbol] == nil && len(k.typ) > 0 {
			rep.note("symbol %s has no type: the kernel has none of %s", k.symbol, strings.Join(k.typ, ", "))
		}
	}
	f.vars[bannerSymbol] = &descriptor{kind: "array", count: int64(len(f.banner)), sub: f.parse("char", 0)}
	if f.vars[bannerSymbol].sub == nil {
		f.vars[bannerSymbol].sub = voidType
	}
	for _, t := range f.vars {
		if t != voidType {
			rep.TypedSymbols++
		}
	}
}

// ends tells, by the address of each symbol of the table, how many bytes there are to the next symbol.
func (f *file) ends() map[uint64]uint64 {
	out := map[uint64]uint64{}
	for _, k := range knowns {
		if a, ok := f.addr[k.symbol]; ok {
			if i, _ := slices.BinarySearch(f.at, a); i+1 < len(f.at) {
				out[a] = f.at[i+1] - a
			}
		}
	}
	return out
}

// parse makes a type of an expression of the table; nil if the kernel has no such type.
func (f *file) parse(expr string, room uint64) *descriptor {
	switch {
	case strings.HasPrefix(expr, "*"):
		if sub := f.parse(expr[1:], 0); sub != nil {
			return &descriptor{kind: "pointer", sub: sub}
		}
		return nil
	case strings.HasPrefix(expr, "["):
		return f.array(expr, room)
	case strings.HasPrefix(expr, "{"):
		return f.unnamed(strings.Trim(expr, "{}"))
	case expr == "func":
		return &descriptor{kind: "function"}
	}
	kind, name, ok := strings.Cut(expr, " ")
	if u := f.user[name]; ok && u != nil && u.kind == kind {
		return &descriptor{kind: kind, name: name}
	}
	if u := f.user[expr]; u != nil {
		return &descriptor{kind: u.kind, name: expr}
	}
	if _, ok := f.base[expr]; ok {
		return &descriptor{kind: "base", name: expr}
	}
	return nil
}

func (f *file) array(expr string, room uint64) *descriptor {
	number, rest, _ := strings.Cut(expr[1:], "]")
	sub := f.parse(rest, 0)
	if sub == nil {
		return nil
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		if n = 0; f.sizeof(sub) > 0 {
			n = min(int64(room/uint64(f.sizeof(sub))), maxArray)
		}
	}
	return &descriptor{kind: "array", count: n, sub: sub}
}

// sizeof is the size of what a small expression describes.
func (f *file) sizeof(d *descriptor) int64 {
	switch d.kind {
	case "pointer":
		return f.base["pointer"].size
	case "base":
		return f.base[d.name].size
	case "struct", "union":
		return f.user[d.name].size
	case "array":
		return d.count * f.sizeof(d.sub)
	}
	return 0
}

// unnamed finds the only struct without a name that has a field of a name and type.
func (f *file) unnamed(what string) *descriptor {
	name, typ, _ := strings.Cut(what, " ")
	var found []string
	for n, u := range f.user {
		if u.kind != "struct" || !strings.HasPrefix(n, "unnamed_") {
			continue
		}
		if m := u.field(name); m != nil && m.typ.kind+" "+m.typ.name == typ {
			found = append(found, n)
		}
	}
	if len(found) != 1 {
		return nil
	}
	return &descriptor{kind: "struct", name: found[0]}
}

// missing lists what plugins need and the file has not.
func (f *file) missing() []Missing {
	var out []Missing
	for _, k := range knowns {
		if _, ok := f.addr[k.symbol]; !ok && len(k.plugins) > 0 {
			out = append(out, Missing{"symbol " + k.symbol, k.plugins})
		}
	}
	for _, e := range eithers {
		if !slices.ContainsFunc(e.symbols, func(s string) bool { _, ok := f.addr[s]; return ok }) {
			out = append(out, Missing{"symbol " + strings.Join(e.symbols, " or "), e.plugins})
		}
	}
	for _, n := range needed {
		if f.user[n.name] == nil {
			out = append(out, Missing{fmt.Sprintf("type %s (perhaps a module's)", n.name), n.plugins})
		}
	}
	return out
}
