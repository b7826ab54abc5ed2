package kcore

import (
	"encoding/binary"
	"strconv"
	"strings"
)

const ptNote = 4

// VMCoreInfo returns what the kernel's note VMCOREINFO says (4.19 and later), as far as
// head, the start of /proc/kcore, holds it. Keys are as in the note, such as
// NUMBER(kimage_voffset): https://docs.kernel.org/admin-guide/kdump/vmcoreinfo.html.
func VMCoreInfo(head []byte) map[string]string {
	le := binary.LittleEndian
	info := map[string]string{}
	if _, err := ParseHeader(head); err != nil {
		return info
	}
	off, n := le.Uint64(head[32:]), uint64(le.Uint16(head[56:]))
	for i := range n {
		p := head[off+i*phSize:]
		if le.Uint32(p) != ptNote {
			continue
		}
		at, size := le.Uint64(p[8:]), le.Uint64(p[32:])
		if at >= uint64(len(head)) {
			continue
		}
		notes := head[at:]
		readNotes(notes[:min(size, uint64(len(notes)))], info)
	}
	return info
}

// readNotes reads the notes of one PT_NOTE, of which the end may be missing.
func readNotes(b []byte, info map[string]string) {
	le := binary.LittleEndian
	pad := func(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }
	for len(b) >= 12 {
		name, desc := le.Uint32(b), le.Uint32(b[4:])
		b = b[12:]
		if pad(name) > uint64(len(b)) {
			return
		}
		is := strings.TrimRight(string(b[:name]), "\x00")
		b = b[pad(name):]
		text := b[:min(uint64(desc), uint64(len(b)))]
		if is == "VMCOREINFO" {
			for line := range strings.Lines(string(text)) {
				if k, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok && strings.HasSuffix(line, "\n") {
					info[k] = v
				}
			}
		}
		b = b[min(pad(desc), uint64(len(b))):]
	}
}

// ImageOffset is what lies between virtual and physical addresses of the kernel's image on
// arm64, where it is mapped among vmalloc and no segment tells its place.
func ImageOffset(info map[string]string) (offset uint64, ok bool) {
	v, ok := info["NUMBER(kimage_voffset)"]
	if !ok {
		return 0, false
	}
	offset, err := strconv.ParseUint(strings.TrimPrefix(v, "0x"), 16, 64)
	return offset, err == nil
}
