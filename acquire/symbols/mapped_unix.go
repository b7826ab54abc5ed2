//go:build unix

package symbols

import (
	"debug/elf"
	"io"
	"os"
	"syscall"
)

// mapped is a section of a file as it lies there: it takes no memory of the heap, and what it takes the kernel can have back. unmap ends
// it: b must not be touched then. Nil: it cannot be had so.
func mapped(r io.ReaderAt, s *elf.Section) (b []byte, unmap func() error) {
	f, ok := r.(*os.File)
	if !ok || s.Flags&elf.SHF_COMPRESSED != 0 {
		return nil, nil
	}
	info, err := f.Stat()
	size := s.FileSize
	if err != nil || !info.Mode().IsRegular() || size > maxSection || s.Offset > uint64(info.Size()) || size > uint64(info.Size())-s.Offset {
		return nil, nil
	}
	skip := s.Offset % uint64(os.Getpagesize())
	all, err := syscall.Mmap(int(f.Fd()), int64(s.Offset-skip), int(size+skip), syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil
	}
	return all[skip:], func() error { return syscall.Munmap(all) }
}
