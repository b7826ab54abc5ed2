package freeze

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// A table is a host: a line for each process, with its number, its parent's, its name and its cgroup.
// An asterisk after the name: a thread of the kernel; a hash: its cgroup is frozen.
func table(t *testing.T, text string) *View {
	t.Helper()
	v := &View{Version: 2, Root: "/sys/fs/cgroup", Holds: map[int][]string{}, Watched: map[string]string{}}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		p := Process{Name: strings.TrimRight(f[2], "*#"), Cgroup: f[3], Kernel: strings.HasSuffix(f[2], "*"), Frozen: strings.HasSuffix(f[2], "#")}
		fmt.Sscan(f[0], &p.PID)
		fmt.Sscan(f[1], &p.Parent)
		v.Processes = append(v.Processes, p)
		v.Self = p.PID
	}
	return v
}

// server is a host with systemd: the last process looks.
const server = `
1 0 systemd /init.scope
2 0 kthreadd* /
200 1 systemd-journal /system.slice/systemd-journald.service
210 1 dbus-daemon /system.slice/dbus.service
300 1 cron /system.slice/cron.service
310 1 postgres /system.slice/system-postgresql.slice/postgresql@15-main.service
311 310 postgres /system.slice/system-postgresql.slice/postgresql@15-main.service
320 1 dockerd /system.slice/docker.service
330 1 nginx /system.slice/docker-1234.scope/init
331 330 worker /system.slice/docker-1234.scope/init/sub
340 1 rsyslogd /system.slice/docker-5678.scope/log
341 1 app /system.slice/docker-5678.scope/app
400 1 sshd /system.slice/ssh.service
500 1 systemd /user.slice/user-1001.slice/user@1001.service/init.scope
501 500 gvfsd /user.slice/user-1001.slice/user@1001.service/app.slice/gvfs.service
510 400 sshd /user.slice/user-1001.slice/session-3.scope
511 510 bash /user.slice/user-1001.slice/session-3.scope
520 1 bash /user.slice/user-1001.slice/session-9.scope
600 400 sshd /user.slice/user-1000.slice/session-5.scope
601 600 sudo /user.slice/user-1000.slice/session-5.scope
602 601 sh /user.slice/user-1000.slice/session-5.scope
`

func paths(list []Cgroup) (out []string) {
	for _, c := range list {
		out = append(out, c.Path)
	}
	return out
}

func choose(t *testing.T, v *View, exempt ...string) *Selection {
	t.Helper()
	s, err := v.Choose(exemptions(t, exempt...))
	if err != nil {
		t.Fatal(err)
	}
	// Every process of user space is on one side, once.
	n := 0
	for _, p := range v.Processes {
		if !p.Kernel && !p.Zombie {
			n++
		}
	}
	if got := Processes(s.Cgroups) + Processes(s.Kept); got != n {
		t.Errorf("%d processes are on a side, there are %d", got, n)
	}
	return s
}

func exemptions(t *testing.T, texts ...string) (out []Exemption) {
	t.Helper()
	for _, s := range texts {
		e, err := ParseExemption(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func kept(s *Selection, path string) string {
	for _, c := range s.Kept {
		if c.Path == path {
			return strings.Join(c.Why, "; ")
		}
	}
	return "not kept"
}

func TestChoose(t *testing.T) {
	s := choose(t, table(t, server))
	want := []string{
		"/system.slice/cron.service",
		"/system.slice/docker-1234.scope",
		"/system.slice/docker-5678.scope/app",
		"/system.slice/docker.service",
		"/system.slice/system-postgresql.slice/postgresql@15-main.service",
		"/user.slice/user-1001.slice/session-9.scope",
		"/user.slice/user-1001.slice/user@1001.service",
	}
	if got := paths(s.Cgroups); !slices.Equal(got, want) {
		t.Errorf("frozen: %q\nwant %q", got, want)
	}
	for path, why := range map[string]string{
		"/init.scope":                                 "systemd: PID 1",
		"/system.slice/systemd-journald.service":      "logged",
		"/system.slice/dbus.service":                  "logins and sudo ask it",
		"/system.slice/docker-5678.scope/log":         "logged",
		"/system.slice/ssh.service":                   "sshd: our own session",
		"/user.slice/user-1001.slice/session-3.scope": "sshd: the SSH server", // somebody else's login
		"/user.slice/user-1000.slice/session-5.scope": "sudo: our own session",
	} {
		if got := kept(s, path); !strings.Contains(got, why) {
			t.Errorf("%s: %q, want %q", path, got, why)
		}
	}
}

// TestEveryReason: for each, a process in a cgroup of its own that would freeze without it.
func TestEveryReason(t *testing.T) {
	for name, why := range map[string]string{
		"openvpn": "VPN", "wireguard-go": "VPN", "tailscaled": "VPN", "charon": "VPN", "charon-systemd": "VPN", "amazon-ssm-agen": "agent", "amazon-ssm-agent": "agent",
		"ssm-session-wor": "agent", "dhclient": "network", "systemd-network": "network", "NetworkManager": "network", "systemd-resolve": "network",
		"google_guest_age": "agent", "auditd": "logged", "rsyslogd": "logged", "sssd_nss": "ask", "corosync": "cluster", "pacemaker-fence": "cluster",
		"mdmon": "disks", "dropbear": "SSH", "ocssd.bin": "reset", "cssdagent": "reset", "cssdmonitor": "reset", "ohasd.bin": "reset", "had": "reset", "hashadow": "reset",
		"cmcld": "reset", "mmfsd": "reset", "sanlock": "reset", "bmc-watchdog": "reset", "named": "network", "pdns_recursor": "network", "kresd": "network",
		"kresd1": "network", "stubby": "network", "dnscrypt-proxy": "network", "coredns": "network", "qemu-nbd": "disks",
	} {
		s := choose(t, table(t, "1 0 init /init\n7 1 "+name+" /vip\n8 1 x /other\n9 1 sh /ours"))
		if got := kept(s, "/vip"); !strings.Contains(got, why) {
			t.Errorf("%s: %q, want %q", name, got, why)
		}
	}
	for what, change := range map[string]func(*View){
		"fuse":                 func(v *View) { v.Holds[7] = []string{"serves a file system"} },
		"our own connection":   func(v *View) { v.Holds[7] = []string{holdsConnection} },
		"a service's watchdog": func(v *View) { v.Watched["/vip"] = "3min" },
		"a unit":               func(v *View) { v.Processes[1].Cgroup = "/vip/walinuxagent.service" },
		"exempt process":       func(*View) {},
		"frozen before":        func(v *View) { v.Processes[1].Frozen = true },
		"out of sight":         func(v *View) { v.Processes[1].Cgroup = "/../vip" },
		"slice":                func(v *View) { v.Processes[1].Cgroup = "/vip.slice" },
		"root":                 func(v *View) { v.Processes[1].Cgroup = "/" },
	} {
		v := table(t, "1 0 init /init\n7 1 someone /vip\n8 1 x /other\n9 1 sh /ours")
		change(v)
		var exempt []string
		if what == "exempt process" {
			exempt = []string{"someone"}
		}
		s := choose(t, v, exempt...)
		if got := kept(s, v.Processes[1].Cgroup); got == "not kept" || got == "" {
			t.Errorf("%s: %q", what, got)
		}
		if got := paths(s.Cgroups); !slices.Equal(got, []string{"/other"}) {
			t.Errorf("%s: frozen %q", what, got)
		}
	}
}

func TestExemptions(t *testing.T) {
	for text, want := range map[string][]string{ // what is then not frozen
		"cron":                                   {"/system.slice/cron.service"},
		"cron.service":                           {"/system.slice/cron.service"},
		"/system.slice/docker-1234.scope":        {"/system.slice/docker-1234.scope/init", "/system.slice/docker-1234.scope/init/sub"},
		"/user.slice/user-1001.slice/":           {"/user.slice/user-1001.slice/session-9.scope", "/user.slice/user-1001.slice/user@1001.service/app.slice/gvfs.service", "/user.slice/user-1001.slice/user@1001.service/init.scope"},
		"postgresql@*.service":                   {"/system.slice/system-postgresql.slice/postgresql@15-main.service"},
		"system-postgresql.slice":                {"/system.slice/system-postgresql.slice/postgresql@15-main.service"},
		"wor*":                                   {"/system.slice/docker-1234.scope/init", "/system.slice/docker-1234.scope/init/sub"}, // the first holds the second
		"a-name-that-is-too-long-for-the-kernel": nil,
		"cro":                                    nil,
		"/system.slice/cron.serv":                nil,
	} {
		before, s := choose(t, table(t, server)), choose(t, table(t, server), text)
		var got []string
		for _, p := range paths(s.Kept) {
			if kept(before, p) == "not kept" {
				got = append(got, p)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q keeps %q, want %q", text, got, want)
		}
		if unused := len(s.Unused) > 0; unused != (want == nil) {
			t.Errorf("%q: unused %q", text, s.Unused)
		}
	}
	v := table(t, "1 0 init /init\n7 1 a-name-that-is- /vip\n8 1 x /other\n9 1 sh /ours")
	if s := choose(t, v, "a-name-that-is-too-long-for-the-kernel"); len(s.Cgroups) != 1 {
		t.Errorf("a long name: %q", paths(s.Cgroups))
	}
	for _, bad := range []string{"", " ", "/", "//", "a\nb", "[", "/x/.."} {
		if _, err := ParseExemption(bad); err == nil {
			t.Errorf("%q is an exemption", bad)
		}
	}
}

func TestRefusals(t *testing.T) {
	v := table(t, server)
	v.Holds[320] = []string{"serves a file system", holdsWatchdog} // goes on anyway
	choose(t, v)
	v.Holds[311] = []string{holdsWatchdog}
	_, err := v.Choose(nil)
	if w, ok := errors.AsType[*WatchdogError](err); !ok || w.PID != 311 || !strings.Contains(w.Hint(), "'postgresql@15-main.service'") {
		t.Errorf("a holder of a watchdog device: %v", err)
	}
	choose(t, v, "postgresql@15-main.service")
	for _, tt := range []struct {
		v    *View
		want string
	}{
		{&View{}, "there is no cgroup hierarchy"},
		{&View{Version: 2, Root: "/c", ReadOnly: true}, "read-only"},
		{table(t, "1 0 init /\n2 1 x /\n3 1 sh /"), "are in the root"},
		{table(t, "1 0 init /a\n3 1 sh /b"), "must go on"},
	} {
		_, err := tt.v.Choose(nil)
		if _, ok := errors.AsType[*ErrNone](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

const looked = `
@@N hierarchy
2 rw /sys/fs/cgroup

@@N self
77
@@N processes
p 1 0 S 4194560 0 systemd
c /init.scope
p 2 0 S 2129984 0 kthreadd
c /
p 40 1 Z 4194560 0 gone
c /system.slice/x.service (deleted)
p 41 1 S 4194560 1 a name) with spaces
c /system.slice/iced.service
p 42 1 S 4194560 0 short
c 
p 50 1 S 4194560 0 sslh
c /system.slice/sslh.service
p 51 1 S 4194560 0 logger
c /system.slice/odd.service
p 52 1 S 4194560 0 wd
c /system.slice/wd.service
p 53 1 S 4194560 0 av
c /system.slice/av.service
p 54 1 S 4194560 0 app
c /system.slice/app.service
p 55 1 S 4194560 0 dog
c /system.slice/dog.service
p 60 1 S 4194560 0 sshd
c /system.slice/ssh.service
p 77 60 S 4194560 0 sh
c /system.slice/ssh.service

@@N near
   5: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF00000100007F:C001 01 00000000:00000000 02:00AC 00000000 0 0 900 4
@@N far
   7: 0100007F:C001 0100007F:0016 01 00000000:00000000 02:00AC 00000000 0 0 901 4
   8: 0200007F:C001 0100007F:0016 01 00000000:00000000 02:00AC 00000000 0 0 902 4
   9: 0100007F:C001 0100007F:0016 01 00000000:00000000 02:00AC 00000000 0 0 0 4
@@N unix
0000000000000000: 00000002 00000000 00000000 0002 01 800 /dev/log
@@N fds
/proc/1/fd:
lrwx------ 1 root root 64 Nov 22 09:00 9 -> /dev/watchdog0
/proc/50/fd:
lrwx------ 1 root root 64 Nov 22 09:00 3 -> socket:[901]
/proc/51/fd:
lrwx------ 1 root root 64 Nov 22 09:00 3 -> socket:[800]
/proc/52/fd:
lrwx------ 1 root root 64 Nov 22 09:00 3 -> /dev/watchdog
/proc/53/fd:
lr-x------ 1 root root 64 Nov 22 09:00 3 -> anon_inode:[fanotify]
lr-x------ 1 root root 64 Nov 22 09:00 4 -> socket:[902]
/proc/55/fd:
lrwx------ 1 root root 64 Nov 22 09:00 3 -> /dev/ipmi0
@@N units
Id=odd.service
WatchdogUSec=0
ControlGroup=/system.slice/odd.service

WatchdogUSec=3min
Id=w.service
ControlGroup=/system.slice/w.service

WatchdogUSec=3min
Id=none.service
ControlGroup=
@@N end
`

func cut(text string) map[string]string {
	sec := map[string]string{}
	for _, p := range strings.Split(text, "\n@@N ")[1:] {
		name, body, _ := strings.Cut(p, "\n")
		sec[name] = body
	}
	return sec
}

func TestParse(t *testing.T) {
	v, err := Parse(cut(looked))
	if err != nil {
		t.Fatal(err)
	}
	if v.Version != 2 || v.Root != "/sys/fs/cgroup" || v.Self != 77 || len(v.Processes) != 13 || len(v.Watched) != 1 || v.Watched["/system.slice/w.service"] != "3min" {
		t.Errorf("%+v", v)
	}
	s, err := v.Choose(exemptions(t, "wd"))
	if err != nil {
		t.Fatal(err)
	}
	for path, why := range map[string]string{"/system.slice/sslh.service": holdsConnection, "/system.slice/odd.service": "logged", "/system.slice/av.service": "open files",
		"/system.slice/iced.service": "froze it before", "/system.slice/dog.service": "IPMI", "/system.slice/ssh.service": "our own session"} {
		if got := kept(s, path); !strings.Contains(got, why) {
			t.Errorf("%s: %q, want %q", path, got, why)
		}
	}
}

// TestParseBad: what a target says wrong is an error, never a guess.
func TestParseBad(t *testing.T) {
	for name, change := range map[string][2]string{
		"no self":            {"\n77\n@@N proc", "\n\n@@N proc"},
		"self unknown":       {"p 77 60", "p 78 60"},
		"not of PID 1":       {"p 60 1 S", "p 60 0 S"},
		"a loop":             {"p 60 1 S", "p 60 77 S"},
		"two lines of one":   {"p 2 0 S 2129984 0 kthreadd\n", "p 2 0 S 2129984 0 kthreadd\nsecond\n"},
		"no number":          {"p 2 0", "p x 0"},
		"too few":            {"p 2 0 S 2129984 0 kthreadd", "p 2 0"},
		"another hierarchy":  {"2 rw /sys", "3 rw /sys"},
		"a relative root":    {"2 rw /sys", "2 rw sys"},
		"no listing":         {"/proc/1/fd:", "/proc/11/fd:"},
		"no services":        {looked[strings.Index(looked, "Id=odd"):strings.Index(looked, "@@N end")], "Failed to connect to bus\n"},
		"a root with quotes": {"2 rw /sys", "2 rw /'; reboot '"},
	} {
		text := strings.Replace(looked, change[0], change[1], 1)
		if text == looked {
			t.Fatalf("%s changes nothing", name)
		}
		if v, err := Parse(cut(text)); err == nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
	v, err := Parse(cut(strings.Replace(looked, "2 rw /sys/fs/cgroup\n", "", 1)))
	if err != nil || v.Version != 0 {
		t.Errorf("a host without a freezer: %+v, %v", v, err)
	}
}

// TestParseNoSystemd: services are asked for where systemd runs, by whichever sign.
func TestParseNoSystemd(t *testing.T) {
	for name, tt := range map[string]struct {
		pid1, booted string
		ok           bool
	}{
		"another init":         {"init", "", true},
		"systemd":              {"systemd", "", false},
		"systemd renamed":      {"init", "systemd\n", false},
		"systemd in both ways": {"systemd", "systemd\n", false},
	} {
		sec := cut(strings.Replace(looked, "0 systemd\nc /init.scope", "0 "+tt.pid1+"\nc /init.scope", 1))
		sec["units"], sec["booted"] = "", tt.booted
		_, err := Parse(sec)
		var none *ErrNone
		if tt.ok != (err == nil) || !tt.ok && !errors.As(err, &none) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(looked)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Parse(cut(text))
		if err != nil {
			return
		}
		s, err := v.Choose(nil)
		if err != nil {
			return
		}
		ours := v.ancestors()
		for _, c := range s.Cgroups {
			if c.Path == "/" || !strings.HasPrefix(c.Path, "/") || strings.Contains(c.Path, "\n") {
				t.Fatalf("it would freeze %q", c.Path)
			}
			for _, p := range v.Processes {
				if below := p.Cgroup == c.Path || strings.HasPrefix(p.Cgroup, c.Path+"/"); below && !p.Kernel && !p.Zombie && (ours[p.PID] || p.PID == 1) {
					t.Fatalf("it would freeze %+v with %q", p, c.Path)
				}
			}
		}
	})
}

// TestNames: the kernel cuts names to 15 bytes; a longer one would never match.
func TestNames(t *testing.T) {
	for _, g := range groups {
		for _, n := range strings.Fields(g.names) {
			if len(strings.TrimSuffix(n, "*")) > nameSize {
				t.Errorf("%s has %d bytes, more than a process's name", n, len(n))
			}
		}
	}
	if _, err := os.Stat("/proc/self/comm"); err == nil {
		b, _ := os.ReadFile("/proc/self/comm")
		if len(strings.TrimSpace(string(b))) > nameSize {
			t.Errorf("this kernel has longer names: %q", b)
		}
	}
}
