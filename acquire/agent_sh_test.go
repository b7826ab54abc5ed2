//go:build linux

package acquire

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A shellRig runs agent.sh under a real shell, with a folder in the place of the
// kernel's files and two small programs in the place of insmod and rmmod.
type shellRig struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
	in  io.WriteCloser
	out chan string // lines, without the mark; closed at the end
}

// shells are the shells of this machine that targets have.
func shells() [][]string {
	var all [][]string
	seen := map[string]bool{} // sh is mostly one of the others
	for _, s := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"sh"}} {
		path, err := exec.LookPath(s[0])
		if err != nil {
			continue
		}
		if path, err = filepath.EvalSymlinks(path); err == nil && !seen[path] {
			seen[path] = true
			all = append(all, s)
		}
	}
	return all
}

// fakeInsmod listens, as far as the agent can see, until it is told to stop, and leaves
// the module "loaded". fakeRmmod takes it away.
const (
	fakeInsmod = `#!/bin/sh
trap 'echo "lime 1" >DIR/modules.new; mv DIR/modules.new DIR/modules; exit 143' TERM
echo $$ >DIR/insmod.pid
[ ! -e DIR/refuse ] || { echo "could not insert module: Address already in use" >&2; exit 1; }
echo "lime 1" >DIR/modules
echo "0: 0100007F:115C 00000000:0000 0A 0:0 0:0 0 0 0 7 1" >DIR/tcp
while [ ! -e DIR/finish ]; do sleep 0.05; done
`
	fakeRmmod = "#!/bin/sh\n[ ! -e DIR/stuck ] && : >DIR/modules\n"
)

// newShellRig starts the agent; the module is on its way.
func newShellRig(t *testing.T, shell []string, lease string, prepare func(dir string)) *shellRig {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), mode); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(filepath.Join(dir, "bin"), 0o700)
	os.Mkdir(filepath.Join(dir, "parameters"), 0o700)
	write("bin/insmod", fakeInsmod, 0o700)
	write("bin/rmmod", fakeRmmod, 0o700)
	for name, text := range map[string]string{"modules": "", "tcp": "",
		"parameters/path": "tcp:4444\n", "parameters/timeout": "0\n", "parameters/format": "lime\n", "parameters/localhostonly": "1\n"} {
		write(name, text, 0o600)
	}
	if prepare != nil {
		prepare(dir)
	}
	script := strings.NewReplacer(
		"PATH=/usr/sbin:", "PATH="+dir+"/bin:/usr/sbin:",
		"/proc/modules", dir+"/modules", "/proc/net/tcp", dir+"/tcp",
		"/sys/module/lime/parameters", dir+"/parameters", // One of its kind, with several digits: who reads it byte by byte gets the first.
		"/proc/sys/kernel/tainted", "/proc/sys/kernel/pid_max",
	).Replace(agentScript)

	data := bytes.Repeat([]byte("module"), 500)
	sum := sha256.Sum256(data)
	r := &shellRig{t: t, dir: dir, out: make(chan string, 100)}
	args := append(shell[1:], "-c", script, "agent", "NONCE", dir+"/work", fmt.Sprint(len(data)), hex.EncodeToString(sum[:]), "4444", "115C", lease, "0")
	r.cmd = exec.Command(shell[0], args...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := os.Create(dir + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	r.cmd.Stderr = stderr
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for sc := bufio.NewScanner(stdout); sc.Scan(); {
			if s, ok := strings.CutPrefix(sc.Text(), "@NONCE "); ok {
				r.out <- s
			}
		}
		close(r.out)
	}()
	t.Cleanup(func() {
		syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		r.cmd.Wait()
	})
	if _, err := r.in.Write(data); err != nil {
		t.Fatal(err)
	}
	return r
}

// until reads reports up to the one that begins with word, and returns it.
func (r *shellRig) until(word string) string {
	r.t.Helper()
	limit := time.After(30 * time.Second)
	var seen []string
	for {
		select {
		case s, ok := <-r.out:
			if !ok {
				r.t.Fatalf("the agent ended before %q: %q", word, seen)
			}
			if seen = append(seen, s); strings.HasPrefix(s, word) {
				return s
			}
		case <-limit:
			r.t.Fatalf("no %q within 30 s: %q", word, seen)
		}
	}
}

func (r *shellRig) touch(name string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// clean fails unless the folder is gone, the module unloaded, and every process ended.
func (r *shellRig) clean() {
	r.t.Helper()
	if _, err := os.Stat(r.dir + "/work"); err == nil {
		r.t.Error("the folder is left")
	}
	if b, _ := os.ReadFile(r.dir + "/modules"); len(b) != 0 {
		r.t.Error("the module is left")
	}
	r.in.Close()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// The group is empty but for the agent itself, a zombie until it is waited for.
		r.cmd.Process.Signal(syscall.Signal(0))
		if out, _ := exec.Command("sh", "-c", fmt.Sprintf(`for p in /proc/[0-9]*; do read -r l <$p/stat || continue; set -- ${l##*) }; [ "$1" != Z ] && [ "$3" = %d ] && echo $p $l; done 2>/dev/null; true`, r.cmd.Process.Pid)).Output(); len(out) == 0 {
			break
		} else if time.Now().After(end) {
			r.t.Fatalf("processes are left:\n%s", out)
		}
	}
}

func TestAgentScript(t *testing.T) {
	for _, shell := range shells() {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			t.Run("end", func(t *testing.T) {
				r := newShellRig(t, shell, "60", nil)
				r.until("listening 4444")
				if _, err := os.Stat(r.dir + "/work"); err == nil {
					t.Error("the module is not unlinked while LiME listens")
				}
				io.WriteString(r.in, "check\nbeat\n")
				r.until("row 0: 0100007F:115C")
				r.until("checked")
				r.touch("finish")
				r.until("insmod 0")
				io.WriteString(r.in, "end\n")
				pids, err := os.ReadFile("/proc/sys/kernel/pid_max")
				if err != nil {
					t.Fatal(err)
				}
				if s := r.until("done"); s != "done insmod=0 module=gone dir=gone pids= tainted="+strings.TrimSpace(string(pids)) {
					t.Error(s)
				}
				r.clean()
			})
			t.Run("connection lost", func(t *testing.T) {
				t.Parallel()
				r := newShellRig(t, shell, "60", nil)
				r.until("listening")
				r.in.Close()
				if s := r.until("done"); !strings.Contains(s, "insmod=143 module=gone dir=gone pids= ") {
					t.Error(s)
				}
				r.clean()
			})
			t.Run("killed at once", func(t *testing.T) {
				r := newShellRig(t, shell, "60", nil)
				r.until("listening")
				io.WriteString(r.in, "kill\n")
				if s := r.until("done"); !strings.Contains(s, "insmod=143 module=gone") {
					t.Error(s)
				}
				r.clean()
			})
			t.Run("terminated", func(t *testing.T) {
				r := newShellRig(t, shell, "60", nil)
				r.until("listening")
				r.cmd.Process.Signal(syscall.SIGTERM)
				if s := r.until("done"); !strings.Contains(s, "insmod=143 module=gone dir=gone pids= ") {
					t.Error(s)
				}
				r.clean()
			})
			t.Run("lease", func(t *testing.T) {
				t.Parallel()
				r := newShellRig(t, shell, "4", nil)
				r.until("listening")
				r.until("lease expired") // standard input is still open: nobody beats
				if s := r.until("done"); !strings.Contains(s, "module=gone dir=gone pids= ") {
					t.Error(s)
				}
				r.clean()
			})
			t.Run("beats", func(t *testing.T) {
				t.Parallel()
				r := newShellRig(t, shell, "8", nil) // a busy machine may hold up a beat for seconds
				r.until("listening")
				for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
					io.WriteString(r.in, "beat\n")
				}
				io.WriteString(r.in, "end\n")
				for s := range r.out {
					if strings.HasPrefix(s, "lease") {
						t.Error("the lease expired although beats came")
					}
				}
				r.clean()
			})
			t.Run("refused", func(t *testing.T) {
				r := newShellRig(t, shell, "60", func(dir string) {
					os.WriteFile(dir+"/refuse", nil, 0o600)
					os.WriteFile(dir+"/bin/dmesg", []byte("#!/bin/sh\nprintf '[ 1.0] %s\\n' 'lime: an old line' 'lime: disagrees about printk' 'eth0: up' 'lime: Unknown symbol printk'\n"), 0o700)
				})
				r.until("insmod 1")
				if b, _ := os.ReadFile(r.dir + "/stderr"); !strings.HasSuffix(string(b), "[ 1.0] lime: disagrees about printk\n[ 1.0] lime: Unknown symbol printk\n") {
					t.Errorf("the kernel's reason is not told: %q", b)
				}
				io.WriteString(r.in, "end\n")
				r.until("done insmod=1 module=gone dir=gone pids=")
				r.clean()
			})
			t.Run("stuck", func(t *testing.T) {
				t.Parallel()
				r := newShellRig(t, shell, "60", func(dir string) { os.WriteFile(dir+"/stuck", nil, 0o600) })
				r.until("listening")
				r.in.Close()
				r.until("done insmod=143 module=loaded dir=gone")
			})
			t.Run("another's LiME", func(t *testing.T) {
				r := newShellRig(t, shell, "60", func(dir string) {
					os.WriteFile(dir+"/modules", []byte("lime 1\n"), 0o600)
					os.WriteFile(dir+"/parameters/path", []byte("tcp:5555\n"), 0o600)
				})
				r.until("failed loaded")
				for range r.out {
				}
				if b, _ := os.ReadFile(r.dir + "/modules"); len(b) == 0 {
					t.Error("another's LiME was unloaded")
				}
				os.Truncate(r.dir+"/modules", 0)
				r.clean()
			})
			t.Run("altered on the way", func(t *testing.T) {
				r := newShellRig(t, shell, "60", func(dir string) {
					// a dd that alters a byte
					os.WriteFile(dir+"/bin/dd", []byte("#!/bin/sh\n/bin/dd \"$@\" && for a; do case $a in of=*) printf x >>\"${a#of=}\" ;; esac; done\n"), 0o700)
				})
				r.until("failed digest")
				for range r.out {
				}
				r.clean()
			})
		})
	}
}
