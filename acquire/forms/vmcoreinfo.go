package forms

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A Finder is a Writer that looks for VMCOREINFO, the kernel's note to debuggers: in memory it begins a page, as the
// text alone and as an ELF note.
type Finder struct {
	// Release, if set, is the kernel that is looked for: memory may hold the notes of others, such as of guests.
	Release string

	addr  uint64
	page  []byte // the start of one that is not whole yet
	found []byte
	other int // that were not taken
}

// maxInfo is the kernel's own bound: VMCOREINFO_BYTES is a page.
const maxInfo = lime.PageSize

// Begin implements Writer.
func (f *Finder) Begin(r lime.Range) error {
	f.addr, f.page = r.Start, f.page[:0]
	return nil
}

// Write implements Writer.
func (f *Finder) Write(p []byte) (n int, err error) {
	n = len(p)
	for len(p) > 0 {
		into := f.addr % lime.PageSize
		m := min(lime.PageSize-into, uint64(len(p)))
		switch {
		case m == lime.PageSize:
			f.look(p[:m])
		case into == uint64(len(f.page)):
			if f.page = append(f.page, p[:m]...); len(f.page) == lime.PageSize {
				f.look(f.page)
				f.page = f.page[:0]
			}
		}
		p = p[m:]
		f.addr += m
	}
	return n, nil
}

// Close implements Writer.
func (f *Finder) Close() error { return nil }

var noteName = []byte("VMCOREINFO\x00")

func (f *Finder) look(page []byte) {
	text := page
	if bytes.Equal(page[12:12+len(noteName)], noteName) && binary.LittleEndian.Uint32(page) == uint32(len(noteName)) {
		text = page[24:min(24+int(min(binary.LittleEndian.Uint32(page[4:]), maxInfo)), len(page))]
	}
	if !bytes.HasPrefix(text, []byte("OSRELEASE=")) {
		return
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		text = text[:i]
	}
	info, err := ParseVMCoreInfo(text)
	switch {
	case err != nil:
	case f.Release != "" && info.Release() != f.Release, f.found != nil && !bytes.Equal(f.found, text):
		f.other++
	default:
		f.found = bytes.Clone(text)
	}
}

// Found returns the text, nil where there is none, and how many others there were.
func (f *Finder) Found() (text []byte, others int) { return f.found, f.other }

// VMCoreInfo is what the kernel tells debuggers, by name: SYMBOL(init_top_pgt), NUMBER(phys_base) and so on.
type VMCoreInfo map[string]string

// ParseVMCoreInfo reads the text of the note: lines NAME=VALUE.
func ParseVMCoreInfo(text []byte) (VMCoreInfo, error) {
	if len(text) > MaxVMCoreInfo {
		return nil, fmt.Errorf("VMCOREINFO has %d bytes, more than %d", len(text), MaxVMCoreInfo)
	}
	v := VMCoreInfo{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n\x00")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, fmt.Errorf("VMCOREINFO: %q is not NAME=VALUE", line)
		}
		v[name] = value
	}
	for _, name := range []string{"OSRELEASE", "PAGESIZE"} {
		if v[name] == "" {
			return nil, fmt.Errorf("VMCOREINFO: there is no %s", name)
		}
	}
	return v, nil
}

// Release returns the kernel's release.
func (v VMCoreInfo) Release() string { return v["OSRELEASE"] }

// symbol returns an address; they are hexadecimal.
func (v VMCoreInfo) symbol(name string) (uint64, bool) {
	n, err := strconv.ParseUint(v["SYMBOL("+name+")"], 16, 64)
	return n, err == nil
}

// number returns a number; they are decimal, and may be negative.
func (v VMCoreInfo) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(v["NUMBER("+name+")"], 10, 64)
	return n, err == nil
}

const (
	pagePresent = 1 << 0
	pageLarge   = 1 << 7
	pageFrame   = 0x000ffffffffff000
	textBase    = 0xffffffff80000000 // __START_KERNEL_map
	maxTables   = 512                // that are looked at: a hostile image has any number
)

// DirectMap returns where an x86-64 kernel maps all of memory (page_offset_base), by its page tables: read reads memory
// at a physical address. Not ok: they are not what info says, or not there, or it is another machine.
func DirectMap(m elf.Machine, info VMCoreInfo, read func(p []byte, phys uint64) error) (base uint64, ok bool) {
	if m != MachineX86 {
		return 0, false
	}
	top, ok := info.symbol("init_top_pgt")
	if !ok {
		top, ok = info.symbol("swapper_pg_dir")
	}
	phys, ok2 := info.number("phys_base")
	if !ok || !ok2 || top < textBase {
		return 0, false
	}
	tables := 0
	table := func(at uint64) (t [512]uint64, ok bool) {
		var b [lime.PageSize]byte
		if tables++; tables > maxTables || read(b[:], at&pageFrame) != nil {
			return t, false
		}
		for i := range t {
			t[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
		return t, true
	}
	levels := 4
	if n, ok := info.number("pgtable_l5_enabled"); ok && n == 1 {
		levels = 5
	}
	// down returns the lowest mapped address below an entry, and what it maps.
	var down func(entry, virt uint64, level int) (v, p uint64, ok bool)
	down = func(entry, virt uint64, level int) (v, p uint64, ok bool) {
		if entry&pagePresent == 0 {
			return 0, 0, false
		}
		if level == 0 || entry&pageLarge != 0 && level <= 2 {
			return virt, entry & pageFrame &^ (1<<(12+9*level) - 1), true
		}
		t, ok := table(entry)
		for i := 0; ok && i < len(t); i++ {
			if v, p, ok := down(t[i], virt|uint64(i)<<(12+9*(level-1)), level-1); ok {
				return v, p, true
			}
		}
		return 0, 0, false
	}
	root, ok := table(top - textBase + uint64(phys))
	if !ok {
		return 0, false
	}
	for i := 256; i < 512; i++ { // the kernel's half; the direct map is its first mapping but for Xen's and the LDT's
		shift := 12 + 9*(levels-1)
		virt := uint64(i) << shift
		virt |= ^uint64(0) << (shift + 9)
		if virt>>39 == 0xffff800000000000>>39 && levels == 4 {
			continue
		}
		if v, p, ok := down(root[i], virt, levels-1); ok && v >= p && (v-p)%(1<<30) == 0 {
			return v - p, true
		}
	}
	return 0, false
}
