//go:build linux

package acquire

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/freeze"
)

// A freezeRig runs freeze.sh.
type freezeRig struct {
	*talk
	k *fakeCgroups
}

func newFreezeRig(t *testing.T, shell []string, lease string, k *fakeCgroups) *freezeRig {
	t.Helper()
	bin := t.TempDir()
	script := strings.Replace(withArgs(freezeScript, []string{"NONCE", "2", k.root, lease}), "PATH=/usr/sbin:", "PATH="+bin+":/usr/sbin:", 1)
	// Once the file is there, nothing can be started any more: what would sleep stands still.
	os.WriteFile(filepath.Join(bin, "sleep"), []byte("#!/bin/sh\n[ ! -e "+k.root+"/blocked ] || kill -STOP $$\nexec /bin/sleep \"$@\"\n"), 0o700)
	return &freezeRig{startTalk(t, nil, shell, "-c", script), k}
}

func (r *freezeRig) order(words ...string) {
	r.t.Helper()
	if _, err := io.WriteString(r.in, strings.Join(words, "\n")+"\n"); err != nil {
		r.t.Fatal(err)
	}
}

// freeze freezes all and waits.
func (r *freezeRig) freeze() []string {
	r.t.Helper()
	for _, p := range r.k.paths {
		r.order("add " + p)
	}
	r.order("arm")
	seen := r.until("armed")
	r.order("freeze")
	return append(seen, r.until("frozen")...)
}

// guard is the number of the guard's process.
func (r *freezeRig) guard() int {
	r.t.Helper()
	out, err := exec.Command("sh", "-c", fmt.Sprintf(`for p in /proc/[0-9]*; do read -r l <$p/stat || continue; set -- ${l##*) }; [ "$2" = %d ] && [ "$1" != Z ] && echo ${p#/proc/}; done 2>/dev/null; true`, r.cmd.Process.Pid)).Output()
	var pid int
	if _, err2 := fmt.Sscan(string(out), &pid); err != nil || err2 != nil {
		r.t.Fatalf("the children of the script are %q", out)
	}
	return pid
}

// shortLease is the lease where its end is waited for: long enough for a beat on a busy machine.
const shortLease = "6"

func TestFreezeScript(t *testing.T) {
	const a, b = "/system.slice/a.service", `/system.slice/b\x2d* x.scope`
	for _, shell := range shells(t) {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			test := func(name, lease string, run func(t *testing.T, r *freezeRig)) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					r := newFreezeRig(t, shell, lease, newCgroups(t, a, b))
					r.until("ready ")
					run(t, r)
				})
			}
			test("end", "600", func(t *testing.T, r *freezeRig) {
				if seen := r.freeze(); !slices.Contains(seen, "cold "+a) || !slices.Contains(seen, "cold "+b) {
					t.Errorf("%q", seen)
				}
				r.k.want(0, a, b)
				r.order("beat", "beat", "beat", "end")
				if seen := r.until("thawed"); len(seen) != 1 {
					t.Errorf("%q", seen)
				}
				r.k.want(0)
				r.gone()
			})
			test("frozen before, and gone", "600", func(t *testing.T, r *freezeRig) {
				r.k.write(a+"/cgroup.freeze", "1\n")
				r.order("add /none")
				if seen := r.freeze(); !slices.Contains(seen, "already "+a) || !slices.Contains(seen, "cold "+b) || !slices.Contains(seen, "gone /none") {
					t.Errorf("%q", seen)
				}
				r.in.Close()
				r.until("thawed")
				r.k.want(0, a)
			})
			test("slow", "600", func(t *testing.T, r *freezeRig) {
				r.k.mu.Lock()
				r.k.stuck[b] = true
				r.k.mu.Unlock()
				if seen := r.freeze(); !slices.Contains(seen, "cold "+a) || !slices.Contains(seen, "slow "+b) {
					t.Errorf("%q", seen)
				}
				r.in.Close()
				r.until("thawed")
				r.k.want(0)
			})
			test("connection lost", "600", func(t *testing.T, r *freezeRig) {
				r.freeze()
				r.in.Close()
				r.until("thawed")
				r.k.want(0)
				r.gone()
			})
			test("killed", shortLease, func(t *testing.T, r *freezeRig) {
				r.freeze()
				r.cmd.Process.Kill()
				r.until("expired lease")
				r.k.want(0)
				r.gone()
			})
			test("terminated, both", "600", func(t *testing.T, r *freezeRig) {
				r.freeze()
				syscall.Kill(-r.cmd.Process.Pid, syscall.SIGTERM)
				r.until("expired told")
				r.k.want(0)
				r.gone()
			})
			test("guard killed", shortLease, func(t *testing.T, r *freezeRig) {
				r.freeze()
				syscall.Kill(r.guard(), syscall.SIGKILL)
				for len(r.out) == 0 { // until it is waited for
					r.order("beat")
					time.Sleep(20 * time.Millisecond)
				}
				r.until("unguarded")
				r.until("armed")
				r.k.want(0, a, b)
				r.cmd.Process.Kill() // and the new one has the list, too
				r.until("expired lease")
				r.k.want(0)
			})
			test("thawed by somebody else", "600", func(t *testing.T, r *freezeRig) {
				r.freeze()
				r.k.write(b+"/cgroup.freeze", "0\n")
				r.order("beat")
				if seen := r.until("warm"); len(seen) != 1 || seen[0] != "warm "+b {
					t.Errorf("%q", seen)
				}
				r.k.write(a+"/cgroup.freeze", "0\n") // no beat sees it
				r.order("end")
				if seen := r.until("thawed"); !slices.Equal(seen, []string{"warm " + a, "thawed"}) {
					t.Errorf("%q", seen)
				}
			})
			// The guard has thawed one and is at the next when the first is frozen again.
			test("frozen while it thaws", "600", func(t *testing.T, r *freezeRig) {
				const last = "/last"
				if err := os.Mkdir(r.k.root+last, 0o700); err != nil {
					t.Fatal(err)
				}
				r.k.write(last+"/cgroup.freeze", "0\n")
				r.order("add "+a, "add "+last, "arm")
				r.until("armed")
				r.order("freeze")
				r.until("frozen")
				r.k.want(0, a)
				fifo := r.k.root + last + "/cgroup.freeze"
				os.Remove(fifo)
				if err := syscall.Mkfifo(fifo, 0o600); err != nil {
					t.Fatal(err)
				}
				syscall.Kill(r.guard(), syscall.SIGTERM)
				r.k.want(scriptLimit)
				r.k.write(a+"/cgroup.freeze", "1\n")
				f, err := os.OpenFile(fifo, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				r.until("expired told")
				r.k.want(scriptLimit)
				r.gone()
			})
			test("lease", shortLease, func(t *testing.T, r *freezeRig) {
				r.freeze()
				begin := time.Now()
				for time.Since(begin) < 15*time.Second { // beats keep it frozen
					r.order("beat")
					time.Sleep(500 * time.Millisecond)
					r.k.want(0, a, b)
				}
				r.until("expired lease") // standard input is open still
				r.k.want(0)
				r.gone()
			})
			test("nothing starts any more", shortLease, func(t *testing.T, r *freezeRig) {
				r.freeze()
				r.k.write("/blocked", "")
				for end := time.Now().Add(scriptLimit); ; time.Sleep(200 * time.Millisecond) {
					if _, err := io.WriteString(r.in, "beat\n"); err != nil { // beats do not help then
						break
					} else if time.Now().After(end) {
						t.Fatal("it is frozen still, with no program to end the lease")
					}
				}
				r.until("expired lease")
				r.k.want(0)
			})
			test("guard stands still", "600", func(t *testing.T, r *freezeRig) {
				r.freeze()
				syscall.Kill(r.guard(), syscall.SIGSTOP)
				r.in.Close()
				r.until("thawed")
				r.k.want(0)
				r.gone()
			})
			test("left", "600", func(t *testing.T, r *freezeRig) {
				r.freeze()
				os.Remove(r.k.root + b + "/cgroup.freeze") // one that takes no order
				os.Symlink("/proc/version", r.k.root+b+"/cgroup.freeze")
				r.order("end")
				if seen := r.until("thawed"); !slices.Contains(seen, "left "+b) || slices.Contains(seen, "left "+a) {
					t.Errorf("%q", seen)
				}
			})
			test("taken over", "600", func(t *testing.T, r *freezeRig) {
				for _, p := range []string{a, b} {
					r.k.write(p+"/cgroup.freeze", "1\n")
				}
				r.order("take "+b, "take /none", "end")
				if seen := r.until("thawed"); len(seen) != 1 {
					t.Errorf("%q", seen)
				}
				r.k.want(0, a)
			})
		})
	}
}

// TestFreezeLookScript looks at this machine: it must see who holds the other end of a
// connection that its parent serves, though one end is IPv6.
func TestFreezeLookScript(t *testing.T) {
	ln, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		t.Skip(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", ln.Addr().(*net.TCPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	hand := func(c net.Conn, cmd *exec.Cmd) { // the process has it, and we no more
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		cmd.ExtraFiles = []*os.File{f}
		t.Cleanup(func() { f.Close() })
	}
	holder := exec.Command("sleep", "60")
	hand(client, holder)
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	holder.ExtraFiles[0].Close()
	defer func() { holder.Process.Kill(); holder.Wait() }()
	f, err := server.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	server.Close()
	for _, shell := range shells(t) {
		cmd := exec.Command(shell[0], append(shell[1:], "-c", withArgs(freezeLookScript, []string{testNonce}))...)
		cmd.ExtraFiles = []*os.File{f}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", shell[0], err)
		}
		sec, err := sections(out, testNonce)
		if err != nil {
			t.Fatalf("%s: %v: %s", shell[0], err, out)
		}
		if v, err := freeze.Parse(sec); err != nil && !strings.Contains(err.Error(), "PID 1") { // in a container they may not lead there
			t.Errorf("%s: %v", shell[0], err)
		} else if err == nil && !slices.Contains(v.Holds[holder.Process.Pid], "carries our connection") {
			t.Errorf("%s: process %d holds %q; far %q", shell[0], holder.Process.Pid, v.Holds[holder.Process.Pid], sec["far"])
		}
		if !strings.Contains(sec["processes"], fmt.Sprintf("p %d %d S ", holder.Process.Pid, os.Getpid())) {
			t.Errorf("%s: the process is not seen: %q", shell[0], sec["processes"])
		}
	}
}
