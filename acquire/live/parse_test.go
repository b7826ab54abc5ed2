//go:build linux

package live

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// run runs the script in a shell of this machine for some items.
func run(t *testing.T, shell []string, items ...string) *Collection {
	t.Helper()
	kinds := parse(t, items...)
	args := "set -- '" + nonce + "'"
	for _, k := range kinds {
		args += " " + k.Name
	}
	script := "BOOT='fedcba9876543210'\n" + args + "\n" + Script
	cmd := exec.Command(shell[0], append(shell[1:len(shell):len(shell)], "-c", `eval "$(cat)"`, "shotglass", "fedcba9876543210")...)
	cmd.Stdin = strings.NewReader(script)
	c := new(Collection)
	r := c.NewReceiver(Before, kinds, nonce, time.Now)
	cmd.Stdout = r
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func content(t *testing.T, c *Collection, name string) []byte {
	t.Helper()
	for i, it := range c.Items {
		if it.Name == name {
			b, err := c.Content(i)
			if err != nil || it.Error != "" {
				t.Fatalf("%s: %v, %q", name, err, it.Error)
			}
			return b
		}
	}
	t.Fatalf("no item %s", name)
	return nil
}

// TestScript: in every shell the script finds a process of ours with awkward arguments, and a socket, as they are.
func TestScript(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tool, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("no sleep")
	}
	sleep := exec.Command(tool)
	sleep.Args = []string{"odd name", "60", "0", "0"}
	// An argument that would pose as another process.
	sleep.Args[0] = "odd\n1 (init) S 0 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 3 1 1 1\n "
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { sleep.Process.Kill(); sleep.Wait() }()
	long := exec.Command(tool, "60", strings.Repeat("0", 100<<10))
	if err := long.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { long.Process.Kill(); long.Wait() }()
	for _, shell := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"sh"}} {
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			if _, err := exec.LookPath(shell[0]); err != nil {
				t.Skip(err)
			}
			c := run(t, shell, "clock", "processes", "executables", "sockets", "mounts")
			list, err := Processes(content(t, c, "processes"))
			if err != nil {
				t.Fatal(err)
			}
			Describe(list, Executables(content(t, c, "executables")))
			by := func(pid int) Process {
				i := slices.IndexFunc(list, func(p Process) bool { return p.PID == pid })
				if i < 0 {
					t.Fatalf("PID %d is not among %d", pid, len(list))
				}
				return list[i]
			}
			p := by(sleep.Process.Pid)
			if p.Silent || p.Says != 0 || p.Name != "sleep" || p.Parent != os.Getpid() || !slices.Equal(p.Args, sleep.Args) || p.UID != os.Getuid() || p.Kernel {
				t.Errorf("%+v", p)
			}
			if p := by(long.Process.Pid); p.Silent || len(p.Args) != 3 || len(strings.Join(p.Args, " ")) != 4096 {
				t.Errorf("of 100 KiB of arguments %d bytes were read", len(strings.Join(p.Args, " ")))
			}
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID))
			if p.Exe != exe {
				t.Errorf("exe %q, want %q", p.Exe, exe)
			}
			clock := ParseClock(content(t, c, "clock"))
			start := clock.Boot.Add(time.Duration(p.Start) * time.Second / time.Duration(clock.Ticks))
			if d := time.Since(start); d < -3*time.Second || d > time.Minute {
				t.Errorf("it started %s ago, %+v", d, clock)
			}
			self := by(os.Getpid())
			if self.Parent != os.Getppid() || len(self.Args) == 0 || self.Args[0] != os.Args[0] {
				t.Errorf("%+v", self)
			}
			sockets, skipped := Sockets(content(t, c, "sockets"))
			if !slices.ContainsFunc(sockets, func(s Socket) bool {
				return s.Proto == "tcp" && s.Local.String() == l.Addr().String() && s.State == "LISTEN" && s.Inode != 0
			}) || skipped > 0 {
				t.Errorf("no %s in %d sockets, %d skipped", l.Addr(), len(sockets), skipped)
			}
			if m := Mounts(content(t, c, "mounts")); !slices.ContainsFunc(m, func(m Mount) bool { return m.Point == "/proc" && m.Type == "proc" }) {
				t.Errorf("mounts: %+v", m)
			}
		})
	}
}

// stat is a line of /proc/PID/stat.
func stat(pid int, name string, flags int) string {
	return fmt.Sprintf("%d (%s) S 1 1 1 0 -1 %d 1 1 1 1 1 1 1 1 20 0 1 0 4242 1 1 18446744073709551615 1 1 1 1 1 1 1 1 1\n", pid, name, flags)
}

func TestProcesses(t *testing.T) {
	mark := "0a1b2c3d-boot\nsh\x00-c\x00nonce0123\x00"
	join := func(pids string, parts ...string) []byte {
		return []byte(pids + "\n" + mark + "\n" + mark + strings.Join(parts, mark))
	}
	data := join("1 2 30 31 32 33",
		stat(1, "systemd", 0)+"/sbin/init\x00splash\x00",
		stat(2, "kthreadd", kernelThread),
		stat(30, "a) b (c", 0)+"x\x00",
		"",                               // ended, or covered by an empty folder
		stat(1, "systemd", 0)+"init\x00", // covered by the entry of 1
		stat(33, "n\nl) ", 0)+"evil\n1 (x) S 1\n\x00",
		"")
	list, err := Processes(data)
	if err != nil || len(list) != 6 {
		t.Fatalf("%v, %+v", err, list)
	}
	if p := list[0]; p.Name != "systemd" || len(p.Args) != 2 || p.Start != 4242 || p.Kernel {
		t.Errorf("%+v", p)
	}
	if p := list[1]; !p.Kernel || p.Args != nil {
		t.Errorf("%+v", p)
	}
	if p := list[2]; p.Name != "a) b (c" || p.Args[0] != "x" {
		t.Errorf("%+v", p)
	}
	if p := list[3]; !p.Silent || p.PID != 31 {
		t.Errorf("%+v", p)
	}
	if p := list[4]; p.Says != 1 || p.PID != 32 {
		t.Errorf("%+v", p)
	}
	if p := list[5]; p.Silent || p.Name != "n\nl) " {
		t.Errorf("%+v", p)
	}
	if list, err := Processes(data[:bytes.Index(data, []byte("30 (a"))]); err == nil || len(list) < 2 || list[1].Name != "kthreadd" {
		t.Errorf("cut: %v, %+v", err, list)
	}
	for _, bad := range []string{"", "1 2", "1 x\n" + mark + "\n" + mark, "1\n\n\n"} {
		if _, err := Processes([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestPS(t *testing.T) {
	for _, text := range []string{
		"    PID    PPID USER      STARTED COMMAND\n      1       0 root     Sun Nov 22 10:00:00 2026 /sbin/init\n   4321 1 x y\n",
		"PID   USER     COMMAND\n    1 root     init\n 4321 x {y} z\n",
	} {
		if got := PS([]byte(text)); len(got) != 2 || got[4321] == "" || got[1] == "" {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestSystem(t *testing.T) {
	m := Modules([]byte("lime 20480 1 - Live 0xffffffffc0a1b000 (OE)\nbad\nnf_tables 300 0 - Loading 0x0000000000000000\n"))
	if len(m) != 2 || m[0] != (Module{"lime", 20480, "Live", 0xffffffffc0a1b000}) || m[1].State != "Loading" {
		t.Errorf("%+v", m)
	}
	if s := SysModules([]byte("/sys/module/lime/initstate\n/etc/initstate\n")); !slices.Equal(s, []string{"lime"}) {
		t.Errorf("%q", s)
	}
	mounts := Mounts([]byte("36 35 98:0 /mnt1 /proc/12\\04034 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\nnot\n"))
	if len(mounts) != 1 || mounts[0] != (Mount{"/proc/12 34", "/mnt1", "ext3", "/dev/root"}) {
		t.Errorf("%+v", mounts)
	}
	c := ParseClock([]byte("now=1700000000.250000000\nuptime=12.34 99.0\nbtime 1699999987\nticks=250\nshell=271\n"))
	if c.Now.UnixMilli() != 1700000000250 || c.Uptime != 12340*time.Millisecond || c.Boot.Unix() != 1699999987 || c.Ticks != 250 || c.Shell != 271 {
		t.Errorf("%+v", c)
	}
	six := "/proc/net/tcp6:  0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 77 1\n"
	s, skipped := Sockets([]byte(six + "/proc/net/unix:0000000000000000: 00000002 00000000 00010000 0001 01 88 /run/a b\n/proc/net/tcp:   x\nnoise\n"))
	if skipped != 2 || len(s) != 2 || s[0].Local.String() != "[::1]:22" || s[0].Inode != 77 || s[1].Path != "/run/a b" {
		t.Errorf("%d, %+v", skipped, s)
	}
}

func FuzzParsers(f *testing.F) {
	mark := "0a1b2c3d-boot\nsh\x00-c\x00nonce0123\x00"
	f.Add([]byte("1 2\n" + mark + "\n" + mark + stat(1, "systemd", 0) + "init\x00" + mark + mark))
	f.Add([]byte("/proc/net/tcp:  0: 0100007F:0016 00000000:0000 0A 0:0 00:0 0 0 0 77 1\n"))
	f.Add([]byte("lrwxrwxrwx 1 0 0 0 Nov 22 10:00 /proc/1/exe -> /usr/lib/systemd/systemd\n"))
	f.Add([]byte("36 35 98:0 /mnt1 /proc/12 rw - proc proc rw\nnow=1.5\nuptime=1e9\nbtime 4\nticks=0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _ := Processes(data)
		Describe(list, Executables(data))
		for _, p := range list {
			if p.PID < 1 {
				t.Errorf("%+v", p)
			}
		}
		for pid := range PS(data) {
			if _, err := strconv.Atoi(strconv.Itoa(pid)); err != nil {
				t.Error(pid)
			}
		}
		Sockets(data)
		Modules(data)
		SysModules(data)
		Mounts(data)
		if c := ParseClock(data); c.Ticks < 1 {
			t.Errorf("%+v", c)
		}
	})
}
