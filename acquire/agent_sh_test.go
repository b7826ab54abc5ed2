//go:build linux

package acquire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A shellRig runs agent.sh, with a folder in the place of the kernel's files and two small
// programs in the place of insmod and rmmod.
type shellRig struct {
	*talk
	dir string
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
		// insmod has its time to end on a busy machine, too.
		`[ "$i" -lt 30 ]`, `[ "$i" -lt 600 ]`,
	).Replace(agentScript)

	data := bytes.Repeat([]byte("module"), 500)
	sum := sha256.Sum256(data)
	stderr, err := os.Create(dir + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	r := &shellRig{startTalk(t, stderr, shell, "-c", script, "agent", "NONCE", dir+"/work", fmt.Sprint(len(data)), hex.EncodeToString(sum[:]), "4444", "115C", lease, "0"), dir}
	if _, err := r.in.Write(data); err != nil {
		t.Fatal(err)
	}
	return r
}

// until reads reports up to the one that begins with word, and returns it.
func (r *shellRig) until(word string) string {
	r.t.Helper()
	seen := r.talk.until(word)
	return seen[len(seen)-1]
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
	r.gone()
}

func TestAgentScript(t *testing.T) {
	for _, shell := range shells(t) {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			t.Run("end", func(t *testing.T) {
				r := newShellRig(t, shell, "600", nil)
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
				r := newShellRig(t, shell, "600", nil)
				r.until("listening")
				r.in.Close()
				if s := r.until("done"); !strings.Contains(s, "insmod=143 module=gone dir=gone pids= ") {
					t.Error(s)
				}
				r.clean()
			})
			t.Run("killed at once", func(t *testing.T) {
				r := newShellRig(t, shell, "600", nil)
				r.until("listening")
				io.WriteString(r.in, "kill\n")
				if s := r.until("done"); !strings.Contains(s, "insmod=143 module=gone") {
					t.Error(s)
				}
				r.clean()
			})
			t.Run("terminated", func(t *testing.T) {
				r := newShellRig(t, shell, "600", nil)
				r.until("listening")
				r.cmd.Process.Signal(syscall.SIGTERM)
				if s := r.until("done"); !strings.Contains(s, "insmod=143 module=gone dir=gone pids= ") {
					t.Error(s)
				}
				r.clean()
			})
			t.Run("lease", func(t *testing.T) {
				t.Parallel()
				r := newShellRig(t, shell, "8", nil)
				r.until("listening")
				r.until("lease expired") // standard input is still open: nobody beats
				if s := r.until("done"); !strings.Contains(s, "module=gone dir=gone pids= ") {
					t.Error(s)
				}
				r.clean()
			})
			t.Run("beats", func(t *testing.T) {
				t.Parallel()
				r := newShellRig(t, shell, "12", nil) // a busy machine may hold up a beat for seconds
				r.until("listening")
				for end := time.Now().Add(17 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
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
				r := newShellRig(t, shell, "600", func(dir string) {
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
				r := newShellRig(t, shell, "600", func(dir string) { os.WriteFile(dir+"/stuck", nil, 0o600) })
				r.until("listening")
				r.in.Close()
				r.until("done insmod=143 module=loaded dir=gone")
			})
			t.Run("another's LiME", func(t *testing.T) {
				r := newShellRig(t, shell, "600", func(dir string) {
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
				r := newShellRig(t, shell, "600", func(dir string) {
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
