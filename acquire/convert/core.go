package convert

import (
	"context"
	"crypto/sha256"
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
	c.write.Ranges = cut(rep.Ranges, rep.Bytes)
	c.core = &Core{}
	if c.src.arm {
		c.write.Machine = forms.MachineARM64
	}
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
	if base, ok := forms.DirectMap(info, c.img.ReadPhysical); ok && !c.src.arm {
		c.write.Direct, c.core.DirectMap = base, lime.Addr(base)
	}
	return nil
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
