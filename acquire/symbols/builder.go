package symbols

import (
	"crypto/sha1"
	"debug/dwarf"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds on what a hostile kernel's types can make of a symbol file. Real kernels stay far below.
const (
	maxDepth      = 32       // of pointers, arrays and typedefs in one type
	maxDefinition = 64 << 10 // bytes of one definition that is hashed into a name
	maxHashed     = 1 << 30  // bytes of all those definitions
)

// A descriptor is a reference to a type, as ISF writes it: by name, or built of others.
type descriptor struct {
	kind, name    string
	count         int64       // of an array
	sub           *descriptor // what a pointer or array is of, and the type of a bitfield
	bits, bitSize int64       // position and length of a bitfield
	depth         int
}

var voidType = &descriptor{kind: "base", name: "void"}

type baseType struct {
	size   int64
	signed bool
	kind   string
}

type field struct {
	name      string
	offset    int64
	anonymous bool
	typ       *descriptor
}

type userType struct {
	kind   string
	size   int64
	fields []field // by name, each once
}

type enumType struct {
	size   int64
	base   string
	values map[string]int64
}

// A builder collects types in the form of ISF. Its input is types of debug/dwarf, whether they come
// from DWARF or from BTF, so that both give the same file. It must not be used at once from
// several goroutines.
type builder struct {
	big   bool // big endian
	base  map[string]baseType
	user  map[string]*userType
	enums map[string]*enumType

	seen    map[dwarf.Type]*descriptor // of this batch
	todo    []pending
	names   map[nameKey]string
	taken   map[string]int // how many definitions share a name
	strings map[dwarf.Type]string
	hashed  int
	// doubles are the names that more than one definition has.
	doubles map[string]bool
}

type nameKey struct {
	enum       bool
	name       string
	definition [sha1.Size]byte
}

type pending struct {
	name string
	typ  dwarf.Type
}

func newBuilder() *builder {
	b := &builder{
		base:    map[string]baseType{"void": {kind: "void"}},
		user:    map[string]*userType{},
		enums:   map[string]*enumType{},
		names:   map[nameKey]string{},
		taken:   map[string]int{},
		doubles: map[string]bool{},
	}
	b.forget()
	return b
}

// forget drops what the builder knows of type values; what was defined stays. It lets a
// reader of DWARF free a batch of units.
func (b *builder) forget() {
	b.seen, b.strings = map[dwarf.Type]*descriptor{}, map[dwarf.Type]string{}
}

// finish ends the definitions: it gives enums their bases, and drops what only definitions need.
func (b *builder) finish() {
	b.enumBases()
	b.forget()
	b.names, b.taken = nil, nil
}

// add takes a type and all that it is made of, and returns the reference to it.
func (b *builder) add(t dwarf.Type) *descriptor {
	d := b.describe(t)
	for len(b.todo) > 0 {
		p := b.todo[len(b.todo)-1]
		b.todo = b.todo[:len(b.todo)-1]
		switch t := p.typ.(type) {
		case *dwarf.StructType:
			b.define(p.name, t)
		case *dwarf.EnumType:
			b.defineEnum(p.name, t)
		}
	}
	return d
}

// describe returns the reference to a type; what it names is put on the list of what is to be defined.
func (b *builder) describe(t dwarf.Type) *descriptor {
	var outer []dwarf.Type // pointers and arrays on the way to what they are of
	var d *descriptor
	for d == nil {
		if known := b.seen[t]; known != nil {
			d = known
			break
		}
		switch u := t.(type) {
		case *dwarf.PtrType:
			outer, t = append(outer, t), u.Type
		case *dwarf.ArrayType:
			outer, t = append(outer, t), u.Type
		case *dwarf.QualType:
			outer, t = append(outer, t), u.Type
		case *dwarf.TypedefType:
			if s, ok := u.Type.(*dwarf.StructType); ok && !s.Incomplete {
				d = b.named(u.Name, s)
				b.seen[t] = d
				break
			}
			outer, t = append(outer, t), u.Type
		default:
			d = b.leaf(t)
		}
		if len(outer) > maxDepth {
			d = voidType // a chain that no compiler writes, or a circle
		}
	}
	for i := len(outer) - 1; i >= 0; i-- {
		switch u := outer[i].(type) {
		case *dwarf.PtrType:
			d = &descriptor{kind: "pointer", sub: d, depth: d.depth + 1}
			b.base["pointer"] = baseType{size: u.ByteSize, kind: "int"}
		case *dwarf.ArrayType:
			d = &descriptor{kind: "array", sub: d, count: max(u.Count, 0), depth: d.depth + 1}
		}
		if d.depth > maxDepth {
			d = voidType
		}
		b.seen[outer[i]] = d
	}
	return d
}

// leaf describes a type that is not built of one other.
func (b *builder) leaf(t dwarf.Type) *descriptor {
	var d *descriptor
	switch t := t.(type) {
	case *dwarf.StructType:
		d = b.named("", t)
	case *dwarf.EnumType:
		d = b.named("", t)
	case *dwarf.FuncType:
		d = &descriptor{kind: "function"}
	case *dwarf.BoolType, *dwarf.CharType, *dwarf.ComplexType, *dwarf.IntType, *dwarf.FloatType, *dwarf.UcharType, *dwarf.UintType:
		d = &descriptor{kind: "base", name: t.Common().Name}
		if _, ok := b.base[d.name]; !ok {
			b.base[d.name] = baseOf(t)
		}
	default:
		return voidType
	}
	b.seen[t] = d
	return d
}

// baseOf describes a base type as dwarf2json does, which calls a bool signed.
func baseOf(t dwarf.Type) baseType {
	base := baseType{size: t.Size(), signed: true, kind: "int"}
	switch t.(type) {
	case *dwarf.UintType:
		base.signed = false
	case *dwarf.UcharType:
		base.signed, base.kind = false, "char"
	case *dwarf.CharType:
		base.kind = "char"
	case *dwarf.BoolType:
		base.kind = "bool"
	case *dwarf.FloatType:
		base.kind = "float"
	}
	return base
}

// named gives a struct, union or enum its name: that of the typedef by which it is spoken of, as
// dwarf2json does and Volatility expects, else its tag, or else a digest of its definition. Of several with one name and different definitions the first keeps
// it, and the others become NAME___2 and so on, so that each reference means the right one.
func (b *builder) named(typedef string, t dwarf.Type) *descriptor {
	d := &descriptor{}
	switch t := t.(type) {
	case *dwarf.StructType:
		d.kind, d.name = t.Kind, t.StructName
		if t.Incomplete {
			if d.name == "" {
				return voidType
			}
			return d
		}
	case *dwarf.EnumType:
		d.kind, d.name = "enum", t.EnumName
	}
	digest := b.digest(t)
	switch {
	case typedef != "":
		d.name = typedef
	case d.name == "":
		d.name = "unnamed_" + hex.EncodeToString(digest[:8])
	}
	key := nameKey{d.kind == "enum", d.name, digest}
	if name, ok := b.names[key]; ok {
		d.name = name
		return d
	}
	count := d.kind + " " + d.name
	if d.kind != "enum" {
		count = " " + d.name // structs and unions share their names
	}
	if b.taken[count]++; b.taken[count] > 1 {
		b.doubles[d.name] = true
		d.name += "___" + strconv.Itoa(b.taken[count])
	}
	b.names[key] = d.name
	b.todo = append(b.todo, pending{d.name, t})
	return d
}

func (b *builder) define(name string, t *dwarf.StructType) {
	u := &userType{kind: t.Kind, size: t.ByteSize, fields: make([]field, 0, len(t.Field))}
	unnamed := 0
	for _, f := range t.Field {
		out := field{name: f.Name, offset: f.ByteOffset, typ: b.describe(f.Type)}
		if f.Name == "" {
			out.name = fmt.Sprintf("unnamed_field_%x", unnamed)
			out.anonymous = true
			unnamed++
		}
		if f.BitSize > 0 {
			out = b.bitfield(f, out)
		}
		u.fields = append(u.fields, out)
	}
	u.sort()
	b.user[name] = u
}

// sort puts the fields in order. Of several with one name, which no compiler makes, the last stays.
func (u *userType) sort() {
	slices.Reverse(u.fields)
	slices.SortStableFunc(u.fields, func(x, y field) int { return strings.Compare(x.name, y.name) })
	u.fields = slices.CompactFunc(u.fields, func(x, y field) bool { return x.name == y.name })
}

// field finds one by its name; nil: there is none.
func (u *userType) field(name string) *field {
	i, ok := slices.BinarySearchFunc(u.fields, name, func(f field, name string) int { return strings.Compare(f.name, name) })
	if !ok {
		return nil
	}
	return &u.fields[i]
}

// bitfield places a bitfield at the byte where it begins.
func (b *builder) bitfield(f *dwarf.StructField, out field) field {
	bits := f.DataBitOffset
	if f.ByteSize > 0 { // DWARF 4 counts from the most significant bit of its storage
		bits = f.BitOffset
		if !b.big {
			bits = 8*f.ByteSize - f.BitOffset - f.BitSize
		}
		bits += 8 * f.ByteOffset
	}
	sub := out.typ
	if sub.kind != "base" && sub.kind != "enum" {
		sub = voidType // ISF allows no other
	}
	out.offset = bits / 8
	out.typ = &descriptor{kind: "bitfield", sub: sub, bits: bits % 8, bitSize: f.BitSize}
	return out
}

func (b *builder) defineEnum(name string, t *dwarf.EnumType) {
	e := &enumType{size: max(t.ByteSize, 0), values: make(map[string]int64, len(t.Val))}
	for _, v := range t.Val {
		e.values[v.Name] = v.Val
	}
	b.enums[name] = e
}

// enumBases gives the enums the base types that hold their values. It is called once all are known.
func (b *builder) enumBases() {
	type form struct {
		size   int64
		signed bool
	}
	bases := map[form]string{}
	for name, t := range b.base {
		f := form{t.size, t.signed}
		if t.kind == "int" && name != "pointer" && (bases[f] == "" || name < bases[f]) {
			bases[f] = name
		}
	}
	for _, e := range b.enums {
		signed := false
		for _, v := range e.values {
			signed = signed || v < 0
		}
		if e.base = bases[form{e.size, signed}]; e.base == "" {
			e.base = "void"
		}
	}
}
