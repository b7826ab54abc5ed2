package lime

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseIOMem(t *testing.T) {
	for name, want := range map[string][]Range{
		"cloud": {{0x1000, 0x9fbff}, {0x100000, 0x1ffdcfff}},
		"uefi": {
			{0x1000, 0x57fff}, {0x59000, 0x9dfff}, {0x100000, 0x3a4c5fff}, {0x3a4c7000, 0x3a4c7fff},
			{0x3a4c8000, 0x3a510fff}, {0x3a511000, 0x3a569fff}, {0x3a56a000, 0x3a7fffff}, {0x3a800000, 0x3a800fff},
			{0x3ffff000, 0x3fffffff}, {0x100000000, 0x4ae7fffff},
		},
		"hotplug": {
			{0x1000, 0x9fbff}, {0x100000, 0xbffdffff}, {0x100000000, 0x13fffffff}, {0x148000000, 0x17fffffff},
			{0x240000000, 0x247ffffff}, {0x248000000, 0x24fffffff},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", "iomem", name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseIOMem(iotest.OneByteReader(bytes.NewReader(b)))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%v, %v, want %v", got, err, want)
			}
		})
	}
}

func TestParseIOMemErrors(t *testing.T) {
	hidden, err := os.ReadFile("testdata/iomem/hidden")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		want error // nil: any
	}{
		{"", ErrNoSystemRAM},
		{"00000000-00000fff : Reserved\n", ErrNoSystemRAM},
		{string(hidden), ErrIOMemHidden},
		{"00002000-00001000 : System RAM\n", ErrBadRange},
		{"00001000-00001fff : System RAM\n00001fff-00002fff : System RAM\n", nil},
		{"00001000-00001fff : System RAM\n00000000-00000000 : System RAM\n00000000-00000000 : System RAM\n", nil},
		{"cat: /proc/iomem: Permission denied\n", nil},
		{"00001000 : System RAM\n", nil},
		{"0000100g-00001fff : System RAM\n", nil},
		{"00001000- : System RAM\n", nil},
		{strings.Repeat("x", 5000), nil},
	} {
		got, err := ParseIOMem(strings.NewReader(c.text))
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%.60q: %v, %v", c.text, got, err)
		}
	}
	if _, err := ParseIOMem(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

func FuzzParseIOMem(f *testing.F) {
	files, err := filepath.Glob("testdata/iomem/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, r := range IOMemNamed(string(in), "Kernel code", "Kernel rodata") {
			if !r.Valid() || r.End == 0 {
				t.Fatalf("%v", r)
			}
		}
		got, err := ParseIOMem(bytes.NewReader(in))
		if err != nil {
			return
		}
		for i, r := range got {
			if !r.Valid() || i > 0 && r.Start <= got[i-1].End {
				t.Fatalf("ranges %v", got)
			}
		}
		if d := Compare(got, got); len(d) != 0 {
			t.Errorf("ranges differ from themselves: %v", d)
		}
	})
}
