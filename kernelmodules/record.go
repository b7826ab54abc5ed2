package kernelmodules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Record says how a module was made, or where it came from. It lies beside the module, as
// FILE.ko.json, and vouches for nothing: nobody signed it.
type Record struct {
	V    int       `json:"v"`
	How  string    `json:"how"`  // RecordBuilt or RecordAdded
	Tool string    `json:"tool"` // that wrote it, with its version
	Time time.Time `json:"time"`

	Release  string `json:"release"`
	Machine  string `json:"machine"`
	Vermagic string `json:"vermagic"`
	SHA256   string `json:"sha256"` // of the module, with its signature
	Size     int64  `json:"size"`   // of the module, bytes

	// Imports is how many symbols the module wants from the kernel. Each was compared with the
	// Module.symvers whose digest is Symvers; empty: they were not.
	Imports int    `json:"imports"`
	Symvers string `json:"symvers_sha256,omitempty"`

	Headers        []RecordInput    `json:"headers,omitempty"`
	LiME           *RecordInput     `json:"lime,omitempty"`
	Origin         string           `json:"origin,omitempty"` // of an added module: the file
	Compiler       string           `json:"compiler,omitempty"`
	KernelCompiler string           `json:"kernel_compiler,omitempty"` // that of the kernel, as its configuration says
	Commands       [][]string       `json:"commands,omitempty"`        // BUILD stands for the temporary folder
	Environment    []string         `json:"environment,omitempty"`
	Signature      *RecordSignature `json:"signature,omitempty"`
}

// Values of Record.How.
const (
	RecordBuilt = "built"
	RecordAdded = "added"
)

// A RecordInput is something that a module was made of.
type RecordInput struct {
	Name    string `json:"name"` // of the package, or the path of the folder
	Version string `json:"version,omitempty"`
	Arch    string `json:"arch,omitempty"`   // in the package's words
	SHA256  string `json:"sha256,omitempty"` // of the file
	Tree    string `json:"tree_sha256,omitempty"`
}

// A RecordSignature is that of a module which was signed for the kernel.
type RecordSignature struct {
	Hash        string `json:"hash"`
	Subject     string `json:"subject"`            // of the certificate
	Serial      string `json:"serial"`             // of the certificate, hexadecimal
	Certificate string `json:"certificate_sha256"` // of the certificate in DER
	Unsigned    string `json:"unsigned_sha256"`    // of the module without its signature
}

// recordVersion is the newest that ReadRecord understands.
const recordVersion = 1

// maxRecord bounds a record, in bytes.
const maxRecord = 1 << 20

// RecordName returns the name of the record of a module's file.
func RecordName(module string) string { return module + ".json" }

// Bytes returns the record as it is stored.
func (r *Record) Bytes() ([]byte, error) {
	r.V = recordVersion
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// ReadRecord reads a record. Fields that it does not know are passed over.
func ReadRecord(data []byte) (*Record, error) {
	if len(data) > maxRecord {
		return nil, fmt.Errorf("has %d bytes: no record has more than %d", len(data), maxRecord)
	}
	r := &Record{}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(r); err != nil {
		return nil, fmt.Errorf("is no record of a module: %w", err)
	}
	switch {
	case r.V == 0 || r.SHA256 == "" || r.Release == "":
		return nil, errors.New("is no record of a module: it lacks v, sha256 or release")
	case r.V > recordVersion:
		return nil, fmt.Errorf("is of version %d: this program knows %d", r.V, recordVersion)
	}
	return r, nil
}

// Matches returns an error unless the record is about these bytes for this kernel.
func (r *Record) Matches(m *Module) error {
	switch {
	case r.SHA256 != m.SHA256:
		return fmt.Errorf("module %s has the sha256 %s, its record says %s: one of them was changed", m.Origin, m.SHA256, r.SHA256)
	case r.Release != m.Release() || r.Machine != m.Machine:
		return fmt.Errorf("module %s is for %s (%s), its record says %s (%s)", m.Origin, printable(m.Release()), m.Machine, printable(r.Release), printable(r.Machine))
	}
	return nil
}
