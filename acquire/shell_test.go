//go:build linux

package acquire

import (
	"bufio"
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

// shells are the shells of this machine that targets have. A test of those that are not here counts as skipped.
func shells(t *testing.T) [][]string {
	var all [][]string
	seen := map[string]bool{} // sh is mostly one of the others
	for _, s := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"sh"}} {
		path, err := exec.LookPath(s[0])
		if err != nil {
			t.Run(s[0], func(t *testing.T) { t.Skip(err) })
			continue
		}
		if path, err = filepath.EvalSymlinks(path); err == nil && !seen[path] {
			seen[path] = true
			all = append(all, s)
		}
	}
	return all
}

// A talk is a script that takes orders on its standard input and reports with the mark NONCE, under
// a real shell, in a process group of its own.
type talk struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out chan string // lines, without the mark; closed at the end
}

// scriptLimit is how long a step of a script may take: seconds, on a busy machine a minute.
const scriptLimit = 2 * time.Minute

// startTalk runs a shell with arguments. stderr may be nil.
func startTalk(t *testing.T, stderr *os.File, shell []string, args ...string) *talk {
	t.Helper()
	r := &talk{t: t, out: make(chan string, 1000)}
	r.cmd = exec.Command(shell[0], append(shell[1:], args...)...)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if stderr != nil {
		r.cmd.Stderr = stderr
	}
	var err error
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
	return r
}

// until reads reports up to the one that begins with word; it returns all of them.
func (r *talk) until(word string) (seen []string) {
	r.t.Helper()
	limit := time.After(scriptLimit)
	for {
		select {
		case s, ok := <-r.out:
			if !ok {
				r.t.Fatalf("the script ended before %q: %q", word, seen)
			}
			if seen = append(seen, s); strings.HasPrefix(s, word) {
				return seen
			}
		case <-limit:
			r.t.Fatalf("no %q within %s: %q", word, scriptLimit, seen)
		}
	}
}

// gone fails unless all processes of the script end.
func (r *talk) gone() {
	r.t.Helper()
	for end := time.Now().Add(scriptLimit); ; time.Sleep(10 * time.Millisecond) {
		// The script itself is a zombie until it is waited for.
		out, _ := exec.Command("sh", "-c", fmt.Sprintf(`for p in /proc/[0-9]*; do read -r l <$p/stat || continue; set -- ${l##*) }; [ "$1" != Z ] && [ "$3" = %d ] && echo $p $l; done 2>/dev/null; true`, r.cmd.Process.Pid)).Output()
		if len(out) == 0 {
			return
		} else if time.Now().After(end) {
			r.t.Fatalf("processes are left:\n%s", out)
		}
	}
}
