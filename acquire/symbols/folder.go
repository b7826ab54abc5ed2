package symbols

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// maxEntries bounds the search of a folder: a collection of a whole file system is no bundle of symbols.
const maxEntries = 200_000

// A Found is a file that was taken for an input.
type Found struct {
	Input string `json:"input"` // btf, module_btf, module_btfs, kallsyms, system_map, banner, vmcoreinfo
	Path  string `json:"path"`
	Bytes int    `json:"bytes"`
	// Others are files that could be the same input and have other content, as of another host: the first few. Only of btf, kallsyms and
	// banner, of which a host has one each.
	Others []string `json:"others,omitempty"`
}

// ReadFolder finds the inputs in what was collected from a host, by whichever tool, by the names that files have on the host
// and under common others. Of several that could be one input, the one that lies least deep is taken, of several System.map that of the
// banner's kernel, of several kallsyms one with addresses, if there is one. Links are not followed. Files are read up to the bounds of what they may be; a larger one is an error.
func ReadFolder(dir fs.FS) (Inputs, []Found, error) {
	by := map[string][]string{}
	n := 0
	err := fs.WalkDir(dir, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if n++; n > maxEntries {
			return fmt.Errorf("more than %d files: name the folder that holds those of the kernel", maxEntries)
		}
		if e.Type().IsRegular() {
			if input := inputOf(name); input != "" {
				by[input] = append(by[input], name)
			}
		}
		return nil
	})
	if err != nil {
		return Inputs{}, nil, err
	}
	for _, names := range by {
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(strings.Count(a, "/")-strings.Count(b, "/"), strings.Compare(a, b))
		})
	}
	f := &folder{dir: dir, by: by}
	return f.read()
}

// inputOf tells by its name what a file is; "" if nothing that is wanted.
func inputOf(name string) string {
	base, under := path.Base(name), path.Base(path.Dir(name))
	bare := strings.TrimSuffix(base, ".txt")
	switch {
	case base == "vmlinux.btf" || base == "vmlinux" && under == "btf" || base == "btf" || base == "btf_vmlinux":
		return "btf"
	case base == "btf-modules.tar":
		return "module_btfs"
	case under == "btf" && !strings.Contains(base, "."):
		return "module_btf"
	case bare == "kallsyms" || bare == "proc_kallsyms" || strings.HasSuffix(base, ".kallsyms"):
		return "kallsyms"
	case strings.HasPrefix(base, "System.map"):
		return "system_map"
	case bare == "version" || bare == "proc_version" || bare == "banner":
		return "banner"
	case bare == "vmcoreinfo" && under != "kernel" || bare == "kcorehead":
		return "vmcoreinfo"
	}
	return ""
}

type folder struct {
	dir   fs.FS
	by    map[string][]string
	found []Found
}

func (f *folder) read() (in Inputs, found []Found, err error) {
	take := func(input string, limit int64, fits func([]byte) bool) []byte {
		for i, name := range f.by[input] {
			raw, e := f.file(name, limit)
			if e != nil {
				err = errors.Join(err, e)
				continue
			}
			if fits(raw) {
				x := Found{Input: input, Path: name, Bytes: len(raw)}
				if slices.Contains(one, input) {
					x.Others = f.others(f.by[input][i+1:], limit, raw, fits)
				}
				f.found = append(f.found, x)
				return raw
			}
		}
		return nil
	}
	some := func(b []byte) bool { return len(b) > 0 }
	in.Banner = take("banner", maxBanner, func(b []byte) bool { return bytes.HasPrefix(b, []byte("Linux version ")) })
	release := releaseOf(string(in.Banner))
	slices.SortStableFunc(f.by["system_map"], func(a, b string) int { return named(b, release) - named(a, release) })
	in.BTF = take("btf", MaxBTF, isBTF)
	in.Kallsyms = take("kallsyms", MaxSymbolList, hasAddresses)
	if in.Kallsyms == nil {
		in.Kallsyms = take("kallsyms", MaxSymbolList, some) // Write says what is wrong with it
	}
	in.SystemMap = take("system_map", MaxSymbolList, some)
	in.VMCoreInfo = take("vmcoreinfo", 1<<20, func(b []byte) bool { return len(parseNote(b)) > 0 })
	take("module_btfs", MaxBTF, func(b []byte) bool {
		all, e := live.ReadModulesTar(b)
		in.ModuleBTF, err = all, errors.Join(err, e)
		return len(all) > 0
	})
	for _, name := range f.by["module_btf"] {
		raw, e := f.file(name, MaxBTF)
		if e == nil && isBTF(raw) {
			if in.ModuleBTF == nil {
				in.ModuleBTF = map[string][]byte{}
			}
			in.ModuleBTF[path.Base(name)] = raw
			f.found = append(f.found, Found{Input: "module_btf", Path: name, Bytes: len(raw)})
		}
		err = errors.Join(err, e)
	}
	return in, f.found, err
}

// one are the inputs of which a host has one.
var one = []string{"banner", "btf", "kallsyms"}

// others are those of the files that could be what taken is, and are not the same. maxOthers bounds how many are read.
func (f *folder) others(names []string, limit int64, taken []byte, fits func([]byte) bool) (differ []string) {
	for _, name := range names[:min(len(names), maxOthers)] {
		if raw, err := f.file(name, limit); err == nil && fits(raw) && !bytes.Equal(bytes.TrimSpace(raw), bytes.TrimSpace(taken)) {
			differ = append(differ, name)
		}
	}
	return differ
}

const maxOthers = 8

// named is 1 for the name of a file that is of a kernel's release.
func named(name, release string) int {
	if strings.HasSuffix(path.Base(name), "-"+release) {
		return 1
	}
	return 0
}

// hasAddresses reports whether a list has an address that is not zero: what a user without rights reads of kallsyms has none.
func hasAddresses(kallsyms []byte) bool {
	for line := range bytes.Lines(kallsyms) {
		addr, _, _ := bytes.Cut(line, []byte(" "))
		if len(bytes.Trim(addr, "0\r\n")) > 0 {
			return true
		}
	}
	return false
}

func isBTF(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0x9f, 0xeb}) || bytes.HasPrefix(b, []byte{0xeb, 0x9f})
}

func (f *folder) file(name string, limit int64) ([]byte, error) {
	r, err := f.dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var raw bytes.Buffer
	if st, err := r.Stat(); err == nil && st.Size() <= limit {
		raw.Grow(int(st.Size()) + bytes.MinRead)
	}
	if _, err := raw.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(raw.Len()) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return raw.Bytes(), nil
}
