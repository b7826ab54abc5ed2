package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/triage"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// writeLive writes an archive with one item, and returns the list of it.
func writeLive(t *testing.T, name, content string, stage live.Stage) []live.Item {
	t.Helper()
	return writeLiveItem(t, name, "version", "proc/version", content, stage)
}

// writeLiveItem does so for any item, in a file of the archive.
func writeLiveItem(t *testing.T, name, item, file, content string, stage live.Stage) []live.Item {
	t.Helper()
	return writeLiveItems(t, name, map[string]string{file: content}, func(it *live.Item) { it.Name, it.Stage = item, stage })
}

// writeLiveItems does so for several files; edit is called for each item.
func writeLiveItems(t *testing.T, name string, files map[string]string, edit func(*live.Item)) []live.Item {
	t.Helper()
	var items []live.Item
	for _, file := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256([]byte(files[file]))
		items = append(items, live.Item{Name: file, Stage: live.After, File: file, Bytes: int64(len(files[file])), SHA256: hex.EncodeToString(sum[:])})
		edit(&items[len(items)-1])
	}
	list, err := json.Marshal(items)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	put := func(name, content string) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o600, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	put(live.ListName, string(list))
	for _, it := range items {
		put(it.File, files[it.File])
	}
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(name, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return items
}

// TestTriageCollected: of an image that was verified, nothing is taken but the archive that its manifest lists.
func TestTriageCollected(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "x.lime")
	plain, locked := acquire.LiveName(image, false), acquire.LiveName(image, true)
	mine := writeLive(t, plain, "Linux version 6.1", live.After)
	manifest := func(encryption string, items []live.Item) *acquire.Manifest {
		return &acquire.Manifest{Live: &acquire.Live{Items: items, Complete: true, Image: acquire.Image{Location: "x", Encryption: encryption}}}
	}
	planted := append([]live.Item(nil), mine...)
	planted[0].SHA256 = strings.Repeat("0", 64)
	code := func(err error) int {
		var exit *exitError
		if errors.As(err, &exit) {
			return exit.Code
		}
		return 0
	}
	for _, tt := range []struct {
		name       string
		m          *acquire.Manifest
		unverified bool
		ok         func(error) bool
	}{
		{"listed", manifest("none", mine), false, func(err error) bool { return err == nil }},
		{"another", manifest("none", planted), false, func(err error) bool { return code(err) == exitMismatch }},
		{"another, unverified", manifest("none", planted), true, func(err error) bool { return err == nil }},
		{"the manifest's is encrypted", manifest("age", mine), false, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		{"the manifest lists none", &acquire.Manifest{}, false, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		{"none is stored", &acquire.Manifest{Live: &acquire.Live{Items: mine}}, false, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
	} {
		r := &triageRun{name: image, unverified: tt.unverified, manifest: tt.m}
		content, err := r.collected(t.Context())
		if !tt.ok(err) || (err == nil) != (r.o.Host != nil) || err == nil && string(content["proc/version"]) != "Linux version 6.1" {
			t.Errorf("%s: %v, host %+v", tt.name, err, r.o.Host)
		}
	}
	// The archive's name was taken, and it is kept under another, as the manifest says.
	kept := manifest("none", writeLive(t, filepath.Join(dir, "0123456789abcdef-"+filepath.Base(plain)), "Linux version 6.2", live.After))
	kept.Live.Image.Name = "0123456789abcdef-" + filepath.Base(plain)
	if content, err := (&triageRun{name: image, manifest: kept}).collected(t.Context()); err != nil || string(content["proc/version"]) != "Linux version 6.2" {
		t.Errorf("under another name: %v", err)
	}
	// Nobody vouches: which of two it is, is not for this program to guess.
	if err := os.WriteFile(locked, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLive(context.Background(), image, s3.Options{}, nil, nil); err == nil || !strings.Contains(err.Error(), "a capture stores one") {
		t.Errorf("two archives: %v", err)
	}
	one, err := openLive(context.Background(), plain, s3.Options{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	one.Close()
}

// TestPrintLive: nothing of an archive gets at the terminal.
func TestPrintLive(t *testing.T) {
	var b bytes.Buffer
	printLive(newConsole(nil, &b, &b), liveMessage{Items: []live.Item{{Name: "a\x1b[2J", Stage: "after\x1b[2J", Error: "c\x1b", Notes: []string{"d\x1b"}}}})
	if strings.Contains(b.String(), "\x1b") || !strings.Contains(b.String(), "after") {
		t.Errorf("%q", b.String())
	}
}

// TestPrintTriageCut: what the lists leave out is told, and what is not proved by name.
func TestPrintTriageCut(t *testing.T) {
	var b bytes.Buffer
	printTriage(&b, triage.Options{}, &triage.Report{Cut: []string{"the first 1 of 2 modules\x1b are listed"}, Unread: []string{"3 reads that failed"}, Plugins: []triage.PluginResult{{Name: "linux.bash.Bash", Without: "without 1 \x1b"}}, Comparison: &triage.Comparison{Differences: []triage.Difference{
		{Kind: "process", PID: 7, Name: "dd", In: "memory", Class: triage.Unlisted, Detail: "by its PID"}, {Kind: "process", PID: 8, Name: "sh", In: "memory", Class: triage.Ended}}}})
	if !strings.Contains(b.String(), "the first 1 of 2 modules") || !strings.Contains(b.String(), "could not be read: 3 reads that failed") || !strings.Contains(b.String(), "linux.bash.Bash: without 1 ") || !strings.Contains(b.String(), "UNLISTED: process 7 dd, only in memory: by its PID") || !strings.Contains(b.String(), "ended: 1 difference\n") || strings.Contains(b.String(), "\x1b") {
		t.Errorf("%q", b.String())
	}
}

// What was not compared is not said to be agreed on.
func TestPrintTriageAgreed(t *testing.T) {
	for want, both := range map[string]triage.Counts{
		"agree on 77 processes, 30 modules, 12 sockets\n": {Processes: 77, Modules: 30, Sockets: 12},
		"agree on 30 modules\n":                           {Modules: 30},
		"agree on nothing\n":                              {},
	} {
		var b strings.Builder
		printTriage(&b, triage.Options{}, &triage.Report{Comparison: &triage.Comparison{Both: both}})
		if !strings.Contains(b.String(), want) {
			t.Errorf("%+v: %s", both, b.String())
		}
	}
}
