package symbols

import (
	"fmt"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// Collected makes inputs of what a capture collects beside an image: content gives the bytes of each file of its archive; nil: there
// is none. The error says which modules' types are left out; the inputs are good without them.
func Collected(content func(file string) []byte) (Inputs, error) {
	in := Inputs{
		BTF: content("sys/kernel/btf/vmlinux"), Kallsyms: content("proc/kallsyms"), SystemMap: content("boot/System.map"),
		Banner: content("proc/version"), VMCoreInfo: content("vmcoreinfo"),
	}
	raw := content("sys/kernel/btf-modules.tar")
	if raw == nil {
		return in, nil
	}
	var err error
	if in.ModuleBTF, err = live.ReadModulesTar(raw); err != nil {
		err = fmt.Errorf("not all types of modules are there: %w", err)
	}
	return in, err
}

// Wants reports whether Collected asks for a file of the archive.
func Wants(file string) bool {
	wanted := false
	Collected(func(f string) []byte { wanted = wanted || f == file; return nil })
	return wanted
}
