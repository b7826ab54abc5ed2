package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cavaliergopher/cpio"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// A Package is a .deb or .rpm file.
type Package struct {
	Path    string
	Name    string
	Version string
	Arch    string   // in the package's words: amd64, x86_64, all, noarch
	Depends []string // names of packages; of a .deb only
	SHA256  string
	RPM     bool // else a .deb
}

// Input is the package as records have it.
func (p *Package) Input() kernelmodules.RecordInput {
	return kernelmodules.RecordInput{Name: p.Name, Version: p.Version, Arch: p.Arch, SHA256: p.SHA256}
}

// Machine is the machine that the package is for, in uname -m's words; empty: any.
func (p *Package) Machine() string { return machines[p.Arch] }

// machines maps the architectures of packages.
var machines = map[string]string{"amd64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}

// IsPackage reports whether a file's name is that of a package.
func IsPackage(name string) bool {
	return strings.HasSuffix(name, ".deb") || strings.HasSuffix(name, ".rpm")
}

// OpenPackage reads what a package says of itself.
func OpenPackage(name string) (*Package, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, f); err != nil {
		return nil, fmt.Errorf("package %s: %w", name, err)
	}
	p := &Package{Path: name, SHA256: hex.EncodeToString(digest.Sum(nil))}
	if err := p.read(f); err != nil {
		return nil, fmt.Errorf("package %s: %w", name, err)
	}
	return p, nil
}

func (p *Package) read(f io.ReadSeeker) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	magic := make([]byte, 8)
	n, _ := io.ReadFull(f, magic)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	switch {
	case string(magic[:n]) == arMagic:
		ar, err := newArReader(f)
		if err != nil {
			return err
		}
		c, err := ar.control()
		if err != nil {
			return err
		}
		p.Name, p.Version, p.Arch, p.Depends = c["Package"], c["Version"], c["Architecture"], Dependencies(c["Depends"])
	case strings.HasPrefix(string(magic[:n]), rpmMagic):
		p.RPM = true
		if err := p.readRPM(f); err != nil {
			return err
		}
	default:
		return errors.New("is neither a .deb nor an .rpm package")
	}
	if p.Name == "" || p.Arch == "" {
		return errors.New("is damaged: it does not say what it is")
	}
	if p.Machine() == "" && p.Arch != "all" && p.Arch != "noarch" {
		return fmt.Errorf("is for %.20q, neither x86-64 nor arm64", p.Arch)
	}
	return nil
}

// Unpack writes those of its files whose names want accepts.
func (p *Package) Unpack(ctx context.Context, u *Unpacker, want func(string) bool) error {
	f, err := os.Open(p.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	digest := sha256.New()
	r := io.TeeReader(interruptible{ctx, f}, digest)
	a, done, err := p.open(r)
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Path, err)
	}
	defer done()
	if err := u.add(p.Path, a, want); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("package %s: %w", p.Path, err)
	}
	if hex.EncodeToString(digest.Sum(nil)) != p.SHA256 {
		return fmt.Errorf("package %s was changed while it was read", p.Path)
	}
	return nil
}

// open opens the files of the package that r reads.
func (p *Package) open(r io.Reader) (_ reader, done func(), err error) {
	if p.RPM {
		if _, err := readRPM(r); err != nil {
			return nil, nil, err
		}
		payload, done, err := decompress(r)
		if err != nil {
			return nil, nil, err
		}
		return &rpmReader{r: cpio.NewReader(payload), links: make(map[int64][]string)}, done, nil
	}
	ar, err := newArReader(r)
	if err != nil {
		return nil, nil, err
	}
	t, done, err := ar.member("data.tar")
	return tarReader{t}, done, err
}

// interruptible ends reading when its context does.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.r.Read(p)
}

// Tarball unpacks a tar, packed with gzip, xz, zstd or not, and returns the SHA-256 of the file, in
// lower-case hex.
func Tarball(ctx context.Context, name string, u *Unpacker) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	digest := sha256.New()
	r := io.TeeReader(interruptible{ctx, f}, digest)
	t, done, err := decompress(r)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	defer done()
	if err := u.add(name, tarReader{tar.NewReader(t)}, func(string) bool { return true }); err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}
