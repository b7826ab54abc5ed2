//go:build unix

package acquire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// avmlTarget is a target on which a shell script plays AVML: it writes what AVML would of the
// memory.
func avmlTarget(t *testing.T, script string) (f *fakeKcore, options func(*Options), want []byte) {
	t.Helper()
	f = newKcore(t)
	rep, err := lime.Inspect(bytes.NewReader(f.image), lime.WalkerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want = bytes.Clone(f.image)
	var out []byte
	for _, r := range rep.Ranges {
		at := r.Offset + lime.HeaderSize
		first := (r.Range.Start + page - 1) &^ (page - 1)
		last := min(r.Range.End, (r.Range.End+1)&^(page-1)) - 1 // an end that is taken for exclusive
		data := want[at+int64(first-r.Range.Start) : at+int64(last-r.Range.Start)+1]
		out = append(lime.AppendHeader(out, lime.Range{Start: first, End: last}), data...)
		clear(want[at+int64(last-r.Range.Start)+1 : at+int64(r.Range.End-r.Range.Start)+1])
	}
	f.write("avml.out", string(out))
	if err := os.Mkdir(f.path("shm"), 0o700); err != nil {
		t.Fatal(err)
	}
	program := []byte("#!/bin/sh\n" + strings.ReplaceAll(script, "DIR", f.dir) + strings.Repeat("\n# to be more than one read", 4000) + "\n")
	sum := sha256.Sum256(program)
	return f, func(o *Options) {
		o.Method, o.AvmlFolder = MethodAvml, f.path("shm")
		o.CleanupTimeout = time.Minute
		o.Avml = &Avml{Data: program, Size: int64(len(program)), SHA256: hex.EncodeToString(sum[:]), Origin: "avml", Machine: "x86_64", Pinned: true}
	}, want
}

// goodAvml plays AVML 0.20.
const goodAvml = `case $1 in
--version) echo "avml 0.20.0" ;;
acquire) [ "$2 $3" = "--source DIR/kcore" ] && echo "a line of its own" && exec cat DIR/avml.out >"$4" ;;
*) exit 9 ;;
esac`

// gone fails if the folder of AVML is left.
func (f *fakeKcore) gone() {
	f.t.Helper()
	if left, _ := filepath.Glob(f.path("shm") + "/.sg-*"); len(left) > 0 {
		f.t.Errorf("left on the target: %q", left)
	}
}

func TestAvml(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, script string
		accept       int64
	}{
		{"0.20", goodAvml, 0},
		{"0.20, what it leaves out accepted", goodAvml, 1},
		{"0.14, without subcommands", `case $1 in
--version) echo "avml 0.14.0" ;;
--source) [ "$2" = DIR/kcore ] && exec cat DIR/avml.out >"$3" ;;
*) exit 9 ;;
esac`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f, options, want := avmlTarget(t, tt.script)
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) { options(o); o.AcceptUnreadable = tt.accept })
			m := manifestIn(t, dir)
			complete := tt.accept > 0
			if (res.State == StateComplete) != complete || m.Complete != complete || m.Method.Source != MethodAvml {
				t.Fatalf("%+v", res)
			}
			f.same(m, want)
			a, u := m.Method.Avml, m.Unreadable
			if a == nil || !strings.HasPrefix(a.Version, "avml 0.") || a.ExitCode != "0" || a.Records != 3 || a.Format != "lime" || a.SHA256 == "" || a.Bytes == 0 {
				t.Errorf("AVML %+v", a)
			}
			if u == nil || u.Pages != 1 || !slices.Equal(u.Ranges, []lime.Range{{Start: 0x17fffff, End: 0x17fffff}}) {
				t.Errorf("left out: %+v", u)
			}
			if !complete && !strings.Contains(strings.Join(m.Reasons, ";"), "AVML left 1 pages out") {
				t.Errorf("reasons %q", m.Reasons)
			}
			if fp := m.Footprint; !fp.Clean || fp.BytesPushed != a.Size || !strings.HasPrefix(fp.PushedTo, f.path("shm")+"/.sg-") {
				t.Errorf("footprint %+v", fp)
			}
			f.gone()
		})
	}
}

// TestAvmlFails: whatever AVML does, nothing stays on the target, and what came is not called complete.
func TestAvmlFails(t *testing.T) {
	t.Parallel()
	const version = `[ "$1" != --version ] || { echo avml 0.20.0; exit; }; `
	for _, tt := range []struct {
		name, script string
		edit         func(*Options)
		state        State
		reason       string
	}{
		{"gives up at a page", version + `{ cat DIR/avml.out | head -c 9000000; } >"$4"; echo "write block failed" >&2; exit 1`, nil, StatePartial, "the stream ends in the record"},
		{"gives up after a record", version + `{ cat DIR/avml.out | head -c 647200; } >"$4"; echo "write block failed" >&2; exit 1`, nil, StatePartial, `AVML ended with status "1"`},
		{"writes something else", version + `echo hello, here is a text of more than 32 bytes >"$4"`, nil, StateFailed, "not as AVML writes it"},
		{"writes nothing and fails", version + `echo "locked down /proc/kcore" >&2; exit 1`, nil, StateFailed, "locked down /proc/kcore"},
		{"arrives altered", goodAvml, func(o *Options) { o.Avml.SHA256 = strings.Repeat("ab", 32) }, StateFailed, "arrived altered"},
		{"cannot be run", "", func(o *Options) {
			o.Avml.Data = []byte("\x7fELF is no program")
			o.Avml.Size = int64(len(o.Avml.Data))
			sum := sha256.Sum256(o.Avml.Data)
			o.Avml.SHA256 = hex.EncodeToString(sum[:])
		}, StateFailed, `"run 12`},
		{"not pinned", goodAvml, func(o *Options) { o.Avml.Pinned = false }, StateFailed, "nobody pinned its digest"},
		{"for another machine", goodAvml, func(o *Options) { o.Avml.Machine = "aarch64" }, StateFailed, "is for aarch64"},
		{"no folder", goodAvml, func(o *Options) { o.AvmlFolder += "/not/there" }, StateFailed, "mkdir"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f, options, _ := avmlTarget(t, tt.script)
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) {
				options(o)
				if tt.edit != nil {
					tt.edit(o)
				}
			})
			if res.State != tt.state || res.Err == nil || !strings.Contains(res.Err.Error()+strings.Join(res.Reasons, ";"), tt.reason) {
				t.Errorf("%+v", res)
			}
			if len(res.Left) > 0 {
				t.Errorf("left: %q", res.Left)
			}
			f.gone()
		})
	}
}

// TestAvmlInterrupted: AVML ends with us, and its folder is gone long before.
func TestAvmlInterrupted(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, options, _ := avmlTarget(t, `[ "$1" != --version ] || { echo avml 0.20.0; exit; }
while :; do cat DIR/avml.out; sleep 600; done >"$4"`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	res := f.capture(ctx, dir, func(o *Options) {
		options(o)
		o.Observer = func(e Event) {
			if s, ok := e.(Streaming); ok {
				go func() { // its file is gone while it runs
					for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
						left, _ := filepath.Glob(f.path("shm") + "/.sg-*")
						if s.Progress.RawBytes.Load() >= 4<<20 && len(left) == 0 {
							cancel()
							return
						}
					}
					t.Error("AVML's folder is there while it runs")
					cancel()
				}()
			}
		}
	})
	m := manifestIn(t, dir)
	if res.State != StatePartial || !res.Interrupted || !m.Footprint.Clean || m.Image.Raw.Bytes == 0 {
		t.Errorf("%+v, footprint %+v", res, m.Footprint)
	}
	f.gone()
}

// TestAvmlAuto: auto takes AVML only where nothing else can be used, and speaks of it only if
// it was given.
func TestAvmlAuto(t *testing.T) {
	t.Parallel()
	f, options, _ := avmlTarget(t, goodAvml)
	for _, given := range []bool{true, false} {
		dir := t.TempDir()
		res := f.capture(t.Context(), dir, func(o *Options) {
			options(o)
			o.Method, o.Modules = MethodAuto, nil
			if !given {
				o.Avml = nil
			}
		})
		m := manifestIn(t, dir)
		i := slices.IndexFunc(m.Method.Candidates, func(c Candidate) bool { return c.Source == MethodAvml })
		if res.State != StateComplete || m.Method.Source != MethodKcore || (i >= 0) != given || given && !m.Method.Candidates[i].OK {
			t.Errorf("given %t: %s, %+v", given, m.Method.Source, m.Method.Candidates)
		}
	}
}

func TestProgramFolder(t *testing.T) {
	for _, tt := range []struct {
		mounts, given, dir, fs string
		ok                     bool
	}{
		{"tmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0\ntmpfs /run tmpfs rw 0 0\n", "", "/dev/shm", "tmpfs", true},
		{"tmpfs /dev/shm tmpfs rw,noexec 0 0\ntmpfs /run tmpfs rw,mode=755 0 0\n", "", "/run", "tmpfs", true},
		{"tmpfs /dev/shm tmpfs rw,noexec 0 0\ntmpfs /run tmpfs ro 0 0\n/dev/sda1 / ext4 rw 0 0\n", "", "", "", false},
		{"/dev/sda1 / ext4 rw 0 0\n/dev/sda2 /var ext4 rw 0 0\n", "/var/tmp/x", "/var/tmp/x", "ext4, as told", true},
	} {
		f := &Facts{mounts: tt.mounts}
		if dir, fs, ok := f.programFolder(tt.given); dir != tt.dir || fs != tt.fs || ok != tt.ok {
			t.Errorf("%q: %q, %q, %t", tt.mounts, dir, fs, ok)
		}
	}
}

func TestReadAvml(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "avml")
	if err := os.WriteFile(file, data[:min(len(data), maxAvml)], 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := ReadAvml(file, nil)
	if err != nil {
		t.Skip("the tests are no program of Linux that fits: ", err)
	}
	if a.Pinned || a.Machine == "" || a.Size == 0 {
		t.Errorf("%+v", a)
	}
	if a, err := ReadAvml(file, []string{strings.Repeat("0", 64), "sha256:" + strings.ToUpper(a.SHA256)}); err != nil || !a.Pinned {
		t.Errorf("pinned: %v", err)
	}
	for name, err := range map[string]error{
		"another digest": second(ReadAvml(file, []string{strings.Repeat("0", 64)})),
		"a folder":       second(ReadAvml(t.TempDir(), nil)),
		"a text":         second(ReadAvml("avml_test.go", nil)),
	} {
		if err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
