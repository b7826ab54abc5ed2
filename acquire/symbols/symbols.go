// Package symbols writes the symbol file that Volatility 3 needs to read a Linux kernel's memory: the
// kernel's types, symbols and banner in the intermediate symbol format (ISF), made from what the running kernel
// tells of itself. No debug symbols are needed, and nothing is downloaded.
//
// Types come from BTF, or where a kernel has none from the DWARF of its debug vmlinux. Symbols come from kallsyms or
// System.map; their addresses are those before KASLR moved the kernel, as the linker gave them. BTF
// types few variables, so a table says which type each variable has that Volatility's plugins
// read as one; what such a type looks like comes from BTF always. The banner is what Volatility finds the
// file by: it has to be the image's, byte for byte.
//
// All inputs are the word of whoever is root on the host. They are bounded, and what is wrong with
// them is an error, a note or a missing item in the [Report], never a panic. The output is the same for the same inputs.
package symbols

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/dwarf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/ulikunitz/xz"
)

// ErrNoTypes is wrapped when there is neither BTF nor DWARF, ErrNoSymbols when there is no usable list of
// symbols, ErrNoBanner when there is no banner. Without any of them there is no symbol file.
var (
	ErrNoTypes   = errors.New("there are no types: the kernel has no BTF, and no debug vmlinux was given")
	ErrNoSymbols = errors.New("there are no symbols")
	ErrNoBanner  = errors.New("there is no banner: it is in /proc/version")
)

// Inputs are what a symbol file is made of. Each is as the kernel or its package has it.
type Inputs struct {
	BTF       []byte            // /sys/kernel/btf/vmlinux
	ModuleBTF map[string][]byte // /sys/kernel/btf/NAME by name, for types that only modules have
	// Vmlinux is an ELF with debug information, from the distribution: it is not to come from the host. It
	// gives what the others do not.
	Vmlinux io.ReaderAt

	Kallsyms   []byte // /proc/kallsyms, read by root
	SystemMap  []byte // System.map of exactly this kernel
	Banner     []byte // /proc/version, or the banner found in the image
	VMCoreInfo []byte // the note of that name: text, or bytes that contain it, as the head of /proc/kcore

	Version string // of the program, for the file's metadata
}

// Release is that of the kernel, as VMCOREINFO or the banner have it; empty: they do not say.
func (in Inputs) Release() string {
	return cmp.Or(parseNote(in.VMCoreInfo)["OSRELEASE"], releaseOf(string(in.Banner)))
}

// A Report tells what a symbol file holds, and what it lacks.
type Report struct {
	Banner  string `json:"banner"`
	Release string `json:"release,omitempty"` // of the kernel
	Types   string `json:"types_from"`        // "btf" or "dwarf"

	BaseTypes    int `json:"base_types"`
	UserTypes    int `json:"user_types"`
	Enums        int `json:"enums"`
	Symbols      int `json:"symbols"`
	TypedSymbols int `json:"typed_symbols"` // with another type than void

	// KernelOffset is what KASLR added to the addresses of kallsyms, in bytes, and what was subtracted.
	KernelOffset uint64 `json:"kernel_offset"`
	// FiveLevel is set if the kernel ran with five levels of page tables, which Volatility cannot read.
	FiveLevel bool `json:"five_level_page_tables,omitempty"`

	Missing []Missing `json:"missing"`
	Notes   []string  `json:"notes"`

	JSONBytes  int64  `json:"json_bytes"`
	JSONSHA256 string `json:"json_sha256"`
	Bytes      int64  `json:"bytes"` // as written, compressed
	SHA256     string `json:"sha256"`
}

// Missing is a symbol or type that is not in the file, and the plugins of Volatility that do less for it.
type Missing struct {
	Name    string   `json:"name"`
	Plugins []string `json:"plugins"`
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Write writes the symbol file, JSON in xz, to w. An error means that what was written is no symbol file; the report
// says then what is known so far. Of a distribution's kernel it takes Memory, from DWARF 200 MB, and
// where units of that refer to each other (LTO) 1 GB.
func Write(w io.Writer, in Inputs) (Report, error) {
	stored := newDigest(w)
	z, err := xz.WriterConfig{CheckSum: xz.CRC32, DictCap: xzWindow}.NewWriter(stored)
	if err != nil {
		return Report{}, fmt.Errorf("compress the symbol file: %w", err)
	}
	rep, err := WriteJSON(z, in)
	if err != nil {
		return rep, err
	}
	if err := z.Close(); err != nil {
		return rep, fmt.Errorf("write the symbol file: %w", err)
	}
	rep.Bytes, rep.SHA256 = stored.n, stored.hex()
	return rep, nil
}

// Memory is what Write takes on the heap beside its inputs, at most, in bytes: of a kernel with BTF of 6 MB and 200
// thousand symbols. BTF of the 48 MB that are taken at most needs several times as much.
const Memory = 96 << 20

// xzWindow is how far back xz looks, in bytes. With its default of 8 MiB the encoder takes 58 MB of memory, with
// this 7, and the file of a distribution's kernel is 1 % larger.
const xzWindow = 1 << 20

// WriteJSON is Write without compression.
func WriteJSON(w io.Writer, in Inputs) (Report, error) {
	rep := Report{Missing: []Missing{}, Notes: []string{}}
	var v *vmlinux
	if in.Vmlinux != nil {
		var err error
		if v, err = openVmlinux(in.Vmlinux); err != nil {
			return rep, err
		}
		if len(in.Banner) == 0 {
			if in.Banner, err = v.banner(); err != nil {
				return rep, err
			}
		}
	}
	banner, err := bannerData(in.Banner)
	if err != nil {
		return rep, err
	}
	rep.Banner = string(bytes.TrimRight(banner, "\n\x00"))
	note := parseNote(in.VMCoreInfo)
	rep.Release, rep.FiveLevel = cmp.Or(note["OSRELEASE"], releaseOf(rep.Banner)), note.fiveLevel()
	if rep.FiveLevel {
		rep.note("the kernel ran with five levels of page tables (la57), which Volatility 3 cannot read: its plugins find nothing; crash and drgn can")
	}
	if r := releaseOf(rep.Banner); rep.Release != r {
		rep.note("VMCOREINFO is of kernel %q, the banner of %q", rep.Release, r)
	}
	syms, at, err := gather(in, v, note, &rep)
	if err != nil {
		return rep, err
	}
	b, vars, err := types(in, v, &rep)
	if err != nil {
		return rep, err
	}
	f := &file{builder: b, addr: syms, at: at, vars: map[string]*descriptor{}, banner: banner, meta: metadataOf(in)}
	if _, ok := syms["init_task"]; !ok {
		return rep, fmt.Errorf("%w: there are %d, and init_task is not among them, without which no plugin works; kernels built without CONFIG_KALLSYMS_ALL list functions alone: System.map has the rest",
			ErrNoSymbols, len(syms))
	}
	f.typeSymbols(vars, &rep)
	b.finish()
	rep.BaseTypes, rep.UserTypes, rep.Enums, rep.Symbols = len(b.base), len(b.user), len(b.enums), len(f.addr)
	rep.Missing = append(rep.Missing, f.missing()...)
	settle()
	out := newDigest(w)
	if err := f.encode(out); err != nil {
		return rep, fmt.Errorf("write the symbol file: %w", err)
	}
	rep.JSONBytes, rep.JSONSHA256 = out.n, out.hex()
	return rep, nil
}

// types collects the kernel's types and returns the references to its variables'.
func types(in Inputs, v *vmlinux, rep *Report) (*builder, map[string]*descriptor, error) {
	b := newBuilder()
	vars := map[string]*descriptor{}
	switch {
	case len(in.BTF) > 0:
		rep.Types = "btf"
		k, big, notes, err := readBTF(in.BTF, in.ModuleBTF)
		if err != nil {
			return nil, nil, err
		}
		settle()
		rep.Notes = append(rep.Notes, notes...)
		b.big = big
		for _, t := range k.all {
			if isNamed(t) {
				b.add(t)
			}
		}
		for _, name := range sortedKeys(k.vars) {
			vars[name] = b.add(k.vars[name])
		}
		b.forget()
	case v != nil:
		rep.Types = "dwarf"
		if err := v.readDWARF(b, vars); err != nil {
			return nil, nil, err
		}
	default:
		return nil, nil, ErrNoTypes
	}
	return b, vars, nil
}

// settle frees what the last step left. Without it the next one would take its room beside that: twice as much, of a
// machine that may be taking other hosts' memory meanwhile.
func settle() { runtime.GC() }

// isNamed tells whether a type is one that ISF defines by itself, not only as a part of others.
func isNamed(t dwarf.Type) bool {
	switch t := t.(type) {
	case *dwarf.StructType:
		return !t.Incomplete
	case *dwarf.TypedefType:
		s, ok := t.Type.(*dwarf.StructType)
		return ok && !s.Incomplete
	case *dwarf.EnumType, *dwarf.BoolType, *dwarf.CharType, *dwarf.IntType, *dwarf.FloatType, *dwarf.UcharType, *dwarf.UintType:
		return true
	}
	return false
}

// maxBanner is more than the kernel's own limit.
const maxBanner = 4096

// bannerData is the banner as it lies in memory: it ends with a line feed and a zero byte.
func bannerData(raw []byte) ([]byte, error) {
	text := bytes.TrimRight(raw, "\n\x00")
	switch {
	case len(text) == 0:
		return nil, ErrNoBanner
	case len(text) > maxBanner || !bytes.HasPrefix(text, []byte("Linux version ")) || bytes.ContainsAny(text, "\n\x00"):
		return nil, fmt.Errorf("%.80q is not the banner of a Linux kernel", text)
	}
	return append(bytes.Clone(text), '\n', 0), nil
}

// releaseOf is the third word of a banner.
func releaseOf(banner string) string {
	words := bytes.Fields([]byte(banner))
	if len(words) < 3 {
		return ""
	}
	return string(words[2])
}

// A digestWriter hashes and counts what passes.
type digestWriter struct {
	io.Writer
	n   int64
	sum interface{ Sum([]byte) []byte }
}

func newDigest(w io.Writer) *digestWriter {
	h := sha256.New()
	return &digestWriter{Writer: io.MultiWriter(h, w), sum: h}
}

func (d *digestWriter) Write(p []byte) (int, error) {
	n, err := d.Writer.Write(p)
	d.n += int64(n)
	return n, err
}

func (d *digestWriter) hex() string { return hex.EncodeToString(d.sum.Sum(nil)) }
