//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/triage"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// A workload is what goes on on the guest, and what its live tools do not show.
type workload struct {
	named, hidden int // PIDs
	modules       []string
}

// work starts a named process, one that a bind mount hides from ps, a listener and a shell with a history.
func (r *rig) work() workload {
	r.t.Helper()
	out := r.ssh(`set -e
cp /bin/sleep /dev/shm/named-work
cp /bin/sleep /dev/shm/hidden-work
/dev/shm/named-work 9999 </dev/null >/dev/null 2>&1 &
n=$!
/dev/shm/hidden-work 9999 </dev/null >/dev/null 2>&1 &
h=$!
perl -MSocket -e 'socket(S,PF_INET,SOCK_STREAM,0) or die; bind(S,sockaddr_in(4444,INADDR_LOOPBACK)) or die; listen(S,5); sleep 9999' </dev/null >/dev/null 2>&1 &
mkfifo /run/typed
script -qfc 'bash --norc -i' /dev/null </run/typed >/dev/null 2>&1 &
exec 3>/run/typed
sleep 9999 >/dev/null 2>&1 </dev/null &
echo 'echo shotglass-was-here' >&3
sleep 1
mkdir /run/empty
mount --bind /run/empty /proc/$h
echo "$n $h"`)
	f := strings.Fields(out)
	w := workload{}
	if len(f) == 2 {
		w.named, _ = strconv.Atoi(f[0])
		w.hidden, _ = strconv.Atoi(f[1])
	}
	if w.named == 0 || w.hidden == 0 {
		r.t.Fatalf("the guest says %q", out)
	}
	if ps := r.ssh("ps -e"); !strings.Contains(ps, "named-work") || strings.Contains(ps, "hidden-work") {
		r.t.Fatalf("ps shows %s", ps)
	}
	for line := range strings.Lines(r.ssh("cat /proc/modules")) {
		name, _, _ := strings.Cut(line, " ")
		w.modules = append(w.modules, name)
	}
	return w
}

// A triaging is how triage is run. The zero value is with all plugins that the comparison rests on, of Volatility 2.11.0, and with results beside the image.
type triaging struct {
	env, flags []string
	newer      bool   // with Volatility 2.28.0, few plugins, and results elsewhere
	read       string // how it says that it read the image
}

// triaged has Volatility look at the image with symbols made of what was collected, and holds what comes of it against the
// guest: what goes on is there, and only what hides is named as suspicious.
func triaged(t *testing.T, r *rig, m *acquire.Manifest, w workload, how triaging) {
	plugins := []string{triage.PsList, triage.Lsmod, triage.Sockstat, triage.Bash}
	result, program := m.Image.Location+".triage", parts.Volatility
	flags := slices.Concat(how.flags, []string{"--signers", r.signers(), "--parallel", "2"})
	if how.newer {
		cache, err := lab.Cache()
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(t.TempDir(), "out")
		result, program, flags = filepath.Join(folder, triage.ReportName), filepath.Join(cache, "volatility3-2.28.0", "bin", "vol"), append(flags, "--output", folder)
	} else {
		plugins = append(plugins, triage.PsAux, triage.PsScan)
		t.Cleanup(func() { // others take the folder for the capture's own files
			os.Remove(result)
			os.RemoveAll(result + ".d")
		})
	}
	for _, p := range plugins {
		flags = append(flags, "--plugin", p)
	}
	p := start(t, append(how.env, "SHOTGLASS_VOLATILITY="+program), append(append([]string{"triage"}, flags...), m.Image.Location)...)
	p.want(0, 6*time.Minute)
	if strings.Contains(p.stderr.String(), "unpacking") {
		t.Errorf("it was unpacked: %s", p.stderr.String())
	}
	data, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	rep := new(triage.Report)
	if err := json.Unmarshal(data, rep); err != nil {
		t.Fatal(err)
	}
	if rep.Read != how.read || len(rep.Unread) > 0 {
		t.Errorf("read %q, want %q; could not be read: %q", rep.Read, how.read, rep.Unread)
	}
	if rep.Verified != acquire.VerdictOK || rep.SHA256 != m.Image.Raw.SHA256 {
		t.Errorf("verified %q, %s", rep.Verified, rep.SHA256)
	}
	for pid, args := range map[int]string{w.named: "/dev/shm/named-work 9999", w.hidden: "/dev/shm/hidden-work 9999"} {
		if !slices.ContainsFunc(rep.Processes, func(p triage.Process) bool {
			return p.PID == pid && (p.Args == args || how.newer && strings.HasPrefix(args, "/dev/shm/"+p.Name)) && !p.Scanned && !p.Created.IsZero()
		}) {
			t.Errorf("memory shows no process %d %q", pid, args)
		}
	}
	for _, name := range w.modules {
		if !slices.ContainsFunc(rep.Modules, func(x triage.Module) bool { return x.Name == name }) {
			t.Errorf("memory shows no module %s", name)
		}
	}
	if !slices.ContainsFunc(rep.Sockets, func(s triage.Socket) bool {
		return s.Local == "127.0.0.1:4444" && s.State == "LISTEN" && s.Name == "perl"
	}) {
		t.Errorf("memory shows no listener: %+v", rep.Sockets)
	}
	if !slices.ContainsFunc(rep.History, func(c triage.Command) bool { return c.Command == "echo shotglass-was-here" }) {
		t.Errorf("memory shows no history: %+v", rep.History)
	}
	c := rep.Comparison
	if c == nil || c.Both.Processes < 40 || c.Both.Modules < 5 || c.Both.Sockets < 2 {
		t.Fatalf("comparison: %+v", c)
	}
	for _, d := range c.Differences {
		t.Logf("%-10s %-8s %5d %s: %s", d.Class, d.Kind, d.PID, d.Name, d.Detail)
		if d.Class.Suspicious() != (d.PID == w.hidden && d.Kind == "process") {
			t.Errorf("%+v", d)
		}
		if d.PID == w.named {
			t.Errorf("the named process differs: %+v", d)
		}
	}
	if s := c.Suspicious(); len(s) != 1 || s[0].Class != triage.Covered || !strings.Contains(s[0].Detail, "is mounted over /proc/"+strconv.Itoa(w.hidden)) {
		t.Errorf("suspicious: %+v", s)
	}
	if how.newer {
		return
	}
	// The page of the case says so first.
	page := filepath.Join(t.TempDir(), "case.html")
	start(t, nil, "report", "--signers", r.signers(), "-o", page, r.dir).want(0, time.Minute)
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "covered: process "+strconv.Itoa(w.hidden)+" hidden-work") {
		t.Errorf("the report does not name the hidden process: %v", err)
	}
}
