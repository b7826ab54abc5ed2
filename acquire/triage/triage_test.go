//go:build unix

package triage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fake is a Volatility that knows some plugins. It notes its arguments.
const fake = `#!/bin/sh
dir=$(dirname "$0")
[ "$1" = -h ] && { echo "Volatility 3 Framework 2.11.0"; exit; }
echo "$*" >>"$dir/calls"
save=
for a; do
	[ -z "$save" ] || { echo '{}' >"$a"; save=; }
	[ "$a" != --save-config ] || save=1
done
for plugin; do :; done
echo "Volatility 3 Framework 2.11.0" >&2
case $plugin in
linux.pslist.PsList) echo '[{"PID":1,"TID":1,"PPID":0,"COMM":"systemd","CREATION TIME":"2026-11-22T13:53:22.635847+00:00","__children":[]},{"PID":7,"PPID":1,"COMM":"<b>evil</b>","CREATION TIME":null}]' ;;
linux.psaux.PsAux) echo '[{"PID":1,"ARGS":"/sbin/init"}]' ;;
linux.psscan.PsScan) echo '[{"PID":1,"TID":1,"COMM":"systemd","EXIT_STATE":"TASK_RUNNING"},{"PID":9,"TID":9,"COMM":"dead","EXIT_STATE":"EXIT_DEAD"}]' ;;
linux.lsmod.Lsmod) echo '[{"Name":"ext4","Size":20480},{"Module Name":"xfs","Code Size":"0x10"}]' ;;
linux.sockstat.Sockstat) echo '[{"Family":"AF_INET6","Proto":"TCP","Source Addr":"::","Source Port":"22","Destination Addr":"::","Destination Port":"0","State":"LISTEN","PID":1,"NetNS":4026531840,"Process Name":"systemd"},{"Family":"AF_UNIX","Proto":null},{"Family":"AF_UNIX","Source Addr":"/run/x","Source Port":"11","State":"LISTEN","PID":1},{"Family":"AF_UNIX","Source Addr":"/run/x","Source Port":"12","State":"ESTABLISHED"}]' ;;
linux.bash.Bash) echo '[{"PID":7,"Process":"bash","CommandTime":"2026-11-22T13:53:22.000000+00:00","Command":"rm -rf /"}]' ;;
fails.Plugin) echo "half" ; echo "ValueError: no" >&2; exit 1 ;;
cut.Plugin) printf '[{"PID":1},{"PI' ;;
hangs.Plugin) exec sleep 100 ;;
quiet.Plugin) echo "Unable to validate the plugin requirements: kernel" >&2 ;;
esac
`

// install makes the fake a program.
func install(t *testing.T, script string) (program string, calls func() string) {
	t.Helper()
	dir := t.TempDir()
	program = filepath.Join(dir, "vol")
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return program, func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return string(b)
	}
}

func TestRun(t *testing.T) {
	program, calls := install(t, fake)
	folder := filepath.Join(t.TempDir(), "out")
	o := Options{
		Image: "/x/image.lime", Symbols: "/x/symbols", Folder: folder, Volatility: program, Parallel: 3, Timeout: 3 * time.Second,
		Plugins: []string{"fails.Plugin", PsList, PsScan, PsAux, Lsmod, Sockstat, Bash, "cut.Plugin", "hangs.Plugin", "quiet.Plugin", "../evil"},
	}
	o.Unread = func() []string { return []string{"1 damaged part"} }
	rep := new(Report)
	begin := time.Now()
	if err := Run(t.Context(), o, rep); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("it took %s", d)
	}
	for i, want := range []string{"ValueError: no", "", "", "", "", "", "", "not whole", "not done within 3s", "Unable to validate", "no name of a plugin"} {
		p := rep.Plugins[i]
		if p.Name != o.Plugins[i] || (want == "") != (p.Error == "") || !strings.Contains(p.Error, want) && want != "not whole" {
			t.Errorf("%+v, want %q", p, want)
		}
	}
	if got := rep.Failed(); len(got) != 5 {
		t.Errorf("failed: %q", got)
	}
	if p := rep.Processes; len(p) != 3 || p[0].Args != "/sbin/init" || p[0].Created.IsZero() || p[1].Name != "<b>evil</b>" || !p[1].Created.IsZero() || !p[2].Scanned || p[2].State != "EXIT_DEAD" {
		t.Errorf("%+v", p)
	}
	if !slices.Equal(rep.Modules, []Module{{"ext4", 20480}, {"xfs", 16}}) || len(rep.Sockets) != 2 || rep.Sockets[0].Local != "[::]:22" || rep.Sockets[1].Inode != 11 || len(rep.History) != 1 || rep.History[0].Command != "rm -rf /" {
		t.Errorf("%+v %+v %+v", rep.Modules, rep.Sockets, rep.History)
	}
	lines := strings.Split(strings.TrimSpace(calls()), "\n")
	if len(lines) != 10 || !strings.Contains(lines[0], "--save-config") || !strings.HasSuffix(lines[0], PsList) || !strings.Contains(lines[0], "--offline") || !strings.Contains(lines[0], "-s /x/symbols") {
		t.Errorf("calls: %q", lines)
	}
	for _, l := range lines[1:] {
		if !strings.Contains(l, " -c ") || strings.Contains(l, "-f ") {
			t.Errorf("the kernel was looked for again: %q", l)
		}
	}
	// The folder holds what each plugin printed, and the report; what was needed for the run is gone.
	entries, _ := os.ReadDir(folder)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) != 21 || !slices.Contains(names, PsList+".json") || !slices.Contains(names, "fails.Plugin.stderr") {
		t.Errorf("%d files: %q", len(names), names)
	}
	data, err := os.ReadFile(filepath.Join(folder, ReportName))
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseReport(data)
	if err != nil || !slices.Equal(again.Unread, []string{"1 damaged part"}) || len(again.Processes) != 3 || again.Volatility != "2.11.0" {
		t.Errorf("%v, %+v", err, again)
	}
	// Nothing is overwritten.
	if err := Run(t.Context(), o, new(Report)); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second run: %v", err)
	}
}

// TestRunAgain: a plugin that a process which ended spoils for all the others is run without those that began or ended meanwhile; one that
// nobody lists is no such, and is looked at.
func TestRunAgain(t *testing.T) {
	program, calls := install(t, `#!/bin/sh
[ "$1" = -h ] && { echo "usage: vol"; exit; }
[ $# = 0 ] && { echo "Volatility 3 Framework 2.28.0"; echo "vol: error: Please select a plugin to run" >&2; exit 2; }
echo "$*" >>"$(dirname "$0")/calls"
case "$*" in
*PsList) echo '[{"PID":1,"PPID":0,"COMM":"systemd"},{"PID":7,"PPID":1,"COMM":"hidden"},{"PID":8,"PPID":1,"COMM":"gone"},{"PID":201,"PPID":1,"COMM":"sh"},{"PID":202,"PPID":201,"COMM":"dd","CREATION TIME":"`+at(150).Format(time.RFC3339)+`"}]' ;;
*"Bash --pid 1 7 201") echo '[{"PID":7,"Process":"bash","Command":"id"}]' ;;
*Bash | *Lsof*) printf 'Volatility was unable to read a requested page:\nPage error 0x0 in layer x\n\n\t* A bug in the plugin\n' >&2; exit 1 ;;
*Lsmod) exit 1 ;;
esac
`)
	gone := []string{entry(1, 0, "systemd", 0), entry(8, 1, "gone", 1), entry(201, 1, "sh", 99)}
	o := Options{
		Image: "/x", Symbols: "/x", Folder: filepath.Join(t.TempDir(), "out"), Volatility: program, Plugins: []string{PsList, Bash, "linux.lsof.Lsof", Lsmod},
		Host: host{before: gone, after: []string{gone[0], gone[2]}}.make(), Parallel: 1,
	}
	rep := new(Report)
	if err := Run(t.Context(), o, rep); err != nil {
		t.Fatal(err)
	}
	p := rep.Plugins[1]
	if p.Error != "" || p.Rows != 1 || p.File != Bash+".again.json" || p.Lacks != 1 || !strings.Contains(p.Without, "2 processes that began or ended while memory was read (8 gone, 202 dd)") || !strings.Contains(p.Without, "Page error 0x0") {
		t.Errorf("%+v", p)
	}
	if len(rep.History) != 1 || rep.History[0].Command != "id" || rep.Volatility != "2.28.0" {
		t.Errorf("%+v, Volatility %s", rep.History, rep.Volatility)
	}
	if got := rep.Failed(); len(got) != 3 || !strings.Contains(rep.Plugins[2].Error, "Page error 0x0 in layer x") {
		t.Errorf("failed: %q: %+v", got, rep.Plugins)
	}
	if n := strings.Count(calls(), "\n"); n != 6 {
		t.Errorf("%d calls: %s", n, calls())
	}
}

// TestRunStopped: what an interruption leaves is there, and says what is missing.
func TestRunStopped(t *testing.T) {
	program, _ := install(t, fake)
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Image: "/x", Symbols: "/x", Folder: filepath.Join(t.TempDir(), "out"), Volatility: program, Plugins: []string{PsList, "hangs.Plugin", Lsmod}, Parallel: 1}
	o.Event = func(s string) {
		if strings.HasPrefix(s, PsList) {
			cancel()
		}
	}
	rep := new(Report)
	if err := Run(ctx, o, rep); err != nil {
		t.Fatal(err)
	}
	if rep.Plugins[0].Error != "" || rep.Plugins[1].Error == "" || rep.Plugins[2].Error == "" || len(rep.Processes) != 2 {
		t.Errorf("%+v", rep)
	}
}

func TestNoVolatility(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := Run(t.Context(), Options{Folder: filepath.Join(t.TempDir(), "x")}, new(Report)); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
	program, _ := install(t, "#!/bin/sh\necho some other program\n")
	o := Options{Folder: filepath.Join(t.TempDir(), "x"), Volatility: program}
	if err := Run(t.Context(), o, new(Report)); err == nil || !strings.Contains(err.Error(), "does not say that it is Volatility 3") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(o.Folder); err == nil {
		t.Error("a folder was made")
	}
}

// TestBounded: a plugin that prints without end ends.
func TestBounded(t *testing.T) {
	l := &limited{w: new(bytes.Buffer), left: 10, sum: sha256.New()}
	if n, err := l.Write([]byte("0123456789ab")); n != 10 || err == nil || !l.over {
		t.Errorf("%d, %v", n, err)
	}
}

func FuzzRows(f *testing.F) {
	f.Add([]byte(`[{"PID":1,"PPID":null,"COMM":"x","CREATION TIME":"2026-11-22T13:53:22+00:00","__children":[{"PID":2}]}]`))
	f.Add([]byte(`[{"PID":{"a":[1]},"Source Port":22.5}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &Report{}
		_ = decodeRows(bytes.NewReader(data), func(x row) error {
			r.Processes = append(r.Processes, Process{PID: int(x.PID.number()), Parent: int(x.Parent.number()), Name: string(x.Name), Created: x.Created.time()})
			r.Modules = append(r.Modules, Module{string(x.Module), x.Size.number()})
			r.Sockets = append(r.Sockets, Socket{PID: int(x.PID.number()), Proto: string(x.Proto), Local: endpoint(x.Local, x.LPort), Remote: endpoint(x.Remote, x.RPort), State: string(x.State)})
			return nil
		})
		r.compare(host{before: []string{entry(1, 0, "systemd", 0), "2! x"}, after: []string{entry(1, 0, "systemd", 0)}}.make(), true, true, true)
		out, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(out, []byte("{")) {
			t.Error(string(out))
		}
	})
}
