package live

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A ModuleBTF is /sys/kernel/btf/NAME: the types of one kernel module, which refer to those of the kernel's BTF.
type ModuleBTF struct {
	Name string
	Data []byte
}

// maxModules is far more than any host has loaded.
const maxModules = 10_000

// ModulesBTF takes apart what [Script] prints for the item btf-modules: how ls lists them, an empty line, then their
// contents, one after the other. The error says why there are not more; those before are good. The result refers to raw.
func ModulesBTF(raw []byte) ([]ModuleBTF, error) {
	list, rest, ok := bytes.Cut(raw, []byte("\n\n"))
	if !ok {
		return nil, errors.New("the list of modules has no end")
	}
	var out []ModuleBTF
	seen := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		if len(f) != 9 {
			return out, fmt.Errorf("%.100q is not how ls lists a file", line)
		}
		name := f[8]
		size, err := strconv.ParseInt(f[4], 10, 32)
		switch {
		case err != nil || size < 0:
			return out, fmt.Errorf("%.100q has no size", line)
		case len(name) > 64 || !safeName(name) || strings.Contains(name, "/") || seen[name]:
			return out, fmt.Errorf("%.100q is not the name of one module", name)
		case len(seen) == maxModules:
			return out, fmt.Errorf("more than %d modules", maxModules)
		case size > int64(len(rest)):
			return out, fmt.Errorf("cut: of %s and those after it not all is there", name)
		}
		seen[name] = true
		data := rest[:size]
		if !bytes.HasPrefix(data, []byte{0x9f, 0xeb}) && !bytes.HasPrefix(data, []byte{0xeb, 0x9f}) {
			return out, fmt.Errorf("what should be of %s is not BTF: modules came or went while they were read", name)
		}
		out, rest = append(out, ModuleBTF{name, data}), rest[size:]
	}
	if len(rest) > 0 {
		return out, fmt.Errorf("%d bytes follow the last module", len(rest))
	}
	return out, nil
}

// ModulesTar puts modules' BTF into a tar, as files of their names.
func ModulesTar(modules []ModuleBTF) ([]byte, error) {
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	for _, m := range modules {
		if err := entry(t, m.Name, int64(len(m.Data)), time.Unix(0, 0), bytes.NewReader(m.Data)); err != nil {
			return nil, err
		}
	}
	err := t.Close()
	return out.Bytes(), err
}

// ReadModulesTar reads what ModulesTar wrote. The archive may be hostile: all that comes of it together is no larger than it.
func ReadModulesTar(raw []byte) (map[string][]byte, error) {
	out := map[string][]byte{}
	t := tar.NewReader(bytes.NewReader(raw))
	left := int64(len(raw)) // a sparse file is larger than what is stored of it
	for {
		h, err := t.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("the archive of modules' BTF: %w", err)
		}
		_, twice := out[h.Name]
		if h.Typeflag != tar.TypeReg || !safeName(h.Name) || twice || h.Size > left || len(out) == maxModules {
			return out, fmt.Errorf("the archive of modules' BTF holds %.100q, which is none", h.Name)
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return out, fmt.Errorf("the archive of modules' BTF: %s: %w", h.Name, err)
		}
		out[h.Name] = data
		left -= int64(len(data))
	}
}
