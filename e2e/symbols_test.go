//go:build e2e

package e2e

import (
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
		// The kernel adds to the names of its workers, but for rescuers (kworker/R-), what they work on, and its threads' may be longer than what is in task_struct.
		processes: lines(`for d in /proc/[0-9]*; do echo "${d#/proc/} $(sed 's|^\(kworker/[0-9u][^+-]*\).*|\1|; s|^\(.\{15\}\).*|\1|' $d/comm 2>/dev/null)"; done`),
		modules:   lines(`cut -d' ' -f1 /proc/modules`),
		mounts:    lines(`cut -d' ' -f1,5 /proc/self/mountinfo`),
		sockets:   lines(`ss -tlnH | awk '{print $4}'`),
	}
}

// both is what was there before and after, so meanwhile.
func both(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(before), func(s string) bool { return !slices.Contains(after, s) })
}

// symbols makes a symbol file of what was collected beside an image, and nothing else, and returns its folder.
func (r *rig) symbols(t *testing.T, image string) string {
	t.Helper()
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
	return filepath.Join(dir, "sym")
}
