package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is a program that mounts and waits, where it is told to.
func TestMain(m *testing.M) {
	dir := os.Getenv("FUSEFS_TEST_MOUNT")
	if dir == "" {
		os.Exit(m.Run())
	}
	mounted, err := New(dir, []File{{Name: "file", Source: Bytes("content")}}, Options{Name: "test"})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// A child that is there when this is killed, as Volatility is.
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		panic(err)
	}
	fmt.Println("mounted", mounted.Freed())
	<-mounted.Done()
}

// A mount of a program that was killed is freed by the next one, for root and for others, though a child of it lives.
func TestFreed(t *testing.T) {
	for name, uid := range map[string]uint32{"root": 0, "another user": 65534} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 && uid != 0 || os.Geteuid() != 0 && name == "root" {
				t.Skip("only root can be both")
			}
			dir := t.TempDir() // below /tmp, which all may pass
			program, view := filepath.Join(dir, "program"), filepath.Join(dir, "a view")
			copyProgram(t, program)
			for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
				if err := os.Chmod(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.Mkdir(view, 0o700), os.Chown(view, int(uid), int(uid))); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // whatever happened
				for syscall.Unmount(view, syscall.MNT_DETACH) == nil {
				}
			})
			start := func() (cmd *exec.Cmd, freed bool) {
				t.Helper()
				cmd = exec.Command(program)
				cmd.Env = append(os.Environ(), "FUSEFS_TEST_MOUNT="+view)
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Setpgid: true}
				out, err := cmd.StdoutPipe()
				if err == nil {
					err = cmd.Start()
				}
				if err != nil {
					t.Fatal(err)
				}
				group := -cmd.Process.Pid
				t.Cleanup(func() { syscall.Kill(group, syscall.SIGKILL) })
				late := time.AfterFunc(30*time.Second, func() { syscall.Kill(group, syscall.SIGKILL) }) // it hangs in what is mounted there
				defer late.Stop()
				line := make([]byte, 500)
				n, err := out.Read(line)
				text, found := strings.CutPrefix(string(bytes.TrimSpace(line[:n])), "mounted ")
				if !found {
					cmd.Wait()
					if strings.Contains(text, "operation not permitted") || strings.Contains(text, ErrUnsupported.Error()) || strings.Contains(text, "executable file not found") {
						t.Skip("nothing can be mounted here: " + text)
					}
					t.Fatalf("%q, %v", text, err)
				}
				return cmd, text == "true"
			}
			for i := range 3 {
				cmd, freed := start()
				if freed != (i > 0) {
					t.Errorf("mount %d: what was there before was freed: %t", i+1, freed)
				}
				// One that is alive stays, and nothing is mounted over it.
				other := exec.Command(program)
				other.Env, other.SysProcAttr = cmd.Env, cmd.SysProcAttr
				if out, err := other.CombinedOutput(); err == nil || !strings.Contains(string(out), ErrNotEmpty.Error()) {
					t.Errorf("over one that is alive: %v, %s", err, out)
				}
				cmd.Process.Kill()
				cmd.Wait()
			}
			if freed, err := Free(t.TempDir()); freed || err != nil {
				t.Errorf("of nothing: %t, %v", freed, err)
			}
		})
	}
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
