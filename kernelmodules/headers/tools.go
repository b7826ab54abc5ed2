package headers

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A ToolsError is about headers whose own programs do not run on the machine that compiles.
type ToolsError struct {
	Tool    string // below the tree
	Machine string // that it is for
	Host    string // that compiles
}

func (e *ToolsError) Error() string {
	return fmt.Sprintf("the headers bring programs for %s (%s), and this machine is %s: these headers can be compiled against on %s machines only",
		e.Machine, e.Tool, e.Host, e.Machine)
}

// Hint says what helps.
func (e *ToolsError) Hint() string {
	return "run shotglass modules build on a machine of that kind, and bring the module here with modules add; or, with Debian's headers, give linux-kbuild for " + debArch(e.Host)
}

// CheckTools returns an error unless the programs that kbuild runs, and that headers bring along, are there
// and made for host.
func (t *Tree) CheckTools(host string) error {
	for _, tool := range []string{"scripts/basic/fixdep", "scripts/mod/modpost"} {
		f, err := os.Open(filepath.Join(t.Dir, tool))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the headers lack %s: they were not prepared (make modules_prepare), or a part of them is in another package", tool)
		}
		if err != nil {
			return err
		}
		head := make([]byte, 20)
		_, err = io.ReadFull(f, head)
		f.Close()
		if err != nil || string(head[:4]) != elf.ELFMAG {
			continue // a script
		}
		machine := ""
		switch m := elf.Machine(head[18]) | elf.Machine(head[19])<<8; m {
		case elf.EM_X86_64:
			machine = "x86_64"
		case elf.EM_AARCH64:
			machine = "aarch64"
		default:
			machine = m.String()
		}
		if machine != host {
			return &ToolsError{Tool: tool, Machine: machine, Host: host}
		}
	}
	return nil
}
