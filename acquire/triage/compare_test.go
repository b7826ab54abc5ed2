package triage

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// boot is when the host of these tests booted, by its clock; the live tools look at 100 s and at 200 s after.
var boot = time.Unix(1.7e9, 0).UTC()

// A host is what the live tools say.
type host struct {
	before, after []string // stat lines, see entry; the shell that reads them has PID 201; "PID!" is listed and silent
	ps            []int
	items         map[string]string
	without       map[string]bool
}

// entry is a process that began so many seconds after boot.
func entry(pid, parent int, name string, start int, args ...string) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 0 1 1 1 1 1 1 1 1 20 0 1 0 %d 1 1 18446744073709551615 1 1 1 1 1 1 1 1\n%s", pid, name, parent, start*100, strings.Join(args, "\x00"))
}

func walk(list []string) string {
	const mark = "01234567-boot\nsh\x00-c\x00nonce\x00"
	pids, body := "", mark
	for _, e := range list {
		head, _, _ := strings.Cut(e, " ")
		pid, text := head, e
		if p, ok := strings.CutSuffix(head, "!"); ok {
			pid, text = p, ""
		} else if p, other, ok := strings.Cut(head, "="); ok { // PID=OTHER: the entry of another
			pid, text = p, other+e[len(head):]
		}
		pids += pid + " "
		body += text + mark
	}
	return pids + "\n" + mark + "\n" + body
}

func (h host) make() *Host {
	out := &Host{Content: map[string][]byte{}, Module: "lime"}
	add := func(s live.Stage, name, text string) {
		if h.without[string(s)+"/"+name] {
			return
		}
		file := string(s) + "/" + name
		out.Items = append(out.Items, live.Item{Name: name, Stage: s, File: file, Bytes: int64(len(text))})
		out.Content[file] = []byte(text)
	}
	add(live.Before, "clock", fmt.Sprintf("now=%d.5\nuptime=100.5 1\nbtime %d\nticks=100\nshell=201\n", boot.Unix()+100, boot.Unix()))
	add(live.After, "clock", fmt.Sprintf("now=%d.5\nuptime=200.5 1\nbtime %d\nticks=100\nshell=231\n", boot.Unix()+200, boot.Unix()))
	add(live.Before, "processes", walk(h.before))
	add(live.After, "processes", walk(h.after))
	ps := "PID PPID COMMAND\n"
	for _, pid := range h.ps {
		ps += fmt.Sprintf("%d 1 x\n", pid)
	}
	add(live.Before, "ps", ps)
	for _, s := range []live.Stage{live.Before, live.After} {
		for _, name := range []string{"modules", "sockets", "sysmodules", "mounts"} {
			add(s, name, h.items[string(s)+"/"+name])
		}
	}
	return out
}

func at(seconds int) time.Time { return boot.Add(time.Duration(seconds) * time.Second) }

// find returns the class of the difference about name, and its detail.
func find(t *testing.T, c *Comparison, name string) (Class, string) {
	t.Helper()
	var class Class
	var detail string
	for _, d := range c.Differences {
		if d.Name == name || strings.HasPrefix(d.Name, name+" ") {
			if class != "" {
				t.Errorf("%q is told twice", name)
			}
			class, detail = d.Class, d.Detail
		}
	}
	return class, detail
}

func TestCompareProcesses(t *testing.T) {
	h := host{
		before: []string{
			entry(1, 0, "systemd", 0), entry(2, 0, "kthreadd", 0), entry(10, 2, "kworker/0:1", 1), entry(100, 1, "sshd", 5), entry(200, 100, "sshd", 90), entry(201, 200, "sh", 91),
			entry(50, 1, "honest", 20), entry(51, 1, "noPS", 20), "52! covered", "53=1 (systemd) S 0 1 1 0 -1 0 1 1 1 1 1 1 1 1 20 0 1 0 0 1 1 1 1 1 1 1\n",
			entry(54, 1, "ended", 30), entry(55, 1, "unlinked", 30), entry(56, 1, "smeared", 30), entry(57, 1, "reused-old", 30), "60! brief",
		},
		after: []string{entry(1, 0, "systemd", 0), entry(50, 1, "honest", 20), entry(55, 1, "unlinked", 30), entry(56, 1, "smeared", 30), entry(57, 1, "reused-new", 150), entry(71, 1, "late", 30), entry(213, 1, "scan-new", 150)},
		ps:    []int{1, 2, 10, 100, 200, 201, 50, 54, 55, 56, 57, 71, 99},
		items: map[string]string{"before/mounts": "36 35 98:0 /empty /proc/52 rw - tmpfs tmpfs rw\n"},
	}
	r := &Report{Processes: []Process{
		{PID: 1, Name: "systemd", Created: at(0)}, {PID: 2, Name: "kthreadd", Created: at(0)}, {PID: 10, Parent: 2, Name: "kworker/0:1", Created: at(1)},
		{PID: 100, Parent: 1, Name: "sshd", Created: at(5)}, {PID: 200, Parent: 100, Name: "sshd", Created: at(90)},
		{PID: 50, Parent: 1, Name: "honest", Created: at(20)}, {PID: 51, Parent: 1, Name: "noPS", Created: at(20)},
		{PID: 52, Parent: 1, Name: "covered", Created: at(30)}, {PID: 53, Parent: 1, Name: "replaced", Created: at(30)},
		{PID: 57, Parent: 1, Name: "reused-new", Created: at(150)}, {PID: 60, Parent: 1, Name: "brief-new", Created: at(120)},
		{PID: 61, Parent: 1, Name: "hidden", Created: at(40)}, {PID: 62, Parent: 2, Name: "kworker/1:2", Created: at(140)}, {PID: 63, Parent: 2, Name: "fake-kthread", Created: at(60)},
		{PID: 64, Parent: 200, Name: "insmod", Created: at(130)}, {PID: 65, Parent: 64, Name: "dd", Created: at(131)}, {PID: 66, Parent: 1, Name: "started", Created: at(130)},
		{PID: 71, Parent: 1, Name: "late", Created: at(30)}, {PID: 72, Parent: 1, Name: "timeless"},
		{PID: 55, Name: "unlinked", Scanned: true, State: "TASK_RUNNING"}, {PID: 80, Name: "dead", Scanned: true, State: "EXIT_DEAD"}, {PID: 81, Name: "scan-only", Scanned: true, State: "TASK_RUNNING"},
		{PID: 211, Parent: 212, Name: "scan-dd", Scanned: true, State: "TASK_RUNNING"},
		{PID: 212, Parent: 64, Name: "scan-sh", Scanned: true, State: "TASK_RUNNING"}, {PID: 213, Parent: 1, Name: "scan-new", Scanned: true, State: "TASK_RUNNING"},
		{PID: 230, Name: "scan-late", Scanned: true, State: "TASK_RUNNING"}, {PID: 232, Name: "scan-later", Scanned: true, State: "TASK_RUNNING"},
	}}
	r.compare(h.make(), true, false, false)
	for name, want := range map[string]Class{
		"systemd": "", "honest": "", "kworker/0:1": "", "noPS": Hidden, "covered": Covered, "replaced": Covered, "ended": Ended, "unlinked": Lost, "smeared": Lost,
		"reused-old": Ended, "reused-new": Started, "brief-new": Started, "hidden": Hidden, "kworker/1:2": Started, "fake-kthread": Hidden, "insmod": Ours, "dd": Ours,
		"started": Started, "late": Hidden, "timeless": Hidden, "dead": "", "scan-only": Hidden, "scan-late": Unlisted, "scan-later": Hidden, "scan-dd": Ours, "scan-new": Started, "sh": Ours, "sshd": "",
	} {
		if got, detail := find(t, r.Comparison, name); got != want {
			t.Errorf("%s is %q (%s), want %q", name, got, detail, want)
		}
	}
	if _, detail := find(t, r.Comparison, "covered"); !strings.Contains(detail, "/empty of tmpfs (tmpfs) is mounted over /proc/52") {
		t.Errorf("covered: %s", detail)
	}
	if r.Comparison.Both.Processes != 6 {
		t.Errorf("both show %d", r.Comparison.Both.Processes)
	}
	if len(r.NotCompared) != 2 { // modules and sockets, of which memory says nothing
		t.Errorf("%q", r.NotCompared)
	}
}

// TestCompareLess: where the live tools said less, less is concluded, and the report says so.
func TestCompareLess(t *testing.T) {
	h := host{before: []string{entry(1, 0, "systemd", 0), entry(54, 1, "gone", 30)}, without: map[string]bool{"after/processes": true, "after/clock": true, "before/ps": true}}
	r := &Report{Processes: []Process{{PID: 1, Name: "systemd", Created: at(0)}, {PID: 61, Name: "scan-only", Scanned: true, State: "TASK_RUNNING"}}}
	r.compare(h.make(), true, true, true)
	if class, detail := find(t, r.Comparison, "scan-only"); class != Unlisted || !strings.Contains(detail, "nobody looked") {
		t.Errorf("%q, %s", class, detail)
	}
	if class, detail := find(t, r.Comparison, "gone"); class != Ended || !strings.Contains(detail, "nobody looked") {
		t.Errorf("%q, %s", class, detail)
	}
	if r.Comparison.Both.Processes != 1 || len(r.NotCompared) != 1 {
		t.Errorf("%+v, %q", r.Comparison.Both, r.NotCompared)
	}
	r = &Report{}
	r.compare(nil, true, true, true)
	if r.Comparison != nil || len(r.NotCompared) != 1 {
		t.Errorf("%+v", r)
	}
	r = &Report{}
	r.compare(host{without: map[string]bool{"before/processes": true, "before/modules": true, "before/sockets": true}}.make(), true, true, true)
	if len(r.NotCompared) != 3 || len(r.Comparison.Differences) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestCompareModules(t *testing.T) {
	line := func(names ...string) (s string) {
		for _, n := range names {
			s += n + " 100 0 - Live 0x0\n"
		}
		return s
	}
	h := host{items: map[string]string{
		"before/modules": line("ext4", "away", "shy"), "after/modules": line("ext4", "fresh", "shy"), "before/sysmodules": "/sys/module/ext4/initstate\n/sys/module/rootkit/initstate\n",
	}}
	r := &Report{Modules: []Module{{"ext4", 1}, {"lime", 1}, {"fresh", 1}, {"ghost", 1}}}
	r.compare(h.make(), false, true, false)
	for name, want := range map[string]Class{"ext4": "", "lime": Ours, "fresh": Started, "ghost": Hidden, "away": Ended, "shy": Lost, "rootkit": Hidden} {
		if got, detail := find(t, r.Comparison, name); got != want {
			t.Errorf("%s is %q (%s), want %q", name, got, detail, want)
		}
	}
	if r.Comparison.Both.Modules != 1 {
		t.Errorf("both: %+v", r.Comparison.Both)
	}
}

func TestCompareSockets(t *testing.T) {
	row := func(proto, local, remote, state string, inode int) string {
		return fmt.Sprintf("/proc/net/%s:  0: %s %s %s 0:0 00:0 0 0 0 %d 1\n", proto, local, remote, state, inode)
	}
	unix := func(flags string, inode int, path string) string {
		return fmt.Sprintf("/proc/net/unix:0000000000000000: 00000002 00000000 %s 0001 01 %d %s\n", flags, inode, path)
	}
	const any4, any6 = "00000000:0000", "00000000000000000000000000000000:0000"
	ssh := row("tcp", "00000000:0016", any4, "0A", 1) + row("tcp6", "00000000000000000000000000000000:0016", any6, "0A", 2)
	h := host{
		before: []string{entry(1, 0, "systemd", 0), entry(100, 1, "sshd", 5)},
		items: map[string]string{
			"before/sockets": ssh + row("tcp", "0100007F:1F90", any4, "0A", 5) + row("udp", "0100007F:0035", any4, "07", 6) + row("tcp", "0100007F:0050", "0100007F:C000", "06", 0) + row("udp", "0100007F:0045", any4, "07", 7) +
				unix("00010000", 20, "/run/here") + unix("00010000", 21, "/run/lost") + unix("00010000", 22, "/run/ended") + unix("00000000", 23, "/run/dgram") + unix("00000000", 24, "") + unix("00010000", 25, "/run/twice"),
			"after/sockets": ssh + row("tcp", "0100007F:1F91", any4, "0A", 8) + row("udp", "0100007F:0035", any4, "07", 6) + unix("00010000", 20, "/run/here") + unix("00010000", 21, "/run/lost") + unix("00010000", 27, "/run/late:0"),
		},
	}
	r := &Report{
		Processes: []Process{{PID: 1, Name: "systemd", Created: at(0)}, {PID: 100, Parent: 1, Name: "sshd", Created: at(5)}, {PID: 300, Parent: 1, Name: "new", Created: at(150)}},
		Sockets: []Socket{
			{PID: 1, Proto: "tcp", Local: "0.0.0.0:22", Remote: "0.0.0.0:0", State: "LISTEN", NetNS: 1}, {PID: 100, Proto: "tcp", Local: "0.0.0.0:22", Remote: "0.0.0.0:0", State: "LISTEN", NetNS: 1},
			{PID: 100, Proto: "tcp", Local: "[::]:22", Remote: "[::]:0", State: "LISTEN", NetNS: 1},
			{PID: 100, Proto: "tcp", Local: "0.0.0.0:4444", Remote: "0.0.0.0:0", State: "LISTEN", NetNS: 1},
			{PID: 100, Proto: "tcp", Local: "0.0.0.0:5555", Remote: "0.0.0.0:0", State: "LISTEN", NetNS: 2},
			{PID: 300, Proto: "tcp", Local: "0.0.0.0:6666", Remote: "0.0.0.0:0", State: "LISTEN", NetNS: 1},
			{PID: 100, Proto: "tcp", Local: "127.0.0.1:8081", Remote: "0.0.0.0:0", State: "LISTEN", NetNS: 1},
			{PID: 100, Proto: "tcp", Local: "127.0.0.1:9000", Remote: "127.0.0.1:9001", State: "ESTABLISHED", NetNS: 1},
			{PID: 100, Proto: "tcp", Local: "0.0.0.0:0", Remote: "0.0.0.0:0", State: "CLOSE", NetNS: 1},
			{PID: 1, Proto: "unix", Local: "/run/here", State: "LISTEN", NetNS: 1, Inode: 20}, {PID: 100, Proto: "unix", Local: "/run/here", State: "LISTEN", NetNS: 1, Inode: 20},
			{PID: 100, Proto: "unix", Local: "/run/dgram", State: "UNCONNECTED", NetNS: 1, Inode: 23}, {PID: 100, Proto: "unix", Local: "/run/backdoor:0", State: "LISTEN", NetNS: 1, Inode: 26},
			{PID: 100, Proto: "unix", Local: "/run/late:0", State: "LISTEN", NetNS: 1, Inode: 27}, {PID: 100, Proto: "unix", Local: "/run/contained", State: "LISTEN", NetNS: 2, Inode: 28},
			{PID: 100, Proto: "unix", Local: "/run/twice", State: "LISTEN", NetNS: 1, Inode: 29}, {PID: 100, Proto: "unix", Local: "/run/twice", State: "LISTEN", NetNS: 1, Inode: 25},
		},
	}
	r.compare(h.make(), false, false, true)
	for name, want := range map[string]Class{
		"tcp 0.0.0.0:22": "", "tcp [::]:22": "", "tcp 0.0.0.0:4444": Hidden, "tcp 0.0.0.0:5555": Elsewhere, "tcp 0.0.0.0:6666": Started, "tcp 127.0.0.1:8081": Started,
		"tcp 127.0.0.1:9000": Transitory, "tcp 127.0.0.1:8080": Ended, "udp 127.0.0.1:53": Lost, "tcp 127.0.0.1:80": Unowned, "udp 127.0.0.1:69": Ended,
		"unix /run/here": "", "unix /run/dgram": "", "unix /run/lost": Lost, "unix /run/ended": Ended, "unix /run/backdoor:0": Hidden, "unix /run/late:0": Started, "unix /run/contained": Elsewhere, "unix /run/twice": Hidden,
	} {
		if got, detail := find(t, r.Comparison, name); got != want {
			t.Errorf("%s is %q (%s), want %q", name, got, detail, want)
		}
	}
	if r.Comparison.Both.Sockets != 5 {
		t.Errorf("both: %+v", r.Comparison.Both)
	}
}
