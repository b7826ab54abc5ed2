package image

import (
	"debug/elf"

	"github.com/shotglass-ir/shotglass/acquire/forms"
)

// ELF is an ELF core of the memory that is there, for crash, drgn and gdb. vmcoreinfo is the text of the kernel's
// note, nil where it is not known: then those tools lack what they need to find symbols.
func (i *Image) ELF(machine elf.Machine, vmcoreinfo []byte) (*View, error) {
	stretches := make([]forms.Stretch, len(i.records))
	for n, r := range i.records {
		stretches[n] = forms.Stretch{Start: r.Range.Start, Bytes: r.Bytes}
	}
	head, places, err := forms.ELFHead(machine, stretches, vmcoreinfo, 0)
	if err != nil {
		return nil, err
	}
	v := &View{img: i, size: int64(len(head)), parts: []part{{size: int64(len(head)), data: head}}}
	for n, r := range i.records {
		if r.Bytes > 0 {
			v.parts = append(v.parts, part{at: places[n], size: r.Bytes, raw: r.Raw})
			v.size = places[n] + r.Bytes
		}
	}
	return v, nil
}

// Machine is that of the target by the manifest; without one it is taken for x86-64.
func (i *Image) Machine() elf.Machine {
	if m := i.trust.Manifest; m != nil && m.Target.Facts != nil && m.Target.Facts.Machine == "aarch64" {
		return forms.MachineARM64
	}
	return forms.MachineX86
}
