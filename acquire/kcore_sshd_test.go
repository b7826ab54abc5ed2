//go:build unix

package acquire

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// targetEnv makes the test binary the shell of a fakeKcore's target, in this folder: a real sshd runs
// it (ForceCommand).
const targetEnv = "SHOTGLASS_TEST_TARGET"

func init() {
	becomeTarget = func() {
		if dir := os.Getenv(targetEnv); dir != "" {
			os.Exit(shellOfTarget(dir))
		}
	}
}

func shellOfTarget(dir string) int {
	said, err := os.ReadFile(filepath.Join(dir, "facts"))
	if err != nil {
		return 1
	}
	f := &fakeKcore{dir: dir, shell: []string{"/bin/sh"}, scripts: map[string]int{}, said: string(said)}
	return f.run(os.Getenv("SSH_ORIGINAL_COMMAND"), os.Stdin, os.Stdout, os.Stderr)
}

// listenSSHD starts a real sshd that listens by itself, as MaxStartups is about, and returns it with
// its log.
func listenSSHD(t *testing.T, config ...string) (target transport.Target, log string) {
	t.Helper()
	d := transporttest.OpenSSHD(t, config...) // for its keys and its configuration
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	out, err := os.Create(filepath.Join(d.Dir, "listening"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(d.Dir, "sshd_config"), "-o", "ListenAddress=127.0.0.1", "-p", strconv.Itoa(port))
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(out.Name())
			t.Logf("sshd said:\n%s", text)
		}
	})
	for end := time.Now().Add(30 * time.Second); ; {
		c, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	target = d.Target()
	target.Port = port
	return target, out.Name()
}

// TestKcoreSSHD: many connections to a real sshd, straight and through another one, that turn away
// whoever comes while two are not logged in yet (MaxStartups). What is turned away is tried again, and
// the image is whole.
func TestKcoreSSHD(t *testing.T) {
	t.Parallel()
	for _, jump := range []bool{false, true} {
		t.Run("jump "+strconv.FormatBool(jump), func(t *testing.T) {
			t.Parallel()
			f := newKcore(t)
			var facts strings.Builder
			f.sayFacts(testNonce, &facts)
			f.write("facts", facts.String())
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			const few = "MaxStartups 2:100:2"
			target, log := listenSSHD(t, few, "ForceCommand "+targetEnv+"="+f.dir+" "+self)
			if jump {
				// The door that is narrow is that of the jump host.
				var hop transport.Target
				hop, log = listenSSHD(t, few)
				target = transporttest.OpenSSHD(t, "ForceCommand "+targetEnv+"="+f.dir+" "+self).Target()
				target.NoJumps, target.Jumps = false, []transport.Target{hop}
			}
			target.Name = "127.0.0.1"
			dir := t.TempDir()
			o := (&fakeTarget{t: t}).options(dir)
			o.Method, o.Compression, o.Connections, o.ConnectAttempts = MethodKcore, "none", 8, 20
			o.LimitRate = 2 << 20 // so that there is time to make connections
			m := f.complete(dir, runJobs(t.Context(), t, o, Job{Target: target})[0])
			used := m.Method.Kcore.Connections
			if used.Most < 6 || m.Footprint.Logins < used.Most {
				t.Errorf("connections %+v, %d logins", used, m.Footprint.Logins)
			}
			said, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v, %d times turned away", used, strings.Count(string(said), "drop connection"))
			if jump && len(m.Target.Connection.Jumps) != 1 {
				t.Errorf("jumps %+v", m.Target.Connection.Jumps)
			}
		})
	}
}
