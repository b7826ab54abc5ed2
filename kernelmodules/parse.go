package kernelmodules

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxSize bounds a module, packed and unpacked. LiME has 30 kB, or 2 MB with
// its debug information.
const MaxSize = 16 << 20

// maxParams bounds the parameters that are read; LiME has seven.
const maxParams = 256

// Parse reads a kernel module: an ELF file, as it is or packed with gzip,
// xz or zstd. It says what its own bytes say; see Module.Check for whether that fits.
// A module of which bytes are missing is refused. Parse is safe to use on any
// bytes: what it allocates is bounded.
func Parse(data []byte, origin string) (*Module, error) {
	data, err := unpack(data)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", origin, err)
	}
	m := &Module{Data: data, Origin: origin, Size: int64(len(data))}
	if err := m.read(); err != nil {
		return nil, fmt.Errorf("module %s: %w", origin, err)
	}
	digest := sha256.Sum256(data)
	m.SHA256 = hex.EncodeToString(digest[:])
	return m, nil
}

func (m *Module) read() error {
	f, err := readELF(m.Data)
	if err != nil {
		return err
	}
	m.Machine = f.machine
	if m.Signed, err = signed(m.Data, f.end); err != nil {
		return err
	}
	info, this := f.section(".modinfo"), f.section(".gnu.linkonce.this_module")
	if info == nil || this == nil {
		return errors.New("is an ELF object, but not a finished kernel module (is it the .o instead of the .ko?)")
	}
	m.readInfo(info)
	if m.Name == "" {
		m.Name = thisModuleName(this, f.header.Class)
	}
	return nil
}

// readInfo reads the NUL-terminated key=value strings of .modinfo. Like the
// kernel it takes the first one of a key.
func (m *Module) readInfo(info []byte) {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	params := make(map[string]bool)
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		key, value, ok := strings.Cut(string(entry), "=")
		if !ok {
			continue
		}
		switch key {
		case "name":
			set(&m.Name, value)
		case "version":
			set(&m.Version, value)
		case "vermagic":
			set(&m.Vermagic, value)
		case "parm", "parmtype":
			if name, _, ok := strings.Cut(value, ":"); ok && name != "" && len(params) < maxParams {
				params[name] = true
			}
		}
	}
	m.Params = make([]string, 0, len(params))
	for name := range params {
		m.Params = append(m.Params, name)
	}
	slices.Sort(m.Params)
}

// thisModuleName reads the name from the start of struct module, where it
// follows an enum and a list_head: for kernels before 4.16, whose .modinfo has
// no name. A kernel with a randomized layout has other bytes there.
func thisModuleName(b []byte, class elf.Class) string {
	offset, size := 24, 56 // enum and padding, two pointers; 64 less a pointer
	if class == elf.ELFCLASS32 {
		offset, size = 12, 60
	}
	if len(b) < offset+size {
		return ""
	}
	name, _, ok := bytes.Cut(b[offset:offset+size], []byte{0})
	if !ok || bytes.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return ""
	}
	return string(name)
}

const signatureMarker = "~Module signature appended~\n"

// signed says whether a signature follows the ELF file that ends at end: PKCS#7 in
// DER, struct module_signature (include/linux/module_signature.h), the marker.
func signed(data []byte, end int) (bool, error) {
	const trailer = 12 + len(signatureMarker)
	rest := data[end:]
	if !bytes.HasSuffix(data, []byte(signatureMarker)) {
		// A signature that was cut off has lost its marker, but not its start:
		// a DER SEQUENCE with a length of two bytes.
		if len(rest) >= 4 && rest[0] == 0x30 && rest[1] == 0x82 {
			whole := 4 + int(binary.BigEndian.Uint16(rest[2:])) + trailer
			if len(rest) < whole {
				return false, fmt.Errorf("is truncated in its signature: %d of %d bytes are missing", whole-len(rest), end+whole)
			}
		}
		return false, nil
	}
	if len(rest) < trailer {
		return false, errors.New("is damaged: its signature lies inside the ELF file")
	}
	size := binary.BigEndian.Uint32(data[len(data)-len(signatureMarker)-4:])
	if size == 0 || uint64(size) > uint64(len(rest)-trailer) {
		return false, fmt.Errorf("is damaged: its signature should have %d bytes, %d are there", size, len(rest)-trailer)
	}
	return true, nil
}
