package kernelmodules

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxEntries = 10_000 // names that are read of a folder
	maxFiles   = 256    // files that are opened in it
	maxListed  = 10     // files that an error names
)

// PathOptions tune a Path. The zero value pins nothing.
type PathOptions struct {
	// Pins are SHA-256 digests in hexadecimal, of the file as it is stored or of
	// the module in it. If there are any, every other file is refused, and not
	// read beyond unpacking.
	Pins []string
}

// Path is a store in the file system: one file, or a folder of them.
type Path struct {
	path string
	pins map[string]bool
}

var _ Store = (*Path)(nil)

// NewPath returns the store at path. A file must fit the kernel; of a folder
// (not its sub-folders) a file that fits is taken.
func NewPath(path string, o PathOptions) (*Path, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	p := &Path{path: path, pins: make(map[string]bool)}
	for _, pin := range o.Pins {
		pin = strings.ToLower(strings.TrimPrefix(pin, "sha256:"))
		if b, err := hex.DecodeString(pin); err != nil || len(b) != sha256.Size {
			return nil, fmt.Errorf("pinned digest %q: not the 64 hexadecimal digits of a SHA-256", pin)
		}
		p.pins[pin] = true
	}
	return p, nil
}

// String returns the path.
func (p *Path) String() string { return p.path }

// Find returns the module at the path, or one in the folder, that fits k.
// Names decide only what is read first.
func (p *Path) Find(ctx context.Context, k Kernel) (*Module, error) {
	info, err := os.Stat(p.path)
	if err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	if !info.IsDir() {
		m, err := p.read(p.path)
		if err != nil {
			return nil, err
		}
		if err := m.Check(k); err != nil {
			return nil, err
		}
		return m, nil
	}
	names, more, err := candidates(p.path, k)
	if err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	var refused []error
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := p.read(filepath.Join(p.path, name))
		if err == nil {
			err = m.Check(k)
		}
		if err == nil {
			return m, nil
		}
		refused = append(refused, err)
	}
	return nil, p.none(k, refused, more)
}

// Each calls visit for the file at the path, or for each module file of the folder, by name:
// with the module, or with why it is none. An error of visit ends it.
func (p *Path) Each(ctx context.Context, visit func(name string, m *Module, err error) error) error {
	info, err := os.Stat(p.path)
	if err != nil {
		return fmt.Errorf("kernel modules: %w", err)
	}
	paths := []string{p.path}
	if info.IsDir() {
		names, more, err := candidates(p.path, Kernel{})
		if err != nil {
			return fmt.Errorf("kernel modules: %w", err)
		}
		if more > 0 {
			return fmt.Errorf("%s has %d modules more than the %d that are read", p.path, more, maxFiles)
		}
		slices.Sort(names)
		paths = paths[:0]
		for _, name := range names {
			paths = append(paths, filepath.Join(p.path, name))
		}
	}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := p.read(path)
		if err := visit(path, m, err); err != nil {
			return err
		}
	}
	return nil
}

// candidates returns the names of modules in a folder, those first that say
// they are for k, and how many more there are.
func candidates(dir string, k Kernel) (names []string, more int, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	for _, e := range entries {
		if !e.IsDir() && isModuleName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	rank := func(name string) int {
		switch {
		case k.Release == "":
		case strings.HasPrefix(name, "lime-"+k.Release+"."), strings.HasPrefix(name, "lime-"+k.Release+"-"+k.Machine+"."):
			return 0
		case strings.Contains(name, k.Release):
			return 1
		}
		if strings.HasPrefix(name, "lime") {
			return 2
		}
		return 3
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	if more = len(names) - maxFiles; more > 0 {
		return names[:maxFiles], more, nil
	}
	return names, 0, nil
}

func isModuleName(name string) bool {
	for _, suffix := range []string{".gz", ".zst", ".xz"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return strings.HasSuffix(name, ".ko")
}

// none says what the folder holds instead.
func (p *Path) none(k Kernel, refused []error, more int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s has none for %s (%s)", p.path, printable(k.Release), printable(k.Machine))
	if len(refused) == 0 {
		b.WriteString(": no file in it is called *.ko, *.ko.gz, *.ko.xz or *.ko.zst")
	}
	notPinned := false
	for i, err := range refused {
		notPinned = notPinned || errors.Is(err, ErrNotPinned)
		if i >= maxListed {
			continue
		}
		var mismatch *MismatchError
		if errors.As(err, &mismatch) {
			fmt.Fprintf(&b, "\n  %s: %s", printable(filepath.Base(mismatch.Origin)), strings.Join(mismatch.Reasons, "; "))
		} else {
			fmt.Fprintf(&b, "\n  %v", err)
		}
	}
	if hidden := max(0, len(refused)-maxListed); hidden > 0 {
		fmt.Fprintf(&b, "\n  and %d more that do not fit", hidden)
	}
	if more > 0 {
		fmt.Fprintf(&b, "\n  %d more were not read: at most %d are", more, maxFiles)
	}
	if notPinned {
		return fmt.Errorf("%w (%w): %s", ErrNoModule, ErrNotPinned, b.String())
	}
	return fmt.Errorf("%w: %s", ErrNoModule, b.String())
}

// read reads and parses one file. Pins are checked before anything else looks
// at its bytes; a pin of the unpacked module needs it unpacked.
func (p *Path) read(path string) (*Module, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", printable(path), err)
	}
	digest := sha256.Sum256(data)
	stored := hex.EncodeToString(digest[:])
	refuse := func() error {
		return fmt.Errorf("module %s: %w: %s", printable(path), ErrNotPinned, stored)
	}
	packed := slices.ContainsFunc([]string{gzipMagic, zstdMagic, xzMagic}, func(magic string) bool { return bytes.HasPrefix(data, []byte(magic)) })
	if len(p.pins) > 0 && !p.pins[stored] && !packed {
		return nil, refuse()
	}
	m, err := Parse(data, path)
	if err != nil {
		return nil, err
	}
	m.Signature = Unverified
	if len(p.pins) > 0 {
		if !p.pins[stored] && !p.pins[m.SHA256] {
			return nil, refuse()
		}
		m.Signature = Pinned
	}
	return m, nil
}

// readFile reads a regular file of at most MaxSize bytes, by the handle that
// it checked. Opening a FIFO would block, so the name is looked at first too.
func readFile(path string) ([]byte, error) {
	regular := func(info fs.FileInfo) error {
		switch {
		case !info.Mode().IsRegular():
			return errors.New("not a regular file")
		case info.Size() > MaxSize:
			return fmt.Errorf("has %d bytes: no module has more than %d", info.Size(), MaxSize)
		}
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := regular(info); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if err := regular(info); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, MaxSize+1)) // Parse refuses the one more
}
