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

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// A looked is what plugins of Volatility 3 found in an image: by the plugin's name, its rows.
type looked struct {
	t    *testing.T
	rows map[string][]map[string]any
}

// issued are the plugins that an image has to open with.
var issued = []string{
	"linux.pslist.PsList", "linux.pstree.PsTree", "linux.bash.Bash", "linux.lsmod.Lsmod", "linux.sockstat.Sockstat", "linux.lsof.Lsof",
	"linux.mountinfo.MountInfo", "linux.check_syscall.Check_syscall",
}

// lookInto has Volatility 2.28.0 open an image, offline, and run all plugins in one process: see plugins.py. shells are what
// linux.bash looks at; none: all processes.
func lookInto(t *testing.T, image, symbols string, shells []string) looked {
	t.Helper()
	cache, err := lab.Cache()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"plugins.py", image, symbols, t.TempDir()}, issued...)
	if len(shells) > 0 {
		args[4+slices.Index(issued, "linux.bash.Bash")] += ":pid=" + strings.Join(shells, ",")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(cache, "volatility3-2.28.0", "bin", "python"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", image, err, stderr.String())
	}
	var got map[string]struct {
		Rows    []map[string]any
		Error   string
		Seconds float64
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%s: %v: %.300s", image, err, out)
	}
	l := looked{t, map[string][]map[string]any{}}
	for _, plugin := range issued {
		if got[plugin].Error != "" || len(got[plugin].Rows) == 0 {
			t.Errorf("%s: %s: %d rows %s", image, plugin, len(got[plugin].Rows), got[plugin].Error)
		}
		t.Logf("%s: %d rows in %.1f s", plugin, len(got[plugin].Rows), got[plugin].Seconds)
		l.rows[plugin] = got[plugin].Rows
	}
	return l
}

// column returns some columns of a plugin's rows, joined by spaces.
func (l looked) column(plugin string, names ...string) []string {
	l.t.Helper()
	var got []string
	for _, row := range l.rows[plugin] {
		var words []string
		for _, n := range names {
			v, ok := row[n]
			if !ok {
				l.t.Errorf("%s has no column %s", plugin, n)
			}
			words = append(words, fmt.Sprint(v))
		}
		got = append(got, strings.Join(words, " "))
	}
	return got
}

// agrees holds every plugin against what the guest's own tools said before the image and after it.
func (l looked) agrees(before, after truth, hidden int) {
	t := l.t
	t.Helper()
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
	processes = slices.DeleteFunc(processes, func(s string) bool { return strings.HasPrefix(s, fmt.Sprint(hidden)+" ") })
	has("linux.pslist", append(processes, fmt.Sprintf("%d hidden-work", hidden)), l.column("linux.pslist.PsList", "PID", "COMM"))
	has("linux.pstree", append(processes, fmt.Sprintf("%d hidden-work", hidden)), l.column("linux.pstree.PsTree", "PID", "COMM"))
	has("linux.bash", []string{oddCommand}, l.column("linux.bash.Bash", "Command"))
	has("linux.lsmod", both(before.modules, after.modules), l.column("linux.lsmod.Lsmod", "Module Name"))
	has("linux.mountinfo", both(before.mounts, after.mounts), l.column("linux.mountinfo.MountInfo", "MOUNT ID", "MOUNT_POINT"))
	has("linux.lsof", []string{oddProcess + " /dev/null", "perl /dev/null"}, l.column("linux.lsof.Lsof", "Process", "Path"))
	sockets := l.column("linux.sockstat.Sockstat", "Source Addr", "Source Port", "State")
	for _, s := range both(before.sockets, after.sockets) {
		i := strings.LastIndex(s, ":")
		address := strings.NewReplacer("[", "", "]", "").Replace(s[:i])
		has("linux.sockstat", []string{address + " " + s[i+1:] + " LISTEN"}, sockets)
	}
	calls := l.column("linux.check_syscall.Check_syscall", "Index", "Handler Symbol")
	has("linux.check_syscall", []string{"0 __x64_sys_read", "59 __x64_sys_execve"}, calls)
	for _, c := range calls {
		if strings.HasSuffix(c, " UNKNOWN") {
			t.Errorf("linux.check_syscall: an unknown handler: %s", c)
		}
	}
}

// same says that another form of the same image says the same.
func (l looked) same(other looked) {
	l.t.Helper()
	for _, plugin := range issued {
		a, err := json.Marshal(l.rows[plugin])
		b, err2 := json.Marshal(other.rows[plugin])
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			l.t.Errorf("%s differs: %v, %v\n%s\n%s", plugin, err, err2, a, b)
		}
	}
}

// shells are the PIDs of the shells among the guest's processes. linux.bash is told them where shells end while memory
// is read, as those of a capture through /proc/kcore do: it fails of the first.
func (t truth) shells() (pids []string) {
	for _, p := range t.processes {
		if pid, name, _ := strings.Cut(p, " "); name == "bash" {
			pids = append(pids, pid)
		}
	}
	return pids
}
