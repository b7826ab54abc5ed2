package kernelmodules_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// folder writes files and returns their folder.
func folder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newPath(t *testing.T, path string, pins ...string) *kernelmodules.Path {
	t.Helper()
	p, err := kernelmodules.NewPath(path, kernelmodules.PathOptions{Pins: pins})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func digest(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

func TestPathFile(t *testing.T) {
	data := lime(testVermagic)
	path := filepath.Join(folder(t, map[string][]byte{"lime.ko": data}), "lime.ko")
	m, err := newPath(t, path).Find(t.Context(), testKernel)
	if err != nil || m.Origin != path || m.Signature != kernelmodules.Unverified || m.Verified() {
		t.Fatalf("Find: %+v, %v", m, err)
	}
	_, err = newPath(t, path).Find(t.Context(), kernelmodules.Kernel{Release: "5.4.0", Machine: "x86_64"})
	var mismatch *kernelmodules.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Origin != path {
		t.Errorf("Find for another kernel: %v, want *MismatchError", err)
	}
	if _, err := kernelmodules.NewPath(path+".missing", kernelmodules.PathOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("NewPath of a missing file: %v", err)
	}
}

func TestPathFolder(t *testing.T) {
	data := lime(testVermagic)
	dir := folder(t, map[string][]byte{
		"README":                          []byte("text"),
		"a-first.ko":                      lime("5.10.0-1-amd64 SMP "),
		"broken.ko":                       data[:300],
		"lime-" + testRelease + "-arm.ko": fakeModule{Machine: 183, Info: limeInfo(testVermagic)}.Bytes(),
		"named-otherwise.ko.gz":           gz(data),
		"page.ko":                         []byte("<html>"),
		"packed.ko.xz":                    []byte("\xfd7zXZ\x00"),
	})
	if err := os.Mkdir(filepath.Join(dir, "folder.ko"), 0o700); err != nil {
		t.Fatal(err)
	}
	// Content decides.
	m, err := newPath(t, dir).Find(t.Context(), testKernel)
	if err != nil || filepath.Base(m.Origin) != "named-otherwise.ko.gz" {
		t.Fatalf("Find: %+v, %v", m, err)
	}
	// The name breaks a tie.
	if err := os.WriteFile(filepath.Join(dir, "lime-"+testRelease+".ko"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err = newPath(t, dir).Find(t.Context(), testKernel); err != nil || filepath.Base(m.Origin) != "lime-"+testRelease+".ko" {
		t.Fatalf("Find: %+v, %v", m, err)
	}
	// The error says what there is.
	_, err = newPath(t, dir).Find(t.Context(), kernelmodules.Kernel{Release: "4.19.0\x1b[2J", Machine: "x86_64"})
	if !errors.Is(err, kernelmodules.ErrNoModule) {
		t.Fatalf("Find for another kernel: %v, want ErrNoModule", err)
	}
	for _, want := range []string{"5.10.0-1-amd64", "aarch64", "truncated", "packed, and truncated", "web page", `4.19.0\x1b[2J`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newPath(t, dir).Find(ctx, testKernel); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_, err = newPath(t, t.TempDir()).Find(t.Context(), testKernel)
	if !errors.Is(err, kernelmodules.ErrNoModule) || !strings.Contains(err.Error(), "no file in it") {
		t.Errorf("empty folder: %v", err)
	}
}

func TestPathManyFiles(t *testing.T) {
	files := map[string][]byte{"zzz-lime.ko": lime(testVermagic)}
	for i := range 300 {
		files[fmt.Sprintf("other-%03d.ko", i)] = []byte("x")
	}
	dir := folder(t, files)
	_, err := newPath(t, dir).Find(t.Context(), testKernel)
	if !errors.Is(err, kernelmodules.ErrNoModule) || !strings.Contains(err.Error(), "45 more were not read") || !strings.Contains(err.Error(), "246 more that do not fit") {
		t.Errorf("Find among 301 files: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, "zzz-lime.ko"), filepath.Join(dir, "zzz-"+testRelease+".ko")); err != nil {
		t.Fatal(err)
	}
	if _, err := newPath(t, dir).Find(t.Context(), testKernel); err != nil {
		t.Errorf("Find of a file that names its kernel: %v", err)
	}
}

func TestPathPins(t *testing.T) {
	good, other := lime(testVermagic), sign(lime(testVermagic), 200)
	dir := folder(t, map[string][]byte{"lime-" + testRelease + ".ko": other, "z.ko": good})
	find := func(path string, pins ...string) (*kernelmodules.Module, error) {
		return newPath(t, path, pins...).Find(t.Context(), testKernel)
	}
	m, err := find(dir, digest(good))
	if err != nil || m.SHA256 != digest(good) || m.Signature != kernelmodules.Pinned || !m.Verified() {
		t.Errorf("Find in a folder: %+v, %v", m, err)
	}
	if m, err := find(dir, digest(good), "sha256:"+strings.ToUpper(digest(other))); err != nil || m.SHA256 != digest(other) {
		t.Errorf("Find with two pins: %+v, %v", m, err)
	}
	if m, err := find(filepath.Join(dir, "z.ko"), digest(other)); !errors.Is(err, kernelmodules.ErrNotPinned) || m != nil {
		t.Errorf("Find of another file: %+v, %v", m, err)
	}
	if _, err := find(dir, digest(nil)); !errors.Is(err, kernelmodules.ErrNotPinned) || !errors.Is(err, kernelmodules.ErrNoModule) {
		t.Errorf("Find of none: %v", err)
	}
	packed := gz(good)
	file := filepath.Join(folder(t, map[string][]byte{"lime.ko.gz": packed}), "lime.ko.gz")
	for _, pin := range []string{digest(good), digest(packed)} {
		if m, err := find(file, pin); err != nil || !m.Verified() || m.SHA256 != digest(good) {
			t.Errorf("Find of a packed file: %+v, %v", m, err)
		}
	}
	if _, err := find(file, digest(other)); !errors.Is(err, kernelmodules.ErrNotPinned) {
		t.Errorf("Find of another packed file: %v", err)
	}
	for _, pin := range []string{"", "abc", strings.Repeat("g", 64), digest(good) + "00"} {
		if _, err := kernelmodules.NewPath(dir, kernelmodules.PathOptions{Pins: []string{pin}}); err == nil {
			t.Errorf("pin %q accepted", pin)
		}
	}
}
