package symbols

import (
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"io"
)

// maxSection bounds a section of a vmlinux. Distributions' have 300 MB of DWARF.
const maxSection = 2 << 30

// dwRust is DW_LANG_Rust, whose types Volatility has no use for.
const dwRust = 0x1c

// A vmlinux is the kernel as the linker left it, with debug information. It comes from the
// distribution, not from the host: unlike BTF, DWARF is not checked before it is read.
type vmlinux struct {
	from  io.ReaderAt
	file  *elf.File
	parts map[string][]byte
}

func openVmlinux(r io.ReaderAt) (*vmlinux, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("read vmlinux: %w", err)
	}
	return &vmlinux{from: r, file: f}, nil
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

// load unpacks the sections of DWARF that its units share.
func (v *vmlinux) load() error {
	v.parts = map[string][]byte{}
	for _, name := range []string{"abbrev", "str", "line_str", "str_offsets", "addr"} {
		if s := v.section(name); s != nil {
			if err := v.unpack(name, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// section is one of DWARF's; nil: there is none.
func (v *vmlinux) section(name string) *elf.Section {
	s := v.file.Section(".debug_" + name)
	if s == nil || s.Type == elf.SHT_NOBITS || s.Size == 0 {
		return nil
	}
	return s
}

func (v *vmlinux) unpack(name string, s *elf.Section) error {
	if s.Size > maxSection {
		return fmt.Errorf("read the DWARF of vmlinux: section %s has %d bytes", s.Name, s.Size)
	}
	raw, err := s.Data()
	if err != nil {
		return fmt.Errorf("read the DWARF of vmlinux: %w", err)
	}
	v.parts[name] = raw
	return nil
}

// data begins to read the units in info, remembering nothing.
func (v *vmlinux) data(info []byte) (*dwarf.Data, error) {
	d, err := dwarf.New(v.parts["abbrev"], nil, nil, info, nil, nil, nil, v.parts["str"])
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
	*vmlinux
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
	info := v.section("info")
	if info == nil {
		return fmt.Errorf("vmlinux has no DWARF (it is stripped): %w", ErrNoTypes)
	}
	if info.Size > maxSection {
		return fmt.Errorf("read the DWARF of vmlinux: section %s has %d bytes", info.Name, info.Size)
	}
	if err := v.load(); err != nil {
		return err
	}
	d := &dwarfReader{vmlinux: v, builder: b, seen: map[seenKey]bool{}, vars: vars, found: map[string]bool{}}
	for u := newUnitReader(info.Open(), int64(info.Size), v.file.ByteOrder, v.parts["abbrev"]); ; {
		units, err := u.next()
		if errors.Is(err, errAcross) {
			return d.whole(info, dwarf.Offset(u.at))
		}
		if err != nil {
			return fmt.Errorf("read the DWARF of vmlinux: %w", err)
		}
		if len(units) == 0 {
			return nil
		}
		if d.data, err = v.data(units); err != nil {
			return err
		}
		if err := d.units(0); err != nil {
			return err
		}
	}
}

// whole reads the units from one on with all of them at hand, since they refer to each other.
func (d *dwarfReader) whole(info *elf.Section, from dwarf.Offset) error {
	all, unmap := mapped(d.from, info)
	if all == nil {
		if err := d.unpack("info", info); err != nil {
			return err
		}
	} else {
		d.parts["info"] = all
		defer func() {
			d.data, d.parts["info"] = nil, nil
			unmap() //nolint:errcheck // nothing depends on it
		}()
	}
	return faults(func() (err error) {
		if d.data, err = d.vmlinux.data(d.parts["info"]); err != nil {
			return err
		}
		return d.units(from)
	})
}

// units takes what units define, from the one whose first entry is at or behind an offset.
func (d *dwarfReader) units(from dwarf.Offset) error {
	r := d.data.Reader()
	for n := 0; ; {
		e, err := r.Next()
		if err != nil {
			return fmt.Errorf("read the DWARF of vmlinux: %w", err)
		}
		if e == nil {
			return nil
		}
		if e.Offset < from || rust(e) {
			r.SkipChildren()
			continue
		}
		if n%unitsAtOnce == 0 {
			d.forget()
			if n > 0 { // there are more than a batch has: all are at hand
				if d.data, err = d.vmlinux.data(d.parts["info"]); err != nil {
					return err
				}
				r = d.data.Reader()
				r.Seek(e.Offset)
				if e, err = r.Next(); err != nil {
					return fmt.Errorf("read the DWARF of vmlinux: %w", err)
				}
			}
		}
		n++
		if !e.Children {
			continue
		}
		if err := d.unit(r); err != nil {
			return fmt.Errorf("read the DWARF of vmlinux: %w", err)
		}
	}
}

// unit takes what a unit defines at its top, from behind its first entry to its end.
func (d *dwarfReader) unit(r *dwarf.Reader) error {
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
	at, typed := e.Val(dwarf.AttrType).(dwarf.Offset) // a definition may know more than its declaration
	for range 2 {                                     // LTO's is of an origin, which is of a declaration
		from, ok := of.Val(dwarf.AttrSpecification).(dwarf.Offset)
		if !ok {
			from, ok = of.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
		}
		if !ok {
			break
		}
		r := d.data.Reader()
		r.Seek(from)
		var err error
		if of, err = r.Next(); err != nil || of == nil {
			return err
		}
		if !typed {
			at, typed = of.Val(dwarf.AttrType).(dwarf.Offset)
		}
	}
	name, _ := of.Val(dwarf.AttrName).(string)
	here := e.Val(dwarf.AttrLocation) != nil
	if name == "" || !typed || d.found[name] || d.vars[name] != nil && !here {
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
