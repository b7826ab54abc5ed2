//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a guest does while its memory is taken, so that there is something to find in it.
const (
	oddProcess = "shotglass-odd"
	oddPort    = "4711"
	oddCommand = "echo shotglass-history"
)

// workload starts a process of an odd name, a listening socket, and a shell that has a history.
func (r *rig) workload() {
	r.t.Helper()
	r.ssh(`cp /bin/sleep /dev/shm/` + oddProcess + `
		setsid /dev/shm/` + oddProcess + ` 3000 </dev/null >/dev/null 2>&1 &
		setsid perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1:` + oddPort + `") or die; sleep 3000' </dev/null >/dev/null 2>&1 &
		setsid sh -c '(echo "` + oddCommand + `"; exec sleep 3000) | bash --norc -i' </dev/null >/dev/shm/history 2>&1 &
		n=0; until ss -tln | grep -q :` + oddPort + ` && grep -q shotglass-history /dev/shm/history; do sleep 0.2; n=$((n+1)); test $n -lt 100 || exit 1; done`)
}

// A truth is what the guest's own tools say, before an image and after it.
type truth struct{ processes, modules, mounts, sockets []string }

func (r *rig) truth() truth {
	r.t.Helper()
	lines := func(script string) []string { return strings.Split(strings.TrimSpace(r.ssh(script)), "\n") }
	return truth{
		// The kernel adds to the names of its workers what they work on, and its threads' may be longer than what is in task_struct.
		processes: lines(`for d in /proc/[0-9]*; do echo "${d#/proc/} $(sed 's|^\(kworker/[^+-]*\).*|\1|; s|^\(.\{15\}\).*|\1|' $d/comm 2>/dev/null)"; done`),
		modules:   lines(`cut -d' ' -f1 /proc/modules`),
		mounts:    lines(`cut -d' ' -f1,5 /proc/self/mountinfo`),
		sockets:   lines(`ss -tlnH | awk '{print $4}'`),
	}
}

// both is what was there before and after, so meanwhile.
func both(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(before), func(s string) bool { return !slices.Contains(after, s) })
}

// opens has Volatility read an image with a symbol file made of what was collected beside it, and
// nothing else, and holds what it says against what the guest says itself.
func (r *rig) opens(t *testing.T, image, raw string, before truth) {
	after := r.truth()
	dir := t.TempDir()
	start(t, nil, "live", "--output", filepath.Join(dir, "live"), image).want(0, time.Minute)
	p := start(t, nil, "symbols", "--from", filepath.Join(dir, "live"), "--output", filepath.Join(dir, "sym", "kernel.json.xz"))
	p.want(0, time.Minute)
	t.Logf("%s%s", p.stdout.String(), p.stderr.String())
	// Beside the image it is the same, to the byte.
	p = start(t, nil, "symbols", image)
	p.want(0, time.Minute)
	if a, b := sha256File(t, image+".isf.json.xz"), sha256File(t, filepath.Join(dir, "sym", "kernel.json.xz")); a != b || !strings.Contains(p.stdout.String(), "sha256:"+a) {
		t.Errorf("beside the image %s, of what was unpacked %s, printed %q", a, b, p.stdout.String())
	}
	v := volatility{t, raw, filepath.Join(dir, "sym"), t.TempDir()}

	has := func(what string, want, got []string) {
		t.Helper()
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%s: the guest has %q, Volatility does not: %q", what, w, got)
			}
		}
		if len(want) == 0 {
			t.Errorf("%s: the guest has none", what)
		}
	}
	processes := both(before.processes, after.processes)
	if !slices.ContainsFunc(processes, func(s string) bool { return strings.HasSuffix(s, " "+oddProcess) }) {
		t.Errorf("the guest does not run %s: %q", oddProcess, processes)
	}
	has("linux.pslist", processes, v.column("linux.pslist", "PID", "COMM"))
	// linux.pstree of 2.11.0 fails with a TypeError of its own, with dwarf2json's symbols too.
	has("linux.bash", []string{oddCommand}, v.column("linux.bash", "Command"))
	has("linux.lsmod", both(before.modules, after.modules), v.column("linux.lsmod", "Name"))
	has("linux.mountinfo", both(before.mounts, after.mounts), v.column("linux.mountinfo", "MOUNT ID", "MOUNT_POINT"))
	has("linux.lsof", []string{oddProcess + " /dev/null", "sshd /dev/null"}, v.column("linux.lsof", "Process", "Path"))
	sockets := v.column("linux.sockstat", "Source Addr", "Source Port", "State")
	for _, s := range both(before.sockets, after.sockets) {
		i := strings.LastIndex(s, ":")
		address := strings.NewReplacer("[", "", "]", "").Replace(s[:i])
		has("linux.sockstat", []string{address + " " + s[i+1:] + " LISTEN"}, sockets)
	}
	calls := v.column("linux.check_syscall", "Index", "Handler Symbol")
	has("linux.check_syscall", []string{"0 __x64_sys_read", "59 __x64_sys_execve"}, calls)
	for _, c := range calls {
		if strings.HasSuffix(c, " UNKNOWN") {
			t.Errorf("linux.check_syscall: an unknown handler: %s", c)
		}
	}
}

// A volatility runs plugins, offline, with one folder of symbols and a cache of its own.
type volatility struct {
	t                     *testing.T
	image, symbols, cache string
}

// column runs a plugin and returns some columns of its rows, joined by spaces.
func (v volatility) column(plugin string, names ...string) []string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	cmd := exec.CommandContext(ctx, parts.Volatility, "-q", "--offline", "--cache-path", v.cache, "-r", "json", "-s", v.symbols, "-f", v.image, plugin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		v.t.Errorf("%s: %v: %s%s", plugin, err, out, stderr.String())
		return nil
	}
	var rows []map[string]any
	if err := json.Unmarshal(out, &rows); err != nil {
		v.t.Errorf("%s: %v: %.300s", plugin, err, out)
		return nil
	}
	var got []string
	for _, one := range rows {
		var words []string
		for _, n := range names {
			words = append(words, fmt.Sprint(one[n]))
		}
		got = append(got, strings.Join(words, " "))
	}
	v.t.Logf("%s: %d rows in %.1f s", plugin, len(got), time.Since(began).Seconds())
	return got
}
