package convert

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"

	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// lookThrough reads the source once to find out what stands at the beginning of an ELF core: which ranges there are,
// how far the last one goes, and the kernel's VMCOREINFO.
func (c *conversion) lookThrough(ctx context.Context) error {
	find := &forms.Finder{Release: c.src.release}
	s := forms.Source{Image: c.img, RAM: c.src.ram, Limit: c.src.limit}
	rep, _, err := forms.Copy(ctx, s, find)
	if err != nil {
		return fmt.Errorf("look through %s: %w", c.src.Name, err)
	}
	if rep.Bytes == 0 {
		return fmt.Errorf("%w: an ELF core of %s would have no memory", forms.ErrForm, c.src.Name)
	}
	c.write.Ranges = cut(rep.Ranges, rep.Bytes)
	c.core = &Core{}
	text := c.o.VMCoreInfo
	switch {
	case c.o.NoVMCoreInfo:
		return nil
	case text != nil:
		c.core.VMCoreInfo = "file"
	default:
		if text, c.core.Others = find.Found(); text == nil {
			return nil
		}
		c.core.VMCoreInfo = "memory"
	}
	info, err := forms.ParseVMCoreInfo(text)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	c.core.SHA256, c.core.Release = hex.EncodeToString(sum[:]), info.Release()
	c.write.VMCoreInfo = text
	read := func(p []byte, phys uint64) error { return c.img.ReadPhysical(ctx, p, phys) }
	if base, ok := forms.DirectMap(c.write.Machine, info, read); ok {
		c.write.Direct, c.core.DirectMap = base, lime.Addr(base)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// machines are those that an ELF core can be of, as uname calls them.
var machines = map[string]elf.Machine{"x86_64": forms.MachineX86, "aarch64": forms.MachineARM64}

// machine settles of which machine the image is: as its manifest says, or else as an ELF core does, or else x86-64.
func (c *conversion) machine() {
	c.write.Machine = machines[c.src.machine]
	if c.write.Machine == 0 {
		c.write.Machine = c.img.Machine()
	}
	for name, m := range machines {
		if c.src.machine == "" && c.write.Machine == m {
			c.src.machine = name
		}
	}
	if c.write.Machine == 0 {
		c.write.Machine = forms.MachineX86
	}
}

// cut returns the ranges as far as n bytes of memory go.
func cut(ranges []lime.Range, n uint64) (out []lime.Range) {
	for _, r := range ranges {
		if n == 0 {
			break
		}
		if r.Size() > n {
			r.End = r.Start + n - 1
		}
		n -= r.Size()
		out = append(out, r)
	}
	return out
}
