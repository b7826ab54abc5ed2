package symbols

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What the library would do with hostile BTF, it follows references by recursion and copies a name
// at each use, and none of it can be stopped once it runs. So BTF is looked over first. Kernels of
// distributions reach a depth of some thousand and half a million members.
const (
	maxRecursion  = 64 << 10  // references followed in one go: about 2 KiB of stack each
	maxMembers    = 3 << 20   // of structs, unions, enums, functions and sections
	maxName       = 1 << 10   // bytes; the kernel's own limit is 512
	maxNameCopies = 256 << 20 // bytes of names, counted at each use
)

// The kinds of BTF that matter here (Documentation/bpf/btf.rst).
const (
	btfInt, btfArray, btfStruct, btfUnion, btfEnum, btfFwd = 1, 3, 4, 5, 6, 7
	btfFuncProto, btfVar, btfDatasec, btfFloat             = 13, 14, 15, 16
	btfDeclTag, btfEnum64, btfKinds                        = 17, 19, 20
)

type checker struct {
	order   binary.ByteOrder
	types   []byte
	strings []byte
	base    uint32 // first type of this BTF: others lie below it
	skip    uint32 // bytes of strings that belong to another
	at      []uint32
	members int
	copies  int
}

// checkBTF tells whether BTF, or a module's that begins with type base and string skip, can be read
// within bounds, whether it is big-endian, and the ID after its last type.
func checkBTF(raw []byte, base, skip uint32) (big bool, next uint32, err error) {
	if len(raw) > MaxBTF {
		return false, 0, fmt.Errorf("%d bytes, and no kernel has more than %d", len(raw), MaxBTF)
	}
	if len(raw) < 24 {
		return false, 0, io.ErrUnexpectedEOF
	}
	c := &checker{order: binary.LittleEndian, base: max(base, 1), skip: skip}
	if raw[0] == 0xeb && raw[1] == 0x9f {
		big, c.order = true, binary.BigEndian
	} else if raw[0] != 0x9f || raw[1] != 0xeb {
		return false, 0, errors.New("not BTF: it does not begin with its magic number")
	}
	if c.types, err = part(raw, c.order, 8); err != nil {
		return big, 0, err
	}
	if c.strings, err = part(raw, c.order, 16); err != nil {
		return big, 0, err
	}
	if err := c.scan(); err != nil {
		return big, 0, err
	}
	return big, c.base + uint32(len(c.at)), c.walk()
}

// part returns the section whose offset and length stand at a place of the header.
func part(raw []byte, order binary.ByteOrder, at int) ([]byte, error) {
	head := uint64(order.Uint32(raw[4:]))
	from := head + uint64(order.Uint32(raw[at:]))
	to := from + uint64(order.Uint32(raw[at+4:]))
	if to > uint64(len(raw)) {
		return nil, fmt.Errorf("a section ends at %d of %d bytes: %w", to, len(raw), io.ErrUnexpectedEOF)
	}
	return raw[from:to], nil
}

// stringBytes is how many bytes of strings checked BTF has.
func stringBytes(raw []byte) uint32 {
	if raw[0] == 0xeb {
		return binary.BigEndian.Uint32(raw[20:])
	}
	return binary.LittleEndian.Uint32(raw[20:])
}

func (c *checker) word(at uint32) uint32 { return c.order.Uint32(c.types[at:]) }

// shape is the layout of the type at an offset: its kind, its members, the bytes of each and
// where in each the name and the reference are; -1 for none.
func (c *checker) shape(at uint32) (kind, n, size uint32, name, ref int) {
	info := c.word(at + 4)
	kind, n, name, ref = info>>24&0x1f, info&0xffff, -1, -1
	switch kind {
	case btfStruct, btfUnion:
		size, name, ref = 12, 0, 4
	case btfEnum:
		size, name = 8, 0
	case btfEnum64:
		size, name = 12, 0
	case btfFuncProto:
		size, name, ref = 8, 0, 4
	case btfDatasec:
		size, ref = 12, 0
	case btfArray:
		n, size, ref = 1, 12, 0 // its index type comes second
	case btfInt, btfVar, btfDeclTag:
		n, size = 1, 4
	default:
		n = 0
	}
	return kind, n, size, name, ref
}

// scan finds where each type begins and counts names.
func (c *checker) scan() error {
	for at := uint64(0); at < uint64(len(c.types)); {
		if at+12 > uint64(len(c.types)) {
			return io.ErrUnexpectedEOF
		}
		kind, n, size, name, _ := c.shape(uint32(at))
		end := at + 12 + uint64(n)*uint64(size)
		if kind == 0 || kind >= btfKinds {
			return fmt.Errorf("a type of unknown kind %d", kind)
		}
		if end > uint64(len(c.types)) {
			return io.ErrUnexpectedEOF
		}
		if err := c.name(c.word(uint32(at))); err != nil {
			return err
		}
		for m := at + 12; name >= 0 && m < end; m += uint64(size) {
			if err := c.name(c.word(uint32(m) + uint32(name))); err != nil {
				return err
			}
		}
		c.members += int(n)
		c.at = append(c.at, uint32(at))
		if len(c.at) > maxTypes || c.members > maxMembers || c.copies > maxNameCopies {
			return fmt.Errorf("more types, members or names than any kernel has: %d, %d, %d bytes", len(c.at), c.members, c.copies)
		}
		at = end
	}
	return nil
}

// name counts the use of a name.
func (c *checker) name(off uint32) error {
	if off < c.skip {
		c.copies += 32 // of the kernel, which was checked
		return nil
	}
	if off -= c.skip; off > uint32(len(c.strings)) {
		return errors.New("a name lies outside the strings")
	}
	rest := c.strings[off:]
	n := bytes.IndexByte(rest[:min(len(rest), maxName)], 0)
	if n < 0 {
		return fmt.Errorf("a name has more than %d bytes, or no end", maxName)
	}
	c.copies += n
	return nil
}

// refs is how many references a type has; ref is one of them, in the order in which the library follows them.
func (c *checker) refs(at uint32) uint32 {
	kind, n, _, _, ref := c.shape(at)
	switch {
	case kind == btfInt || kind == btfEnum || kind == btfEnum64 || kind == btfFwd || kind == btfFloat:
		return 0
	case kind == btfArray:
		return 2
	case kind == btfFuncProto:
		return n + 1
	case ref >= 0:
		return n
	}
	return 1
}

func (c *checker) ref(at, i uint32) uint32 {
	kind, n, size, _, ref := c.shape(at)
	switch {
	case kind == btfArray:
		return c.word(at + 12 + 4*(1-i))
	case kind == btfFuncProto && i == n:
		return c.word(at + 8)
	case ref >= 0:
		return c.word(at + 12 + i*size + uint32(ref))
	}
	return c.word(at + 8)
}

// walk follows the references as the library will, and counts how deep it gets.
func (c *checker) walk() error {
	type step struct{ at, next uint32 }
	done := make([]bool, len(c.at))
	var stack []step
	visit := func(id uint32) {
		if i := id - c.base; id >= c.base && i < uint32(len(done)) && !done[i] {
			done[i] = true
			stack = append(stack, step{at: c.at[i]})
		}
	}
	for i := range c.at {
		visit(c.base + uint32(i))
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.next == c.refs(top.at) {
				stack = stack[:len(stack)-1]
				continue
			}
			top.next++
			visit(c.ref(top.at, top.next-1))
			if len(stack) > maxRecursion {
				return fmt.Errorf("types refer to each other %d deep, as in no kernel", len(stack))
			}
		}
	}
	return nil
}
