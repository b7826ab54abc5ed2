package kernelmodules_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

func TestRecord(t *testing.T) {
	m := parse(t, lime(testVermagic))
	r := &kernelmodules.Record{
		How: kernelmodules.RecordBuilt, Tool: "shotglass 1", Time: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		Release: m.Release(), Machine: m.Machine, Vermagic: m.Vermagic, SHA256: m.SHA256, Size: m.Size, Imports: 5, Symvers: "ab",
		Headers:  []kernelmodules.RecordInput{{Name: "linux-headers-x", Version: "1", Arch: "amd64", SHA256: "cd"}},
		Commands: [][]string{{"make", "modules"}},
	}
	data, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	have, err := kernelmodules.ReadRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, have); diff != "" {
		t.Error(diff)
	}
	if err := have.Matches(m); err != nil {
		t.Error(err)
	}
	if err := have.Matches(parse(t, lime(testVermagic+"x "))); err == nil || !strings.Contains(err.Error(), "one of them was changed") {
		t.Errorf("another module: %v", err)
	}
	have.Machine = "aarch64"
	if err := have.Matches(m); err == nil || !strings.Contains(err.Error(), "(aarch64)") {
		t.Errorf("another machine: %v", err)
	}
	for data, want := range map[string]string{
		"":                                       "no record",
		"[]":                                     "no record",
		"{}":                                     "lacks v",
		`{"v":2,"sha256":"ab","release":"6.1"}`:  "version 2",
		"{" + strings.Repeat(" ", 1<<20) + "}":   "no record has more",
		`{"v":"1","sha256":"ab","release":"6."}`: "no record",
	} {
		if _, err := kernelmodules.ReadRecord([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", data, err, want)
		}
	}
}
