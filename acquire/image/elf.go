package image

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// ELF is an ELF core of the memory that is there, for crash, drgn and gdb: byte for byte the one that package convert writes of
// the same. vmcoreinfo is the text of the kernel's note, nil where it is not known: then those tools lack what they need to find
// symbols. direct is where the kernel maps memory, see DirectMap, 0 where that is not known: then gdb has no addresses.
func (i *Image) ELF(machine elf.Machine, vmcoreinfo []byte, direct uint64) (*View, error) {
	stretches := make([]forms.Stretch, len(i.records))
	for n, r := range i.records {
		stretches[n] = forms.Stretch{Start: r.Range.Start, Bytes: r.Bytes}
	}
	head, places, err := forms.ELFHead(machine, stretches, vmcoreinfo, direct)
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

// DirectMap returns where the kernel maps all of memory, by its page tables, which it finds by VMCOREINFO; 0 where machine is not
// x86-64. It reads a page of each level of them, and 512 pages at most where somebody made them up. An error says that they
// are not there, and is that of reading where a page could not be read before ctx ended.
func (i *Image) DirectMap(ctx context.Context, machine elf.Machine, vmcoreinfo []byte) (uint64, error) {
	if machine != forms.MachineX86 {
		return 0, nil
	}
	info, err := forms.ParseVMCoreInfo(vmcoreinfo)
	if err != nil {
		return 0, err
	}
	var failed error
	base, ok := forms.DirectMap(machine, info, func(p []byte, phys uint64) error {
		if failed = i.readPhysical(ctx, p, phys); failed != nil {
			failed = fmt.Errorf("read memory at %s: %w", lime.Addr(phys), failed)
		}
		return failed
	})
	switch {
	case ok:
		return base, nil
	case failed != nil:
		return 0, failed
	}
	return 0, errors.New("the kernel's page tables are not where VMCOREINFO has them")
}

// readPhysical fills p with memory at a physical address, all of it in one record.
func (i *Image) readPhysical(ctx context.Context, p []byte, phys uint64) error {
	k := sort.Search(len(i.records), func(k int) bool { return i.records[k].Range.End >= phys })
	if k == len(i.records) || phys < i.records[k].Range.Start {
		return errors.New("it is not in the image")
	}
	r := i.records[k]
	into := int64(phys - r.Range.Start)
	if int64(len(p)) > r.Bytes-into {
		return errors.New("it is not in the image")
	}
	n, err := i.raw.ReadContext(ctx, p, r.Raw+into)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF: // the file has become shorter
		return io.ErrUnexpectedEOF
	}
	return err
}

// Machine is that of the target by what vouches for the image; without that it is taken for x86-64.
func (i *Image) Machine() elf.Machine {
	name := ""
	if m := i.trust.Manifest; m != nil && m.Target.Facts != nil {
		name = m.Target.Facts.Machine
	} else if c := i.trust.Converted; c != nil {
		name = c.Machine
	}
	if name == "aarch64" {
		return forms.MachineARM64
	}
	return forms.MachineX86
}
