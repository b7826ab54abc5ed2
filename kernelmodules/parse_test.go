package kernelmodules_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

var testKernel = kernelmodules.Kernel{Release: testRelease, Machine: "x86_64"}

func parse(t *testing.T, data []byte) *kernelmodules.Module {
	t.Helper()
	m, err := kernelmodules.Parse(data, "lime.ko")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func gz(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func zst(data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(data, nil)
}

// xzed is what lime(testVermagic) once was, packed as the kernel's build packs modules: xz --check=crc32 --lzma2=dict=1MiB.
func xzed(t testing.TB) []byte {
	data, err := os.ReadFile("testdata/lime.ko.xz")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestParseXZ: nothing here packs with xz, so the module in it is known by its digest.
func TestParseXZ(t *testing.T) {
	m := parse(t, xzed(t))
	if m.SHA256 != "c2b1628a6dcc6746b080c4bbe733e4c3fbe7c9d2b992357742b79240b5ee94eb" || m.Size != 1688 || m.Vermagic != testVermagic || m.Check(testKernel) != nil {
		m.Data = nil
		t.Errorf("%+v", m)
	}
}

func TestParse(t *testing.T) {
	data := lime(testVermagic)
	for name, stored := range map[string][]byte{"plain": data, "gzip": gz(data), "zstd": zst(data)} {
		m := parse(t, stored)
		if !bytes.Equal(m.Data, data) || m.Size != int64(len(data)) || m.SHA256 != fmt.Sprintf("%x", sha256.Sum256(data)) {
			t.Errorf("%s: size %d, digest %s, or other bytes", name, m.Size, m.SHA256)
		}
		params := []string{"compress", "digest", "dio", "format", "localhostonly", "path", "timeout"}
		if m.Name != "lime" || m.Machine != "x86_64" || m.Vermagic != testVermagic || m.Release() != testRelease ||
			!slices.Equal(m.Params, params) || m.Signed || m.Verified() || m.Origin != "lime.ko" {
			m.Data = nil
			t.Errorf("%s: %+v", name, m)
		}
		if err := m.Check(testKernel); err != nil {
			t.Errorf("%s: Check: %v", name, err)
		}
	}
	b, err := json.Marshal(parse(t, data))
	if err != nil || bytes.Contains(b, []byte("Data")) {
		t.Errorf("JSON: %s, %v", b, err)
	}
}

func TestParseMachines(t *testing.T) {
	le, be := binary.ByteOrder(binary.LittleEndian), binary.ByteOrder(binary.BigEndian)
	for _, tt := range []struct {
		machine elf.Machine
		class   elf.Class
		order   binary.ByteOrder
		want    string // "" means refused
		fits    []string
	}{
		{elf.EM_X86_64, elf.ELFCLASS64, le, "x86_64", []string{"x86_64"}},
		{elf.EM_AARCH64, elf.ELFCLASS64, le, "aarch64", []string{"aarch64"}},
		{elf.EM_386, elf.ELFCLASS32, le, "i686", []string{"i386", "i586", "i686"}},
		{elf.EM_ARM, elf.ELFCLASS32, le, "armv7l", []string{"armv6l", "armv7l"}},
		{elf.EM_PPC64, elf.ELFCLASS64, le, "ppc64le", []string{"ppc64le"}},
		{elf.EM_PPC64, elf.ELFCLASS64, be, "ppc64", []string{"ppc64"}},
		{elf.EM_RISCV, elf.ELFCLASS64, le, "riscv64", []string{"riscv64"}},
		{elf.EM_S390, elf.ELFCLASS64, be, "s390x", []string{"s390x"}},
		{elf.EM_X86_64, elf.ELFCLASS32, le, "", nil}, // x32 has no kernel
		{elf.EM_X86_64, elf.ELFCLASS64, be, "", nil},
		{elf.EM_S390, elf.ELFCLASS64, le, "", nil},
		{elf.EM_SPARCV9, elf.ELFCLASS64, be, "", nil},
	} {
		data := fakeModule{Machine: tt.machine, Class: tt.class, Order: tt.order, Info: limeInfo(testVermagic)}.Bytes()
		m, err := kernelmodules.Parse(data, "lime.ko")
		if tt.want == "" {
			if err == nil || !strings.Contains(err.Error(), "machine that is not known") {
				t.Errorf("%v %v %v: %v", tt.machine, tt.class, tt.order, err)
			}
			continue
		}
		if err != nil || m.Machine != tt.want {
			t.Errorf("%v %v %v: machine %q, %v; want %q", tt.machine, tt.class, tt.order, m.Machine, err, tt.want)
			continue
		}
		for _, machine := range []string{"x86_64", "aarch64", "i386", "i586", "i686", "armv6l", "armv7l", "ppc64le", "ppc64", "riscv64", "s390x", ""} {
			err := m.Check(kernelmodules.Kernel{Release: testRelease, Machine: machine})
			if fits := slices.Contains(tt.fits, machine); fits != (err == nil) {
				t.Errorf("%s module on %q: %v", tt.want, machine, err)
			}
		}
	}
}

// TestParseTruncated cuts a module everywhere.
func TestParseTruncated(t *testing.T) {
	data := fakeModule{Info: limeInfo(testVermagic), Padding: 500}.Bytes()
	for n := 4; n < len(data); n++ {
		_, err := kernelmodules.Parse(data[:n], "lime.ko")
		if err == nil || !strings.Contains(err.Error(), "is truncated") {
			t.Fatalf("first %d of %d bytes: %v", n, len(data), err)
		}
		if want := fmt.Sprintf("%d of %d bytes are missing", len(data)-n, len(data)); n >= 64 && !strings.Contains(err.Error(), want) {
			t.Fatalf("first %d of %d bytes: %v, want %q", n, len(data), err, want)
		}
	}
	for name, packed := range map[string][]byte{"gzip": gz(data), "zstd": zst(data), "xz": xzed(t)} {
		for n := 6; n < len(packed); n++ {
			if _, err := kernelmodules.Parse(packed[:n], "lime.ko"); err == nil || !strings.Contains(err.Error(), "truncated") {
				t.Fatalf("%s: first %d of %d bytes: %v", name, n, len(packed), err)
			}
		}
	}
}

// TestParseTruncatedBeforeTable: stripping tools may put the section headers
// before the last section.
func TestParseTruncatedBeforeTable(t *testing.T) {
	data := lime(testVermagic)
	shoff := binary.LittleEndian.Uint64(data[40:])
	names := shoff + 5*64 // header of .shstrtab
	binary.LittleEndian.PutUint64(data[names+24:], uint64(len(data)))
	if _, err := kernelmodules.Parse(data, "lime.ko"); err == nil || !strings.Contains(err.Error(), "bytes are missing") {
		t.Errorf("section beyond the end: %v", err)
	}
	for _, huge := range []uint64{1 << 40, 1<<64 - 1, 1<<64 - 8} {
		binary.LittleEndian.PutUint64(data[names+24:], huge)
		if _, err := kernelmodules.Parse(data, "lime.ko"); err == nil || !strings.Contains(err.Error(), "is damaged") {
			t.Errorf("section at %#x: %v", huge, err)
		}
	}
}

func TestParseSigned(t *testing.T) {
	plain := lime(testVermagic)
	data := sign(plain, 700)
	m := parse(t, data)
	if !m.Signed || m.Check(testKernel) != nil || m.Size != int64(len(data)) {
		t.Errorf("signed module: %+v", m)
	}
	for n := len(plain) + 4; n < len(data); n++ {
		want := fmt.Sprintf("truncated in its signature: %d of %d bytes", len(data)-n, len(data))
		if _, err := kernelmodules.Parse(data[:n], "lime.ko"); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("signature cut at %d: %v, want %q", n-len(plain), err, want)
		}
	}
	const marker = "~Module signature appended~\n"
	for name, data := range map[string][]byte{
		"marker alone":  append(bytes.Clone(plain), marker...),
		"no signature":  append(bytes.Clone(plain), "\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00"+marker...),
		"too long":      append(bytes.Clone(plain), "\x00\x00\x02\x00\x00\x00\x00\x00\xff\xff\xff\xff"+marker...),
		"inside of ELF": fakeModule{Info: []string{"x=y"}}.Bytes(),
	} {
		if name == "inside of ELF" {
			data = append(data[:len(data)-len(marker)], marker...)
		}
		if _, err := kernelmodules.Parse(data, "lime.ko"); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if m := parse(t, append(bytes.Clone(plain), "padding"...)); m.Signed {
		t.Error("padding taken for a signature")
	}
}

func TestParseName(t *testing.T) {
	old := slices.DeleteFunc(limeInfo(testVermagic), func(s string) bool { return strings.HasPrefix(s, "name=") })
	for _, class := range []elf.Class{elf.ELFCLASS32, elf.ELFCLASS64} {
		machine := elf.EM_X86_64
		if class == elf.ELFCLASS32 {
			machine = elf.EM_386
		}
		f := fakeModule{Machine: machine, Class: class, Info: old, This: "lime"}
		if m := parse(t, f.Bytes()); m.Name != "lime" {
			t.Errorf("%v: name %q from struct module", class, m.Name)
		}
		f.This = "\x80\xff\xff"
		if m := parse(t, f.Bytes()); m.Name != "" {
			t.Errorf("%v: name %q from a struct module with another layout", class, m.Name)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	bomb := gz(make([]byte, kernelmodules.MaxSize+1))
	greedy := xzed(t) // its block's header asks for a dictionary of 4 GiB
	greedy[16] = 40
	binary.LittleEndian.PutUint32(greedy[20:], crc32.ChecksumIEEE(greedy[12:20]))
	tar := make([]byte, 512)
	copy(tar, "lime.ko")
	copy(tar[257:], "ustar")
	damaged := func(at int, b ...byte) []byte {
		d := lime(testVermagic)
		copy(d[at:], b)
		return d
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":         {nil, "is empty"},
		"zeros":         {make([]byte, 4096), "is blank"},
		"web page":      {[]byte("\n<!DOCTYPE html><title>404"), "a web page"},
		"S3 error":      {[]byte(`<?xml version="1.0"?><Error><Code>NoSuchKey`), "an XML document"},
		"text":          {[]byte("Not found\x1b[2J"), `text: "Not found\x1b[2J"`},
		"LFS pointer":   {[]byte("version https://git-lfs.github.com/spec/v1\noid"), "Git LFS"},
		"script":        {[]byte("#!/bin/sh\n"), "a script"},
		"deb":           {[]byte("!<arch>\ndebian-binary"), ".deb"},
		"tar":           {tar, "a tar archive"},
		"tar.gz":        {gz(tar), "a tar archive"},
		"xz cut":        {[]byte("\xfd7zXZ\x00\x00\x04"), "truncated"},
		"xz of 4 GiB":   {greedy, "is packed, and damaged"},
		"twice":         {gz(gz([]byte("x"))), "packed twice"},
		"binary":        {[]byte{1, 2, 3, 0xff}, "starts with 01 02 03 ff"},
		"bomb":          {bomb, "unpacks to more"},
		"too big":       {make([]byte, kernelmodules.MaxSize+1), "no module has more"},
		"bad gzip":      {[]byte("\x1f\x8bxxxxxxxxxxxxxxxx"), "is packed, and damaged"},
		"program":       {fakeModule{Kind: elf.ET_DYN, Info: limeInfo("")}.Bytes(), "ET_DYN"},
		"core":          {fakeModule{Kind: elf.ET_CORE}.Bytes(), "ET_CORE"},
		"object":        {fakeModule{This: "-", Info: limeInfo("")}.Bytes(), "the .o instead of the .ko"},
		"no modinfo":    {fakeModule{}.Bytes(), "the .o instead of the .ko"},
		"class":         {damaged(4, 9), "ELF class is 9"},
		"byte order":    {damaged(5, 9), "byte order is 9"},
		"no sections":   {damaged(40, make([]byte, 8)...), "stripped of its sections"},
		"section size":  {damaged(58, 63, 0), "is damaged"},
		"names section": {damaged(62, 0xff, 0xff), "is damaged"},
		"names type":    {damaged(62, 1, 0), "no string table"},
	} {
		_, err := kernelmodules.Parse(tt.data, "lime.ko")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestCheckListsAll(t *testing.T) {
	data := fakeModule{Machine: elf.EM_AARCH64, Info: []string{"name=evil\x1b[2J", "vermagic=5.4.0 SMP", "parmtype=path:charp", "parm=broken"}}.Bytes()
	err := parse(t, data).Check(kernelmodules.Kernel{Release: testRelease + "\n", Machine: "x86_64"})
	var mismatch *kernelmodules.MismatchError
	if !errors.As(err, &mismatch) || len(mismatch.Reasons) != 4 {
		t.Fatalf("Check: %v", err)
	}
	for _, want := range []string{`"evil\x1b[2J"`, "aarch64", `"5.4.0"`, `6.1.0-56-cloud-amd64\n`, "format, localhostonly, timeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: lacks %q", err, want)
		}
	}
	if strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("raw control bytes in %q", err)
	}
	for name, k := range map[string]kernelmodules.Kernel{
		"nothing known": {}, "prefix": {Release: "6.1.0-56-cloud-amd6", Machine: "x86_64"}, "longer": {Release: testRelease + "1", Machine: "x86_64"},
	} {
		if err := parse(t, lime(testVermagic)).Check(k); err == nil {
			t.Errorf("%s: fits", name)
		}
	}
	if err := parse(t, lime("")).Check(testKernel); err == nil || !strings.Contains(err.Error(), "no vermagic") {
		t.Errorf("without vermagic: %v", err)
	}
}

// TestRealModule reads a module that the lab built.
func TestRealModule(t *testing.T) {
	path := os.Getenv("SHOTGLASS_TEST_MODULE")
	if path == "" {
		t.Skip("SHOTGLASS_TEST_MODULE is not set")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := kernelmodules.Parse(data, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Check(kernelmodules.Kernel{Release: m.Release(), Machine: m.Machine}); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", struct {
		Name, Version, Vermagic, Machine string
		Params                           []string
		Signed                           bool
		Size                             int64
	}{m.Name, m.Version, m.Vermagic, m.Machine, m.Params, m.Signed, m.Size})
	for _, n := range []int{len(m.Data) - 1, len(m.Data) / 2, 100} {
		if _, err := kernelmodules.Parse(m.Data[:n], path); err == nil {
			t.Errorf("first %d of %d bytes accepted", n, len(m.Data))
		}
	}
}

func FuzzParse(f *testing.F) {
	data := lime(testVermagic)
	f.Add(data)
	f.Add(data[:len(data)-100])
	f.Add(sign(data, 300))
	f.Add(sign(data, 300)[:len(data)+200])
	f.Add(fakeModule{Machine: elf.EM_386, Class: elf.ELFCLASS32, Info: limeInfo(""), This: "lime"}.Bytes())
	f.Add(fakeModule{Machine: elf.EM_S390, Order: binary.BigEndian, Info: limeInfo("")}.Bytes())
	f.Add(gz(data))
	f.Add(zst(data))
	f.Add(xzed(f))
	f.Add([]byte("<html>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := kernelmodules.Parse(data, "fuzz")
		if err != nil {
			return
		}
		if m.Size != int64(len(m.Data)) || m.Machine == "" || len(m.SHA256) != 64 || m.Verified() {
			t.Errorf("%+v", m)
		}
		if err := m.Check(testKernel); err == nil && (m.Release() != testRelease || m.Name != "lime") {
			t.Errorf("%+v passed", m)
		}
	})
}
