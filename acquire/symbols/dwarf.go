package symbols

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"io"
)

// unitsAtOnce is how many compilation units are read before what the reader remembers of them is
// dropped. A kernel has thousands, and the types of all of them at once take gigabytes.
const unitsAtOnce = 64

// maxSection bounds a section of a vmlinux. Distributions' have 300 MB of DWARF.
const maxSection = 2 << 30

// dwRust is DW_LANG_Rust, whose types Volatility has no use for.
const dwRust = 0x1c

// A vmlinux is the kernel as the linker left it, with debug information. It comes from the
// distribution, not from the host: unlike BTF, DWARF is not checked before it is read.
type vmlinux struct {
	file  *elf.File
	parts map[string][]byte
}

func openVmlinux(r io.ReaderAt) (*vmlinux, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("read vmlinux: %w", err)
	}
	return &vmlinux{file: f}, nil
}

// symbols lists its symbol table.
func (v *vmlinux) symbols() (*list, error) {
	all, err := v.file.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read the symbols of vmlinux: %w", err)
	}
	l := &list{addr: map[string]uint64{}, global: map[string]bool{}, zero: true}
	for _, s := range all {
		if kind := elf.ST_TYPE(s.Info); s.Name == "" || s.Section == elf.SHN_UNDEF || kind == elf.STT_FILE || kind == elf.STT_SECTION {
			continue
		}
		l.add(s.Name, s.Value, elf.ST_BIND(s.Info) != elf.STB_LOCAL)
	}
	return l, l.usable()
}

// banner is what the symbol of that name holds.
func (v *vmlinux) banner() ([]byte, error) {
	all, err := v.file.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read the symbols of vmlinux: %w", err)
	}
	for _, s := range all {
		if s.Name != bannerSymbol || int(s.Section) >= len(v.file.Sections) {
			continue
		}
		in := v.file.Sections[s.Section]
		text := make([]byte, min(s.Size, maxBanner))
		if _, err := in.ReadAt(text, int64(s.Value-in.Addr)); err != nil {
			return nil, fmt.Errorf("read the banner of vmlinux: %w", err)
		}
		return text, nil
	}
	return nil, ErrNoBanner
}

// load unpacks the sections of DWARF.
func (v *vmlinux) load() error {
	v.parts = map[string][]byte{}
	for _, name := range []string{"abbrev", "info", "str", "line_str", "str_offsets", "addr"} {
		s := v.file.Section(".debug_" + name)
		if s == nil || s.Type == elf.SHT_NOBITS {
			continue
		}
		if s.Size > maxSection {
			return fmt.Errorf("read the DWARF of vmlinux: section %s has %d bytes", s.Name, s.Size)
		}
		raw, err := s.Data()
		if err != nil {
			return fmt.Errorf("read the DWARF of vmlinux: %w", err)
		}
		v.parts[name] = raw
	}
	if len(v.parts["info"]) == 0 {
		return fmt.Errorf("vmlinux has no DWARF (it is stripped): %w", ErrNoTypes)
	}
	return nil
}

// data begins to read DWARF, remembering nothing.
func (v *vmlinux) data() (*dwarf.Data, error) {
	d, err := dwarf.New(v.parts["abbrev"], nil, nil, v.parts["info"], nil, nil, nil, v.parts["str"])
	if err != nil {
		return nil, fmt.Errorf("read the DWARF of vmlinux: %w", err)
	}
	for _, name := range []string{"line_str", "str_offsets", "addr"} {
		if raw := v.parts[name]; raw != nil {
			if err := d.AddSection(".debug_"+name, raw); err != nil {
				return nil, fmt.Errorf("read the DWARF of vmlinux: %w", err)
			}
		}
	}
	return d, nil
}

// A dwarfReader takes the types and variables of one unit after the other.
type dwarfReader struct {
	*builder
	data  *dwarf.Data
	seen  map[seenKey]bool
	vars  map[string]*descriptor
	found map[string]bool // variables whose definition was seen, not only a declaration
}

// seenKey tells a type that another unit had already, without reading it.
type seenKey struct {
	tag        dwarf.Tag
	name       string
	size, line int64
}

// readDWARF collects types and variables.
func (v *vmlinux) readDWARF(b *builder, vars map[string]*descriptor) error {
	b.big = v.file.Data == elf.ELFDATA2MSB
	if err := v.load(); err != nil {
		return err
	}
	data, err := v.data()
	if err != nil {
		return err
	}
	var units []dwarf.Offset
	r := data.Reader()
	for {
		e, err := r.Next()
		if err != nil {
			return fmt.Errorf("read the DWARF of vmlinux: %w", err)
		}
		if e == nil {
			break
		}
		if lang, _ := e.Val(dwarf.AttrLanguage).(int64); lang != dwRust {
			units = append(units, e.Offset)
		}
		r.SkipChildren()
	}
	d := &dwarfReader{builder: b, data: data, seen: map[seenKey]bool{}, vars: vars, found: map[string]bool{}}
	for i, at := range units {
		if i > 0 && i%unitsAtOnce == 0 {
			b.forget()
			if d.data, err = v.data(); err != nil {
				return err
			}
		}
		if err := d.unit(at); err != nil {
			return fmt.Errorf("read the DWARF of vmlinux: %w", err)
		}
	}
	return nil
}

// unit takes what a unit defines at its top.
func (d *dwarfReader) unit(at dwarf.Offset) error {
	r := d.data.Reader()
	r.Seek(at)
	if e, err := r.Next(); err != nil || e == nil || !e.Children {
		return err
	}
	for {
		e, err := r.Next()
		if err != nil {
			return err
		}
		if e == nil || e.Tag == 0 {
			return nil
		}
		switch e.Tag {
		case dwarf.TagStructType, dwarf.TagUnionType, dwarf.TagEnumerationType, dwarf.TagTypedef, dwarf.TagBaseType:
			err = d.define(e)
		case dwarf.TagVariable:
			err = d.variable(e)
		}
		if err != nil {
			return err
		}
		r.SkipChildren()
	}
}

func (d *dwarfReader) define(e *dwarf.Entry) error {
	key := seenKey{tag: e.Tag}
	key.name, _ = e.Val(dwarf.AttrName).(string)
	key.size, _ = e.Val(dwarf.AttrByteSize).(int64)
	key.line, _ = e.Val(dwarf.AttrDeclLine).(int64)
	if declared, _ := e.Val(dwarf.AttrDeclaration).(bool); declared {
		return nil
	}
	if key.name == "" && e.Tag != dwarf.TagEnumerationType {
		return nil // comes with what is made of it
	}
	if key.name == "" { // constants are used without; their first tells them apart
		key.name = " " + d.first(e)
	}
	if d.seen[key] {
		return nil
	}
	t, err := d.data.Type(e.Offset)
	if err != nil {
		return err
	}
	d.builder.add(t)
	if e.Tag != dwarf.TagTypedef || isNamed(t) {
		d.seen[key] = true
	}
	return nil
}

// first is the name of the first child of an entry.
func (d *dwarfReader) first(e *dwarf.Entry) string {
	r := d.data.Reader()
	r.Seek(e.Offset)
	r.Next()
	child, err := r.Next()
	if err != nil || child == nil {
		return ""
	}
	name, _ := child.Val(dwarf.AttrName).(string)
	return name
}

func (d *dwarfReader) variable(e *dwarf.Entry) error {
	of := e
	if spec, ok := e.Val(dwarf.AttrSpecification).(dwarf.Offset); ok {
		r := d.data.Reader()
		r.Seek(spec)
		var err error
		if of, err = r.Next(); err != nil || of == nil {
			return err
		}
	}
	name, _ := of.Val(dwarf.AttrName).(string)
	at, ok := e.Val(dwarf.AttrType).(dwarf.Offset) // a definition may know more than its declaration
	if !ok {
		at, ok = of.Val(dwarf.AttrType).(dwarf.Offset)
	}
	here := e.Val(dwarf.AttrLocation) != nil
	if name == "" || !ok || d.found[name] || d.vars[name] != nil && !here {
		return nil
	}
	t, err := d.data.Type(at)
	if err != nil {
		return err
	}
	d.vars[name] = d.builder.add(t)
	d.found[name] = here
	return nil
}
