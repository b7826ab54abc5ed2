package symbols

import (
	"bytes"
	"debug/dwarf"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf/btf"
)

// Bounds on BTF. Distributions' kernels have 4 to 10 MiB and up to 200 thousand types.
const (
	MaxBTF   = 48 << 20
	maxTypes = 1 << 20
)

// kernelTypes are the types and variables of BTF in the form of debug/dwarf, in BTF's order.
type kernelTypes struct {
	all  []dwarf.Type
	vars map[string]dwarf.Type
}

// readBTF reads a kernel's BTF, and that of modules on top of it. What is wrong with a module's is
// told in notes and leaves that module out.
func readBTF(raw []byte, modules map[string][]byte) (k kernelTypes, big bool, notes []string, err error) {
	big, ids, err := checkBTF(raw, 0, 0)
	if err != nil {
		return k, big, nil, fmt.Errorf("read BTF: %w", err)
	}
	base, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		return k, big, nil, fmt.Errorf("read BTF: %w", err)
	}
	c := converter{vars: map[string]dwarf.Type{}}
	if err := c.take(base, 0); err != nil {
		return k, big, nil, fmt.Errorf("read BTF: %w", err)
	}
	c.kernel = c.nodes
	strings := stringBytes(raw)
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		if err := c.module(base, modules[name], ids, strings); err != nil {
			notes = append(notes, fmt.Sprintf("the types of module %q are left out: %v", name, err))
		}
	}
	return kernelTypes{c.all, c.vars}, big, notes, nil
}

// A converter makes debug/dwarf's types of BTF's. It allocates first and links later, so that no
// type, however built, makes it recurse.
type converter struct {
	spec   *btf.Spec
	first  btf.TypeID   // of nodes
	nodes  []dwarf.Type // by ID, of the BTF under way; nil: no type in C
	kernel []dwarf.Type // those of the kernel, while a module's are read
	all    []dwarf.Type
	vars   map[string]dwarf.Type
}

func (c *converter) module(base *btf.Spec, raw []byte, ids, strings uint32) error {
	if _, _, err := checkBTF(raw, ids, strings); err != nil {
		return err
	}
	spec, err := btf.LoadSplitSpecFromReader(bytes.NewReader(raw), base)
	if err != nil {
		return err
	}
	return c.take(spec, btf.TypeID(ids))
}

// take converts the types of spec, the first of which has the ID first.
func (c *converter) take(spec *btf.Spec, first btf.TypeID) error {
	c.spec, c.first, c.nodes = spec, first, nil
	for t, err := range spec.All() {
		if err != nil {
			return err
		}
		n := allocate(t)
		if n == nil {
			continue
		}
		id, err := spec.TypeID(t)
		if err != nil {
			return err
		}
		for btf.TypeID(len(c.nodes)) <= id-first { // what is no type has an ID, too
			c.nodes = append(c.nodes, nil)
		}
		c.nodes[id-first] = n
		c.all = append(c.all, n)
	}
	for t := range spec.All() {
		c.link(t)
	}
	return nil
}

// allocate makes the node of a type, without what it refers to; nil for what is no type in C.
func allocate(t btf.Type) dwarf.Type {
	switch t := t.(type) {
	case *btf.Int:
		return integer(t)
	case *btf.Float:
		return &dwarf.FloatType{BasicType: dwarf.BasicType{CommonType: common(t.Name, t.Size)}}
	case *btf.Pointer:
		return &dwarf.PtrType{CommonType: common("", 8)} // BTF does not say; kernels that have it have 64 bits
	case *btf.Array:
		return &dwarf.ArrayType{Count: int64(t.Nelems)}
	case *btf.Struct:
		return &dwarf.StructType{CommonType: common(t.Name, t.Size), Kind: "struct", StructName: t.Name}
	case *btf.Union:
		return &dwarf.StructType{CommonType: common(t.Name, t.Size), Kind: "union", StructName: t.Name}
	case *btf.Fwd:
		kind := "struct"
		if t.Kind == btf.FwdUnion {
			kind = "union"
		}
		return &dwarf.StructType{Kind: kind, StructName: t.Name, Incomplete: true}
	case *btf.Enum:
		e := &dwarf.EnumType{CommonType: common(t.Name, t.Size), EnumName: t.Name}
		for _, v := range t.Values {
			n := int64(v.Value)
			if !t.Signed && t.Size == 4 {
				n = int64(uint32(v.Value))
			}
			e.Val = append(e.Val, &dwarf.EnumValue{Name: v.Name, Val: n})
		}
		return e
	case *btf.Typedef:
		return &dwarf.TypedefType{CommonType: common(t.Name, 0)}
	case *btf.Const:
		return &dwarf.QualType{Qual: "const"}
	case *btf.Volatile:
		return &dwarf.QualType{Qual: "volatile"}
	case *btf.Restrict:
		return &dwarf.QualType{Qual: "restrict"}
	case *btf.TypeTag:
		return &dwarf.QualType{}
	case *btf.FuncProto:
		return &dwarf.FuncType{}
	}
	return nil
}

func common(name string, size uint32) dwarf.CommonType {
	return dwarf.CommonType{Name: name, ByteSize: int64(size)}
}

// integer tells characters by their names: BTF does not mark them reliably.
func integer(t *btf.Int) dwarf.Type {
	basic := dwarf.BasicType{CommonType: common(t.Name, t.Size)}
	switch {
	case t.Encoding == btf.Bool:
		return &dwarf.BoolType{BasicType: basic}
	case t.Name == "char" || t.Name == "signed char":
		return &dwarf.CharType{BasicType: basic}
	case t.Name == "unsigned char":
		return &dwarf.UcharType{BasicType: basic}
	case t.Encoding == btf.Signed:
		return &dwarf.IntType{BasicType: basic}
	}
	return &dwarf.UintType{BasicType: basic}
}

// link fills in what a type refers to.
func (c *converter) link(t btf.Type) {
	node := c.of(t)
	switch t := t.(type) {
	case *btf.Pointer:
		node.(*dwarf.PtrType).Type = c.of(t.Target)
	case *btf.Array:
		node.(*dwarf.ArrayType).Type = c.of(t.Type)
	case *btf.Struct:
		c.fields(node.(*dwarf.StructType), t.Members)
	case *btf.Union:
		c.fields(node.(*dwarf.StructType), t.Members)
	case *btf.Typedef:
		node.(*dwarf.TypedefType).Type = c.of(t.Type)
	case *btf.Const:
		node.(*dwarf.QualType).Type = c.of(t.Type)
	case *btf.Volatile:
		node.(*dwarf.QualType).Type = c.of(t.Type)
	case *btf.Restrict:
		node.(*dwarf.QualType).Type = c.of(t.Type)
	case *btf.TypeTag:
		node.(*dwarf.QualType).Type = c.of(t.Type)
	case *btf.FuncProto:
		f := node.(*dwarf.FuncType)
		for _, p := range t.Params {
			f.ParamType = append(f.ParamType, c.param(p))
		}
		f.ReturnType = c.of(t.Return)
	case *btf.Var:
		c.vars[t.Name] = c.of(t.Type)
	}
}

// param is the type of a parameter; that of one without name and type stands for all that follow.
func (c *converter) param(p btf.FuncParam) dwarf.Type {
	if _, void := p.Type.(*btf.Void); void {
		return &dwarf.DotDotDotType{}
	}
	return c.of(p.Type)
}

// void is what every reference to no type is to.
var void = &dwarf.VoidType{}

// of is the node of a type.
func (c *converter) of(t btf.Type) dwarf.Type {
	id, err := c.spec.TypeID(t)
	if err != nil || id == 0 {
		return void
	}
	nodes := c.kernel
	if id >= c.first {
		nodes, id = c.nodes, id-c.first
	}
	if id >= btf.TypeID(len(nodes)) || nodes[id] == nil {
		return void
	}
	return nodes[id]
}

func (c *converter) fields(s *dwarf.StructType, members []btf.Member) {
	s.Field = make([]*dwarf.StructField, len(members))
	for i, m := range members {
		f := &dwarf.StructField{Name: m.Name, Type: c.of(m.Type), BitSize: int64(m.BitfieldSize)}
		if f.BitSize > 0 {
			f.DataBitOffset = int64(m.Offset)
		} else {
			f.ByteOffset = int64(m.Offset / 8)
		}
		s.Field[i] = f
	}
}
