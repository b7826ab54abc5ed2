package acquire

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

//go:embed installed.sh
var installedScript string

// maxInstalled bounds an installed module as it is stored: LiME with its debug information
// has 2 MB. One command's output holds it.
const maxInstalled = maxOutput - 64<<10

// installedPath is where distributions and DKMS put modules. What a target says goes into a
// command line, so nothing else passes.
var installedPath = regexp.MustCompile(`^(/usr)?/lib/modules/[A-Za-z0-9._+~-]+(/[A-Za-z0-9_+~-][A-Za-z0-9._+~-]*)*/lime\.ko(\.(gz|xz|zst))?$`)

// installedPaths reads the files that facts.sh found, the one that modprobe would take first.
func installedPaths(text string) (paths []string) {
	for line := range strings.Lines(text) {
		p := strings.TrimSpace(line)
		if installedPath.MatchString(p) && !slices.Contains(paths, p) && len(paths) < maxInstalledPaths {
			paths = append(paths, p)
		}
	}
	return paths
}

const maxInstalledPaths = 4

// installedModule finds a module that lies on the target, fits its kernel and may be loaded. It only
// reads. What is returned is the bytes that were judged here: those are pushed and loaded, not
// the file, so that what the target does to it meanwhile, or modprobe's configuration, changes nothing,
// and a packed file needs no tool there. The error says of each file why not; nil, nil: there is none.
func installedModule(ctx context.Context, h *remote, k kernelmodules.Kernel) (*kernelmodules.Module, error) {
	var errs []error
	for _, path := range h.facts.lime {
		m, err := readInstalled(ctx, h, path)
		if err == nil {
			err = m.Check(k)
		}
		if err == nil && h.facts.wantsSigned() && !m.Signed {
			err = fmt.Errorf("module %s is not signed either", m.Origin)
		}
		if err == nil {
			err = vouchInstalled(h, m)
		}
		if err == nil {
			h.mark("%s, sha256 %s, is a LiME module for this kernel: %s", m.Origin, m.Installed.Checksum, m.Signature)
			return m, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		errs = append(errs, err)
		if _, hangs := errors.AsType[*errNoAnswer](err); hangs {
			break // the next would, too
		}
	}
	return nil, errors.Join(errs...)
}

// vouchInstalled says who vouches for an installed module. The target does not: whoever is root
// there may have put it there.
func vouchInstalled(h *remote, m *kernelmodules.Module) error {
	if slices.ContainsFunc(h.opts.ModulePins, func(pin string) bool {
		pin = strings.TrimPrefix(strings.ToLower(pin), "sha256:")
		return pin == m.SHA256 || pin == m.Installed.Checksum
	}) {
		m.Signature = kernelmodules.Pinned
		return nil
	}
	m.Signature = kernelmodules.UnverifiedInstalled
	if h.opts.AllowInstalledModule {
		return nil
	}
	signed := "without a signature"
	if m.Signed {
		signed = "with a signature for the kernel"
	}
	return &refusal{fmt.Sprintf("module %s is installed on the target and fits, %s, but nobody vouches for it: root there may have changed it", m.Origin, signed),
		fmt.Sprintf("compare its digest with one that does not come from the target, then pass --module-sha256 %s; or accept it on record with --insecure-installed-module", m.Installed.Checksum)}
}

// readInstalled reads one file.
func readInstalled(ctx context.Context, h *remote, path string) (*kernelmodules.Module, error) {
	data, err := h.readFile(ctx, path, maxInstalled)
	if err != nil {
		return nil, fmt.Errorf("read the installed module %s: %w", path, err)
	}
	m, err := kernelmodules.Parse(data, "installed:"+path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	m.Installed = &kernelmodules.Installed{Path: path, Checksum: hex.EncodeToString(sum[:]), Size: int64(len(data))}
	return m, nil
}

// readFile reads a file of the target as root; path has passed installedPath. What is foreign in
// the output, such as words of login scripts, is told apart by a nonce.
func (h *remote) readFile(ctx context.Context, path string, limit int) ([]byte, error) {
	nonce := newNonce()
	out, err := h.root(ctx, installedScript, nonce, path, strconv.Itoa(limit))
	if err != nil {
		return nil, err
	}
	_, rest, ok := bytes.Cut(out, []byte("\n@"+nonce+" "))
	line, data, whole := bytes.Cut(rest, []byte("\n"))
	size, err := strconv.Atoi(string(line))
	switch {
	case !ok || !whole || err != nil || size < 0:
		return nil, fmt.Errorf("the target answered %q", out[:min(len(out), 200)])
	case size > limit:
		return nil, fmt.Errorf("it has %d bytes, more than the %d that are read", size, limit)
	case len(data) != size:
		return nil, fmt.Errorf("%d of its %d bytes came", len(data), size)
	}
	return data, nil
}
