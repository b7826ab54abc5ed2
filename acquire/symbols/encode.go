package symbols

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
)

// format is the version of the schema that the file follows.
const format = "6.2.0"

// maxOutput bounds the JSON. A distribution's kernel makes some 20 MB.
const maxOutput = 512 << 20

var errOutput = errors.New("the symbol file would have more than 512 MiB, so what it is made of is no kernel's")

// A source names what types or symbols come from. ISF has no kind for BTF, so that has none.
type source struct {
	Kind  string `json:"kind,omitempty"`
	Name  string `json:"name"`
	Hash  string `json:"hash_type,omitempty"`
	Value string `json:"hash_value,omitempty"`
}

type metadata struct {
	Linux struct {
		Symbols []source `json:"symbols"`
		Types   []source `json:"types"`
	} `json:"linux"`
	Producer struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"producer"`
	Format string `json:"format"`
}

func metadataOf(in Inputs) *metadata {
	m := &metadata{Format: format}
	m.Producer.Name, m.Producer.Version = "shotglass", cmp.Or(in.Version, "unknown")
	from := func(kind, name string, raw []byte) []source {
		if len(raw) == 0 {
			return nil
		}
		sum := sha256.Sum256(raw)
		return []source{{kind, name, "sha256", hex.EncodeToString(sum[:])}}
	}
	m.Linux.Symbols = slices.Concat([]source{}, from("symtab", "kallsyms", in.Kallsyms), from("system-map", "System.map", in.SystemMap))
	m.Linux.Types = slices.Concat([]source{}, from("", "btf", in.BTF))
	if len(in.BTF) == 0 {
		m.Linux.Types = []source{{Kind: "dwarf", Name: "vmlinux"}}
	} else {
		for _, name := range sortedKeys(in.ModuleBTF) {
			m.Linux.Types = append(m.Linux.Types, from("", "btf of module "+name, in.ModuleBTF[name])...)
		}
	}
	return m
}

// A file is everything that is written.
type file struct {
	*builder
	addr   map[string]uint64
	at     []uint64               // all addresses, in order
	vars   map[string]*descriptor // the types of symbols that have one
	banner []byte
	meta   *metadata
}

// An encoder writes JSON with sorted keys. Its first error stays.
type encoder struct {
	w   *bufio.Writer
	n   int
	err error
}

func (e *encoder) raw(s string) {
	if e.n += len(s); e.n > maxOutput && e.err == nil {
		e.err = errOutput
	}
	if e.err == nil {
		_, e.err = e.w.WriteString(s)
	}
}

func (e *encoder) str(s string) {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '\\'
	}
	if plain {
		e.raw(`"` + s + `"`)
		return
	}
	out, err := json.Marshal(s)
	e.err = cmp.Or(e.err, err)
	e.raw(string(out))
}

func (e *encoder) int(n int64) { e.raw(strconv.FormatInt(n, 10)) }

// key writes a key of an object and what comes between it and the last.
func (e *encoder) key(first bool, name string) {
	if !first {
		e.raw(",")
	}
	e.str(name)
	e.raw(":")
}

// object writes a map with its keys in order, one line for each entry if lines is set.
func object[V any](e *encoder, m map[string]V, lines bool, value func(string, V)) {
	e.raw("{")
	for i, name := range sortedKeys(m) {
		if e.err != nil {
			return
		}
		if lines && i > 0 {
			e.raw(",\n")
		}
		e.key(i == 0 || lines, name)
		value(name, m[name])
	}
	e.raw("}")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (f *file) encode(w io.Writer) error {
	e := &encoder{w: bufio.NewWriterSize(w, 1<<16)}
	endian := "little"
	if f.big {
		endian = "big"
	}
	meta, err := json.Marshal(f.meta)
	if err != nil {
		return err
	}
	e.raw(`{"metadata":` + string(meta) + ",\n\"base_types\":")
	object(e, f.base, true, func(_ string, t baseType) {
		e.raw(`{"size":`)
		e.int(t.size)
		e.raw(`,"signed":` + strconv.FormatBool(t.signed) + `,"kind":"` + t.kind + `","endian":"` + endian + `"}`)
	})
	e.raw(",\n\"user_types\":")
	object(e, f.user, true, func(_ string, t *userType) { e.user(t) })
	e.raw(",\n\"enums\":")
	object(e, f.enums, true, func(_ string, t *enumType) {
		e.raw(`{"size":`)
		e.int(t.size)
		e.raw(`,"base":`)
		e.str(t.base)
		e.raw(`,"constants":`)
		object(e, t.values, false, func(_ string, v int64) { e.int(v) })
		e.raw("}")
	})
	e.raw(",\n\"symbols\":")
	object(e, f.addr, true, f.symbol(e))
	e.raw("}\n")
	return cmp.Or(e.err, e.w.Flush())
}

func (e *encoder) user(t *userType) {
	e.raw(`{"size":`)
	e.int(t.size)
	e.raw(`,"fields":`)
	e.raw("{")
	for i, m := range t.fields {
		e.key(i == 0, m.name)
		e.raw(`{"type":`)
		e.descriptor(m.typ)
		e.raw(`,"offset":`)
		e.int(m.offset)
		if m.anonymous {
			e.raw(`,"anonymous":true`)
		}
		e.raw("}")
	}
	e.raw("}")
	e.raw(`,"kind":"` + t.kind + `"}`)
}

func (e *encoder) descriptor(d *descriptor) {
	e.raw(`{"kind":"` + d.kind + `"`)
	switch d.kind {
	case "function":
	case "pointer":
		e.raw(`,"subtype":`)
		e.descriptor(d.sub)
	case "array":
		e.raw(`,"count":`)
		e.int(d.count)
		e.raw(`,"subtype":`)
		e.descriptor(d.sub)
	case "bitfield":
		e.raw(`,"bit_position":`)
		e.int(d.bits)
		e.raw(`,"bit_length":`)
		e.int(d.bitSize)
		e.raw(`,"type":`)
		e.descriptor(d.sub)
	default:
		e.raw(`,"name":`)
		e.str(d.name)
	}
	e.raw("}")
}

// symbol writes one: address, type, and for the banner its bytes.
func (f *file) symbol(e *encoder) func(string, uint64) {
	return func(name string, addr uint64) {
		t := cmp.Or(f.vars[name], voidType)
		e.raw(`{"type":`)
		e.descriptor(t)
		e.raw(`,"address":` + strconv.FormatUint(addr, 10))
		if name == bannerSymbol {
			e.raw(`,"constant_data":"` + base64.StdEncoding.EncodeToString(f.banner) + `"`)
		}
		e.raw("}")
	}
}
