package kernelmodules_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/moduletest"
)

func symvers(t *testing.T, data []byte) *kernelmodules.Symvers {
	t.Helper()
	s, err := kernelmodules.ParseSymvers(data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// importing is LiME with other imports.
func importing(imports ...moduletest.Import) fakeModule {
	return fakeModule{Info: limeInfo(testVermagic), Imports: imports}
}

func TestImports(t *testing.T) {
	want := moduletest.Imports()
	slices.SortFunc(want, func(a, b moduletest.Import) int { return strings.Compare(a.Name, b.Name) })
	for name, f := range map[string]fakeModule{
		"x86-64":   importing(moduletest.Imports()...),
		"extended": {Info: limeInfo(""), Imports: moduletest.Imports(), ExtendedVersions: true},
		"i386":     {Info: limeInfo(""), Imports: moduletest.Imports(), Class: elf.ELFCLASS32, Machine: elf.EM_386},
		"s390x":    {Info: limeInfo(""), Imports: moduletest.Imports(), Order: binary.BigEndian, Machine: elf.EM_S390},
	} {
		have, err := parse(t, f.Bytes()).Imports()
		if err != nil || len(have) != len(want) {
			t.Errorf("%s: %v, %v", name, have, err)
			continue
		}
		for i, h := range have {
			if (h != kernelmodules.Import{Name: want[i].Name, CRC: want[i].CRC, HasCRC: true}) {
				t.Errorf("%s: %+v, want %+v", name, h, want[i])
			}
		}
	}
}

func TestCheckImports(t *testing.T) {
	kernel := symvers(t, moduletest.Symvers())
	if kernel.Len() != len(moduletest.Imports()) {
		t.Errorf("%d symbols", kernel.Len())
	}
	with := func(more ...moduletest.Import) []moduletest.Import { return append(moduletest.Imports(), more...) }
	wrong := moduletest.Imports()
	wrong[3].CRC ^= 1
	for name, tt := range map[string]struct {
		f       fakeModule
		symvers *kernelmodules.Symvers
		want    []string // nil: fits
	}{
		"good":              {f: importing(with()...), symvers: kernel},
		"good by itself":    {f: importing(with()...)},
		"weak":              {f: importing(with(moduletest.Import{Name: "perhaps", Weak: true, CRC: 1})...), symvers: kernel},
		"wrong CRC":         {f: importing(wrong...), symvers: kernel, want: []string{"symbol kernel_sendmsg has the CRC 0xe1c12ad5, in the kernel 0xe1c12ad4"}},
		"wrong, by itself":  {f: importing(wrong...)},
		"symbol of another": {f: importing(with(moduletest.Import{Name: "set_fs\x1b", CRC: 9})...), symvers: kernel, want: []string{`does not export the symbol "set_fs\x1b"`}},
		"no CRC":            {f: importing(with(moduletest.Import{Name: "set_fs", NoCRC: true})...), want: []string{"no CRC of the symbol set_fs"}},
		"no layout":         {f: importing(moduletest.Imports()[1:]...), symvers: kernel, want: []string{"no CRC of struct module"}},
		"no modversions": {
			f: fakeModule{Info: limeInfo(testRelease + " SMP mod_unload "), Imports: moduletest.Imports()}, symvers: kernel,
			want: []string{"it has no modversions, which the kernel has"},
		},
		"kernel without": {
			f: importing(with()...), symvers: symvers(t, []byte("0x00000000\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\n")),
			want: []string{"which the kernel has not", "export the symbol _printk", "module_layout has the CRC"},
		},
	} {
		err := parse(t, tt.f.Bytes()).CheckImports(tt.symvers)
		var mismatch *kernelmodules.MismatchError
		if tt.want == nil {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.As(err, &mismatch) || strings.ContainsAny(err.Error(), "\x1b") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v: lacks %q", name, err, want)
			}
		}
	}
}

func TestImportsRefuses(t *testing.T) {
	good := importing(moduletest.Imports()...).Bytes()
	at := func(s string) int { return bytes.Index(good, []byte(s)) }
	damaged := func(at int, b ...byte) []byte {
		d := bytes.Clone(good)
		copy(d[at:], b)
		return d
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"stripped":     {fakeModule{Info: limeInfo("")}.Bytes(), "no symbol table"},
		"nameless":     {importing(moduletest.Import{}).Bytes(), "has no name"},
		"far name":     {damaged(at("_printk\x00iomem_resource\x00kernel_sendmsg\x00param")-24*6+24, 0xff, 0xff, 0xff, 0x7f), "outside of its table"},
		"no CRC names": {fakeModule{Info: limeInfo(""), ExtendedVersions: true, Imports: []moduletest.Import{{CRC: 1, Hidden: true}}}.Bytes(), "fewer names than CRCs"},
	} {
		m := parse(t, tt.data)
		if _, err := m.Imports(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if err := m.CheckImports(nil); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

func TestParseSymversRefuses(t *testing.T) {
	for data, want := range map[string]string{
		"":                                       "names no symbol",
		"\n\n":                                   "names no symbol",
		"0x1\tx\tvmlinux\n0x2\tx\tnet/x\n":       "twice",
		"0x1 x vmlinux\n":                        "line 1 is no symbol",
		"0x1\ta\tvmlinux\tE\n1\tx\tvmlinux\tE\n": "line 2 is no symbol",
		"0x100000000\tx\tvmlinux\tE\n":           "no CRC of 32 bits",
		"0x1\t\tvmlinux\tE\n":                    "is no symbol",
		"<html>404\x1b[2J":                       `"<html>404\x1b[2J"`,
	} {
		if _, err := kernelmodules.ParseSymvers([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", data, err, want)
		}
	}
}

// TestRealImports reads a module that the lab built.
func TestRealImports(t *testing.T) {
	path := os.Getenv("SHOTGLASS_TEST_MODULE")
	if path == "" {
		t.Skip("SHOTGLASS_TEST_MODULE is not set")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := parse(t, data)
	if err := m.CheckImports(nil); err != nil {
		t.Error(err)
	}
	imports, err := m.Imports()
	if err != nil || len(imports) < 20 {
		t.Errorf("%d imports, %v", len(imports), err)
	}
}

func FuzzImports(f *testing.F) {
	f.Add(lime(testVermagic), moduletest.Symvers())
	f.Add(fakeModule{Info: limeInfo(testVermagic), Imports: moduletest.Imports(), ExtendedVersions: true}.Bytes(), moduletest.Symvers())
	f.Add(fakeModule{Info: limeInfo(testVermagic), Imports: moduletest.Imports(), Class: elf.ELFCLASS32, Machine: elf.EM_386}.Bytes(), []byte("0x1\tx\ty\tz\n"))
	f.Fuzz(func(t *testing.T, module, list []byte) {
		s, err := kernelmodules.ParseSymvers(list)
		if err != nil && s != nil {
			t.Error("symbols and an error")
		}
		m, err := kernelmodules.Parse(module, "fuzz")
		if err != nil {
			return
		}
		if err := m.CheckImports(s); err != nil {
			return
		}
		imports, err := m.Imports()
		if err != nil {
			t.Errorf("passes, and cannot be read: %v", err)
		}
		for _, i := range imports {
			if crc, ok := uint32(0), false; s != nil {
				if crc, ok = s.CRC(i.Name); !i.Weak && (!ok || i.HasCRC && crc != i.CRC) {
					t.Errorf("%+v passes", i)
				}
			}
		}
	})
}
