package main

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The same program makes the same zip, whatever its file's name, time and mode, with one file that Lambda can start.
func TestPack(t *testing.T) {
	dir := t.TempDir()
	var zips [][]byte
	for i, mode := range []os.FileMode{0o700, 0o644} {
		program, out := filepath.Join(dir, string(rune('a'+i))), filepath.Join(dir, "out.zip")
		if err := os.WriteFile(program, []byte(strings.Repeat("program ", 1000)), mode); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-time.Duration(i) * 1000 * time.Hour)
		if err := os.Chtimes(program, then, then); err != nil {
			t.Fatal(err)
		}
		if err := run([]string{program, out}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		zips = append(zips, b)
	}
	if !bytes.Equal(zips[0], zips[1]) {
		t.Error("two zips of one program differ")
	}
	z, err := zip.NewReader(bytes.NewReader(zips[0]), int64(len(zips[0])))
	if err != nil || len(z.File) != 1 {
		t.Fatalf("%v, %v", z, err)
	}
	f, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil || len(b) != 8000 || z.File[0].Name != "bootstrap" || z.File[0].Mode() != 0o755 {
		t.Errorf("%d bytes in %s, %s, %v", len(b), z.File[0].Name, z.File[0].Mode(), err)
	}
	for _, args := range [][]string{nil, {filepath.Join(dir, "none"), filepath.Join(dir, "x.zip")}, {filepath.Join(dir, "a"), filepath.Join(dir, "none", "x.zip")}} {
		if err := run(args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
