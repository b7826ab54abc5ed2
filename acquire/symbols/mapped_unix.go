//go:build unix

package symbols

import (
	"debug/elf"
	"io"
	"os"
	"syscall"
)

// mapped is a section of a file as it lies there: it takes no memory of the heap, and what it takes the kernel can have back. unmap ends
// it. Nil: it cannot be had so.
func mapped(r io.ReaderAt, s *elf.Section) (b []byte, unmap func()) {
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
	if b, err = syscall.Mmap(int(f.Fd()), int64(s.Offset-skip), int(size+skip), syscall.PROT_READ, syscall.MAP_PRIVATE); err != nil {
		return nil, nil
	}
	return b[skip:], func() { syscall.Munmap(b) } //nolint:errcheck // nothing depends on it
}
