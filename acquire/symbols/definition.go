package symbols

import (
	"cmp"
	"crypto/sha1"
	"debug/dwarf"
	"fmt"
	"strconv"
	"strings"
)

// digest is that of a type's definition, written as debug/dwarf writes it, so that types without a
// name get the one that dwarf2json gives them. debug/dwarf's own writer follows a hostile type for
// ever; this one is bounded.
func (b *builder) digest(t dwarf.Type) [sha1.Size]byte {
	if b.hashed > maxHashed {
		// Nobody's kernel: give each its own name and go on.
		b.hashed++
		return sha1.Sum([]byte(strconv.Itoa(b.hashed)))
	}
	d := definition{known: b.strings, brief: tagged(t)}
	d.define(t, 0)
	b.hashed += d.out.Len()
	if !d.brief {
		b.strings[t] = d.out.String()
	}
	return sha1.Sum([]byte(d.out.String()))
}

// tagged tells whether a struct has a name.
func tagged(t dwarf.Type) bool {
	s, ok := t.(*dwarf.StructType)
	return ok && s.StructName != ""
}

type definition struct {
	out   strings.Builder
	known map[dwarf.Type]string // of structs without a name
	// brief leaves out the values of enums with a name. debug/dwarf writes them, so types without a name
	// need them; but where one unit only declares an enum, one struct would seem two.
	brief bool
}

func (d *definition) add(s string) {
	if d.out.Len() < maxDefinition {
		d.out.WriteString(s)
	}
}

// full tells whether it is pointless to go on.
func (d *definition) full(depth int) bool {
	return depth > maxDepth || d.out.Len() >= maxDefinition
}

// define writes what a struct, union or enum consists of.
func (d *definition) define(t dwarf.Type, depth int) {
	if e, ok := t.(*dwarf.EnumType); ok {
		d.enum(e)
		return
	}
	s := t.(*dwarf.StructType)
	d.add(s.Kind)
	if s.StructName != "" {
		d.add(" " + s.StructName)
	}
	d.add(" {")
	for i, f := range s.Field {
		if d.full(depth) {
			break
		}
		if i > 0 {
			d.add("; ")
		}
		d.add(f.Name + " ")
		d.refer(f.Type, depth+1)
		d.add("@" + strconv.FormatInt(f.ByteOffset, 10))
		if f.BitSize > 0 {
			d.add(" : " + strconv.FormatInt(f.BitSize, 10) + "@" + strconv.FormatInt(cmp.Or(f.BitOffset, f.DataBitOffset), 10))
		}
	}
	d.add("}")
	if s.StructName != "" {
		d.add(fmt.Sprint(s.ByteSize)) // two of one name may differ in no more
	}
}

// refer writes how a type is spoken of.
func (d *definition) refer(t dwarf.Type, depth int) {
	if d.full(depth) {
		return
	}
	switch t := t.(type) {
	case *dwarf.StructType:
		if t.StructName != "" {
			d.add(t.Kind + " " + t.StructName)
		} else if s, ok := d.known[t]; ok {
			d.add(s)
		} else {
			d.define(t, depth)
		}
	case *dwarf.EnumType:
		if d.brief && t.EnumName != "" {
			d.add("enum " + t.EnumName)
		} else {
			d.enum(t)
		}
	case *dwarf.PtrType:
		d.add("*")
		d.refer(t.Type, depth+1)
	case *dwarf.ArrayType:
		d.add("[" + strconv.FormatInt(t.Count, 10) + "]")
		d.refer(t.Type, depth+1)
	case *dwarf.TypedefType:
		d.add(t.Name)
	case *dwarf.QualType:
		if t.Qual != "" {
			d.add(t.Qual + " ")
		}
		d.refer(t.Type, depth+1)
	case *dwarf.FuncType:
		d.function(t, depth)
	case *dwarf.DotDotDotType:
		d.add("...")
	case *dwarf.VoidType, nil:
		d.add("void")
	default:
		d.add(t.Common().Name)
	}
}

func (d *definition) enum(t *dwarf.EnumType) {
	d.add("enum")
	if t.EnumName != "" {
		d.add(" " + t.EnumName)
	}
	d.add(" {")
	for i, v := range t.Val {
		if d.full(0) {
			break
		}
		if i > 0 {
			d.add("; ")
		}
		d.add(v.Name + "=" + strconv.FormatInt(v.Val, 10))
	}
	d.add("}")
}

func (d *definition) function(t *dwarf.FuncType, depth int) {
	d.add("func(")
	for i, p := range t.ParamType {
		if d.full(depth) {
			break
		}
		if i > 0 {
			d.add(", ")
		}
		d.refer(p, depth+1)
	}
	d.add(")")
	if t.ReturnType != nil {
		d.add(" ")
		d.refer(t.ReturnType, depth+1)
	}
}
