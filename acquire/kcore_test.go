//go:build unix

package acquire

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// noBytes makes a dd that knows no flags; offsets are sought for by another dd.
const noBytes = `dd() { case "$*" in *skip_bytes*) echo "dd: unknown flag" >&2; return 1 ;; esac; command dd "$@"; }`

func TestKcoreComplete(t *testing.T) {
	t.Parallel()
	const busyboxGrep = `; grep() { busybox grep "$@"; }`
	busybox := `dd() { busybox dd "$@"; }` + busyboxGrep
	for _, tt := range []struct {
		name  string
		shell []string
		dd    string
		needs string
	}{
		{"sh, coreutils", []string{"/bin/sh"}, "", ""},
		{"dash, coreutils before 8.16", []string{"dash"}, noBytes, "dash"},
		{"bash, coreutils before 8.16", []string{"bash"}, noBytes, "bash"},
		{"busybox", []string{"busybox", "sh"}, busybox, "busybox"},
		{"busybox without flags", []string{"busybox", "sh"}, strings.ReplaceAll(noBytes, "command dd", "busybox dd") + busyboxGrep, "busybox"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(tt.shell[0]); err != nil {
				t.Skip(err)
			}
			noLeak(t)
			f := newKcore(t)
			f.shell, f.dd = tt.shell, tt.dd
			if tt.needs == "busybox" { // Debian's has none
				f.facts = func(text string) string { return strings.Replace(text, "od cksum", "od", 1) }
			}
			dir := t.TempDir()
			m := f.complete(dir, f.capture(t.Context(), dir, func(o *Options) { o.Connections = 3 }))
			if f.server.Seen() != 3 || m.Footprint.Logins != 3 || m.Method.Kcore.Connections.Most != 3 || f.scripts["read"] != 3 {
				t.Errorf("%d connections seen, method %+v, footprint %+v", f.server.Seen(), m.Method.Kcore, m.Footprint)
			}
			for _, c := range m.Checks {
				if c.Result != Pass {
					t.Errorf("check %s: %s: %s", c.Name, c.Result, c.Detail)
				}
			}
			if len(m.Reads) != 2 || m.Duration == 0 || m.Unreadable == nil || m.Unreadable.Pages != 0 {
				t.Errorf("reads %+v, duration %s, unreadable %+v", m.Reads, m.Duration, m.Unreadable)
			}
		})
	}
}

// TestKcoreChanges: what the capture rests on changes, before it or during it.
func TestKcoreChanges(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		when   string // script before whose nth run it changes
		nth    int
		change func(f *fakeKcore)
		state  State
		reason string
	}{
		{"memory added before", "look", 1, func(f *fakeKcore) { f.write("iomem", f.read("iomem")+"200000000-20000ffff : System RAM\n") }, StateFailed, "since the plan"},
		{"segments moved before", "look", 1, func(f *fakeKcore) { f.patch(64+8, 0xff) }, StateFailed, "since the plan"},
		{"memory added during", "look", 2, func(f *fakeKcore) { f.write("iomem", f.read("iomem")+"200000000-20000ffff : System RAM\n") }, StatePartial, "layout: "},
		{"segments moved during", "look", 2, func(f *fakeKcore) { f.patch(64+8, 0xff) }, StatePartial, "layout: "},
		{"rebooted before", "read", 1, func(f *fakeKcore) {}, StateFailed, "rebooted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newKcore(t)
			n := 0
			f.exec = func(name string) {
				if name == tt.when {
					if n++; n == tt.nth {
						tt.change(f)
					}
				}
			}
			if tt.reason == "rebooted" {
				f.boot = "11111111-2222-3333-4444-555555555555\n"
			}
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, nil)
			if res.State != tt.state || !strings.Contains(fmt.Sprint(res.Err), tt.reason) {
				t.Errorf("%s: %v", res.State, res.Err)
			}
		})
	}
}

// patch changes a byte of the file.
func (f *fakeKcore) patch(at int64, x byte) {
	file, err := os.OpenFile(f.path("kcore"), os.O_RDWR, 0)
	if err != nil {
		f.t.Error(err)
		return
	}
	defer file.Close()
	b := []byte{0}
	file.ReadAt(b, at)
	b[0] ^= x
	file.WriteAt(b, at)
}

// TestKcoreRefused: each reason has its name, and nothing is touched.
func TestKcoreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		section, body, says string
	}{
		"lockdown":   {"lockdown", "none integrity [confidentiality]\n", "confidentiality"},
		"container":  {"container", "docker\n", "container"},
		"missing":    {"kcore_denied", "missing\n", "CONFIG_PROC_KCORE"},
		"denied":     {"kcore_denied", "sh: cannot open /proc/kcore: Operation not permitted\n", "Operation not permitted"},
		"unreadable": {"kcore", "", "could not be read"},
		"not ELF":    {"kcore", strings.Repeat("00", 4096) + "\n", "not an ELF file"},
		"more RAM":   {"iomem", "00001000-0009fbff : System RAM\n00100000-17fffffff : System RAM\n", "no segment holds"},
		"no dd":      {"tools", "cat grep od sleep\n", "no dd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newKcore(t)
			f.facts = func(s string) string {
				if !strings.Contains(s, " kcore_denied\n") {
					s = strings.Replace(s, "\n@@"+testNonce+" end\n", "\n@@"+testNonce+" kcore_denied\n\n@@"+testNonce+" end\n", 1)
				}
				return replaceSection(s, tt.section, tt.body)
			}
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, nil)
			if res.State != StateFailed || !strings.Contains(fmt.Sprint(res.Err), tt.says) {
				t.Errorf("%s: %v", res.State, res.Err)
			}
			if e, _ := os.ReadDir(dir); len(e) != 0 || f.scripts["read"]+f.scripts["look"] != 0 {
				t.Errorf("left %v, scripts %v", e, f.scripts)
			}
		})
	}
}
