package acquire

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// An Avml is AVML's program, as the examiner brought it.
type Avml struct {
	Data    []byte `json:"-"`
	Size    int64  `json:"bytes"`
	SHA256  string `json:"sha256"` // lower-case hex
	Origin  string `json:"origin"` // the file
	Machine string `json:"machine"`
	Pinned  bool   `json:"pinned"` // SHA256 is one that the user named
}

// maxAvml bounds the program. AVML's own builds have 5 to 20 MB.
const maxAvml = 64 << 20

// ReadAvml reads AVML's program from a file. pins are SHA-256 digests in hexadecimal, one of which
// it must have; none: it is not pinned. Only what is an executable of Linux for x86-64 or arm64 is
// taken.
func ReadAvml(path string, pins []string) (*Avml, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no regular file", path), err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAvml+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAvml {
		return nil, fmt.Errorf("%s has more than %d bytes: is it AVML?", path, maxAvml)
	}
	sum := sha256.Sum256(data)
	a := &Avml{Data: data, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Origin: path}
	for _, p := range pins {
		a.Pinned = a.Pinned || strings.EqualFold(strings.TrimPrefix(p, "sha256:"), a.SHA256)
	}
	if len(pins) > 0 && !a.Pinned {
		return nil, fmt.Errorf("%s has the digest %s, which is not the pinned one", path, a.SHA256)
	}
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s is no program of Linux: %w", path, err)
	}
	machines := map[elf.Machine]string{elf.EM_X86_64: "x86_64", elf.EM_AARCH64: "aarch64"}
	if a.Machine = machines[e.Machine]; a.Machine == "" || e.Type != elf.ET_EXEC && e.Type != elf.ET_DYN {
		return nil, fmt.Errorf("%s is no program for x86-64 or arm64 (%s, %s)", path, e.Machine, e.Type)
	}
	return a, nil
}
