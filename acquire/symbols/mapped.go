package symbols

import (
	"fmt"
	"runtime/debug"
)

// faults calls f, which reads what is mapped. That the file behind it is cut meanwhile, or that its disk fails, is an error.
func faults(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch e := recover().(type) {
		case nil:
		case interface {
			error
			Addr() uintptr
		}:
			err = fmt.Errorf("read the DWARF of vmlinux: the file was cut meanwhile, or cannot be read: %w", e)
		default:
			panic(e)
		}
	}()
	return f()
}
