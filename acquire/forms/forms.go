// Package forms reads and writes memory images in the forms that analysis tools take: LiME, plain or
// compressed; AVML's; raw, with every byte at the offset of its physical address; ELF core files.
//
// An [Image] is a stored image of any of them. It gives its memory as records, each a range of
// physical addresses and its bytes, ascending. A [Writer] takes records. [Copy] goes from one to the
// other in one pass and bounded memory; no temporary file is made. What the records hold is, as a
// LiME stream, the same bytes whatever the form, so that one SHA-256 goes through all of them.
//
// Damage ends nothing that can go on: a frame that does not decode, a block with a bad checksum, bytes
// that belong to no record. Zeros stand in for what is lost, and a [Report] lists where, by address.
//
// What is read is taken for hostile.
package forms

import (
	"fmt"
	"slices"
	"strings"
)

// A Form is a way to store an image.
type Form string

// The forms. All but the last four are the LiME stream, compressed or not.
const (
	Lime  Form = "lime"
	Zstd  Form = "zstd"  // independent frames and a seek table, see package frame
	S2    Form = "s2"    // the same with an s2 index
	Gzip  Form = "gzip"  // opened by Volatility 3 by its name
	AVML1 Form = "avml1" // LiME records of at most 16 MiB, those of zeros left out
	AVML2 Form = "avml2" // AVML's own records, with snappy, those of zeros left out
	Raw   Form = "raw"   // padded: offset is physical address
	ELF   Form = "elf"   // ELF64 core file, with VMCOREINFO where that is known

	// Zlib is read only: LiME's compress=1.
	Zlib Form = "zlib"
)

// All lists the forms that can be written.
var All = []Form{Lime, Zstd, S2, Gzip, AVML1, AVML2, Raw, ELF}

// Parse returns the form called s.
func Parse(s string) (Form, error) {
	if f := Form(strings.ToLower(s)); slices.Contains(All, f) {
		return f, nil
	}
	var names []string
	for _, f := range All {
		names = append(names, string(f))
	}
	return "", fmt.Errorf("form %q is not known: there are %s", s, strings.Join(names, ", "))
}

// suffixes end the names of files. Volatility 3 goes by .gz.
var suffixes = map[Form]string{
	Lime: ".lime", Zstd: ".lime.zst", S2: ".lime.s2", Gzip: ".lime.gz", AVML1: ".avml1", AVML2: ".avml2", Raw: ".raw", ELF: ".elf",
}

// Suffix returns what ends the name of a file of form f, such as ".lime.gz".
func (f Form) Suffix() string { return suffixes[f] }

// Stem returns a file's name without the suffixes of forms and of compressions.
func Stem(name string) string {
	for _, s := range []string{".zst", ".s2", ".gz", ".zz", ".zlib"} {
		if base, ok := strings.CutSuffix(name, s); ok {
			name = base
			break
		}
	}
	for _, s := range []string{".lime", ".avml1", ".avml2", ".avml", ".compressed", ".raw", ".elf", ".core"} {
		if base, ok := strings.CutSuffix(name, s); ok && base != "" {
			return base
		}
	}
	return name
}

// Compression returns what package frame does with the bytes of the form: the value of its option.
func (f Form) Compression() string {
	if f == Zstd || f == S2 {
		return string(f)
	}
	return "none"
}

// IsStream reports whether the bytes that package frame is given are the LiME stream itself.
func (f Form) IsStream() bool { return f == Lime || f == Zstd || f == S2 }
