//go:build !unix

package symbols

import (
	"debug/elf"
	"io"
)

// mapped maps nothing here: a section is read.
func mapped(io.ReaderAt, *elf.Section) (b []byte, unmap func() error) { return nil, nil }
