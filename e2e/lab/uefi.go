package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf16"
)

// Debian's UEFI firmware for QEMU (package ovmf), without Secure Boot.
const (
	uefiCode = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	uefiVars = "/usr/share/OVMF/OVMF_VARS_4M.fd"
)

// A guid is one in the mixed-endian form of UEFI.
type guid [16]byte

var (
	// EFI_IMAGE_SECURITY_DATABASE_GUID, EFI_CERT_X509_GUID: UEFI 2.10, 32.4.1.
	imageSecurity = guid{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
	certX509      = guid{0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72}
)

// firmware are QEMU's arguments for a UEFI whose variable db holds a certificate: Debian's kernel
// trusts that for modules, whether Secure Boot is on or not. The variables are a file in dir.
func firmware(dir string, cert []byte) ([]string, error) {
	store, err := os.ReadFile(uefiVars)
	if err != nil {
		return nil, fmt.Errorf("%w: %w: run e2e/lab/guests.sh (make e2e does)", ErrNotBuilt, err)
	}
	// EFI_SIGNATURE_LIST with one EFI_SIGNATURE_DATA, whose owner is nobody.
	var db bytes.Buffer
	db.Write(certX509[:])
	for _, n := range []int{28 + 16 + len(cert), 0, 16 + len(cert)} {
		binary.Write(&db, binary.LittleEndian, uint32(n))
	}
	db.Write(make([]byte, 16))
	db.Write(cert)
	if err := addVariable(store, "db", imageSecurity, db.Bytes()); err != nil {
		return nil, fmt.Errorf("%s: %w", uefiVars, err)
	}
	vars := filepath.Join(dir, "vars.fd")
	if err := os.WriteFile(vars, store, 0o600); err != nil {
		return nil, err
	}
	return []string{
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + uefiCode,
		"-drive", "if=pflash,unit=1,format=raw,file=" + commas(vars),
	}, nil
}

// variable is EDK II's AUTHENTICATED_VARIABLE_HEADER (MdeModulePkg/Include/Guid/VariableFormat.h).
type variable struct {
	StartID    uint16
	State      uint8
	_          uint8
	Attributes uint32
	Count      uint64
	Time       [16]byte
	KeyIndex   uint32
	NameSize   uint32
	DataSize   uint32
	Vendor     guid
}

// addVariable appends a variable to those of a firmware's store.
func addVariable(store []byte, name string, vendor guid, data []byte) error {
	le := binary.LittleEndian
	if len(store) < 0x64 || string(store[0x28:0x2c]) != "_FVH" {
		return errors.New("not a store of UEFI variables")
	}
	at := int(le.Uint16(store[0x30:])) // the header of the volume, then that of the store
	at += 28
	for at+60 <= len(store) && le.Uint16(store[at:]) == 0x55aa {
		at += 60 + int(le.Uint32(store[at+36:])) + int(le.Uint32(store[at+40:]))
		at = (at + 3) &^ 3
	}
	text := utf16.Encode([]rune(name + "\x00"))
	var b bytes.Buffer
	err := binary.Write(&b, le, variable{
		StartID: 0x55aa, State: 0x3f,
		Attributes: 0x27, // non-volatile, for boot and run time, with time-based authentication
		NameSize:   uint32(2 * len(text)), DataSize: uint32(len(data)), Vendor: vendor,
	})
	if err != nil {
		return err
	}
	binary.Write(&b, le, text)
	b.Write(data)
	if at+b.Len() > len(store) || len(bytes.Trim(store[at:at+b.Len()], "\xff")) > 0 {
		return errors.New("no room for a variable")
	}
	copy(store[at:], b.Bytes())
	return nil
}
