package triage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// printed makes a report of what plugins printed.
func printed(t *testing.T, h *Host, tables map[string]string) *Report {
	t.Helper()
	r, dir := &Report{Type: Type, Version: Version}, t.TempDir()
	for name, table := range tables {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(table), 0o600); err != nil {
			t.Fatal(err)
		}
		r.Plugins = append(r.Plugins, PluginResult{Name: name, File: name + ".json"})
	}
	r.read(Options{Folder: dir, Host: h})
	if err := r.write(filepath.Join(dir, ReportName)); err != nil {
		t.Fatal(err)
	}
	return r
}

// rows is a table of n rows, and others after them.
func rows(n int, row func(i int) string, others ...string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(row(i) + ",\n")
	}
	return "[" + strings.TrimSuffix(b.String()+strings.Join(others, ","), ",\n") + "]"
}

// long is a host with more processes and sockets than a report lists. The last of them are known to both sides, or to memory only.
func long() (*Host, map[string]string) {
	last := entry(4_000_000, 1, "last", 20)
	h := host{
		before: []string{entry(1, 0, "systemd", 0), last}, after: []string{entry(1, 0, "systemd", 0), last}, ps: []int{1, 4_000_000},
		items: map[string]string{},
	}
	for _, s := range []string{"before", "after"} {
		h.items[s+"/sockets"] = "/proc/net/tcp:  0: 00000000:0016 00000000:0000 0A 0:0 00:0 0 0 0 7 1\n"
	}
	process := func(pid, start int, name string) string {
		return fmt.Sprintf(`{"PID":%d,"PPID":1,"COMM":%q,"CREATION TIME":%q}`, pid, name, at(start).Format("2006-01-02T15:04:05"))
	}
	return h.make(), map[string]string{
		PsList:   rows(maxListed+10, func(i int) string { return process(i+1, 150, "crowd") }, process(4_000_000, 20, "last"), process(4_000_001, 20, "unseen")),
		PsAux:    rows(1, func(int) string { return fmt.Sprintf(`{"PID":1,"ARGS":"%s"}`, strings.Repeat("a", 1<<20)) }),
		Sockstat: rows(maxListed+10, func(int) string { return `{"Family":"AF_UNIX","PID":1}` }, `{"Family":"AF_INET","Proto":"TCP","Source Addr":"0.0.0.0","Source Port":22,"Destination Addr":"0.0.0.0","Destination Port":0,"State":"LISTEN","PID":1,"NetNS":1}`),
		Bash:     rows(1, func(int) string { return fmt.Sprintf(`{"PID":1,"Command":"%s"}`, strings.Repeat("b", 1<<20)) }),
	}
}

// TestReadLong: what is compared is all of it, however little of it is listed.
func TestReadLong(t *testing.T) {
	r := printed(t, func() *Host { h, _ := long(); return h }(), func() map[string]string { _, p := long(); return p }())
	for name, want := range map[string]Class{"last": "", "unseen": Hidden, "tcp 0.0.0.0:22": ""} {
		if got, detail := find(t, r.Comparison, name); got != want {
			t.Errorf("%s is %q (%s), want %q", name, got, detail, want)
		}
	}
	if r.Comparison.Both.Processes != 1 || r.Comparison.Both.Sockets != 1 {
		t.Errorf("both: %+v", r.Comparison.Both)
	}
	if len(r.Processes) != maxListed || len(r.Sockets) != 1 || len(r.Comparison.Differences) != maxListed || r.Comparison.Differences[0].Class != Hidden {
		t.Errorf("%d processes, %d sockets, %d differences", len(r.Processes), len(r.Sockets), len(r.Comparison.Differences))
	}
	if got := strings.Join(r.Cut, "; "); got != "the first 20000 of 20012 processes are listed; the first 20000 of 20012 differences are listed" {
		t.Errorf("cut: %q", got)
	}
	if len(r.Processes[0].Args) > maxText+100 || len(r.History[0].Command) > maxText+100 || !strings.HasSuffix(r.History[0].Command, "(1048576 bytes)") {
		t.Errorf("arguments of %d bytes, a command of %d", len(r.Processes[0].Args), len(r.History[0].Command))
	}
}

// TestReadTooLong: a table that is too long to compare with is not compared, and the report says so.
func TestReadTooLong(t *testing.T) {
	defer func(n int) { maxCompared = n }(maxCompared)
	maxCompared = 100
	h, plugins := long()
	r := printed(t, h, plugins)
	if d := r.Comparison.Differences; len(d) != 0 {
		t.Errorf("%d differences, as %+v", len(d), d[0])
	}
	said := strings.Join(r.NotCompared, "\n")
	if !strings.Contains(said, "processes: linux.pslist.PsList shows more than 100") || !strings.Contains(said, "sockets: the processes") || len(r.Cut) != 1 || !strings.Contains(r.Cut[0], "at least 101 processes") {
		t.Errorf("not compared %q, cut %q", r.NotCompared, r.Cut)
	}
	scan := func(i int) string {
		return fmt.Sprintf(`{"PID":%d,"TID":%d,"COMM":"s","EXIT_STATE":"TASK_RUNNING"}`, i+1000, i+1000)
	}
	r = printed(t, h, map[string]string{PsList: rows(1, func(int) string { return `{"PID":1,"PPID":0,"COMM":"systemd"}` }), PsScan: rows(200, scan)})
	if said := strings.Join(r.NotCompared, "\n"); !strings.Contains(said, "that only a scan finds") || r.Comparison.Both.Processes != 1 {
		t.Errorf("not compared %q, %+v", r.NotCompared, r.Comparison.Both)
	}
}

// TestParseBounded: a report that somebody else wrote is bounded.
func TestParseBounded(t *testing.T) {
	r := &Report{Type: Type, Version: Version, Processes: make([]Process, maxParsed)}
	for range 2 {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseReport(data); (err == nil) != (len(r.Processes) == maxParsed) {
			t.Errorf("%d processes: %v", len(r.Processes), err)
		}
		r.Processes = append(r.Processes, Process{})
	}
	data := []byte(`{"type":"shotglass-triage","v":1,"not_compared":[` + string(bytes.Repeat([]byte(`"",`), 1000)) + `""]}`)
	if _, err := ParseReport(data); err == nil {
		t.Error("1001 remarks pass")
	}
}

// TestEncodeFits: what is written can be read again, whatever an image says.
func TestEncodeFits(t *testing.T) {
	r := &Report{Type: Type, Version: Version}
	for range maxListed {
		r.History = append(r.History, Command{Command: "\x01\x01"}) // each is six bytes of JSON
	}
	const room = 1 << 20
	data, err := r.encode(room)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseReport(data)
	if err != nil || len(data) > room || len(data) < room/4 || len(again.Cut) != 1 || !strings.Contains(again.Cut[0], fmt.Sprintf("%d of 20000", len(again.History))) {
		t.Errorf("%v, %d bytes, cut %q", err, len(data), r.Cut)
	}
}
