package kernelmodules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxSymvers bounds a Module.symvers, in bytes. That of a distribution's kernel has about one million.
const MaxSymvers = 64 << 20

// Symvers are the symbols that a kernel exports, with the CRCs of their types (modversions): the
// Module.symvers of its headers. It does not change, and may be shared.
type Symvers struct {
	SHA256 string // of the file, lower-case hex
	crcs   map[string]uint32
}

// ParseSymvers reads a Module.symvers: a line per symbol, with its CRC, name, and the module that
// has it, between tabs. It is safe to use on any bytes.
func ParseSymvers(data []byte) (*Symvers, error) {
	if len(data) > MaxSymvers {
		return nil, fmt.Errorf("Module.symvers has %d bytes, more than %d", len(data), MaxSymvers)
	}
	digest := sha256.Sum256(data)
	s := &Symvers{SHA256: hex.EncodeToString(digest[:]), crcs: make(map[string]uint32)}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		field := strings.SplitN(string(line), "\t", 4)
		hexCRC, ok := strings.CutPrefix(field[0], "0x")
		if len(field) < 3 || !ok || field[1] == "" {
			return nil, fmt.Errorf("Module.symvers, line %d is no symbol: %.60q", n, line)
		}
		crc, err := strconv.ParseUint(hexCRC, 16, 32)
		if err != nil {
			return nil, fmt.Errorf("Module.symvers, line %d has no CRC of 32 bits: %.60q", n, line)
		}
		if have, twice := s.crcs[field[1]]; twice && have != uint32(crc) {
			return nil, fmt.Errorf("Module.symvers has the symbol %s twice, with different CRCs", printable(field[1]))
		}
		s.crcs[field[1]] = uint32(crc)
	}
	if len(s.crcs) == 0 {
		return nil, errors.New("Module.symvers names no symbol")
	}
	return s, nil
}

// Len returns how many symbols there are.
func (s *Symvers) Len() int { return len(s.crcs) }

// CRC returns the CRC of a symbol, and whether the kernel exports it.
func (s *Symvers) CRC(symbol string) (uint32, bool) {
	crc, ok := s.crcs[symbol]
	return crc, ok
}

// modversions reports whether the kernel was built with CONFIG_MODVERSIONS: without it every CRC
// is 0.
func (s *Symvers) modversions() bool {
	for _, crc := range s.crcs {
		if crc != 0 {
			return true
		}
	}
	return false
}
