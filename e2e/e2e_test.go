//go:build e2e

// Package e2e tests the shotglass program against real parts: a Debian kernel
// with a real LiME module, real OpenSSH, Volatility 3. `make e2e` runs it.
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

var (
	program string // the shotglass binary
	parts   *lab.Lab
)

func TestMain(m *testing.M) {
	enterNetwork()
	code, err := func() (int, error) {
		dir, err := os.MkdirTemp("", "shotglass-e2e-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "shotglass")
		build := exec.Command("go", "build", "-o", program, "../cmd/shotglass")
		if out, err := build.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build: %w\n%s", err, out)
		}
		if parts, err = lab.Open(); err != nil {
			return 0, err
		}
		return m.Run(), nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// A rig is one guest and a folder for evidence.
type rig struct {
	t     *testing.T
	guest *lab.Guest
	dir   string // of the evidence
	home  string // known_hosts, keys

	module  string // that capture names; empty: parts.Module
	collect string // what take collects beside memory; empty: nothing
}

// newRig boots a guest; it is gone when the test ends.
func newRig(t *testing.T) *rig {
	t.Helper()
	return bootRig(t, parts, lab.Options{})
}

// bootRig is newRig with another guest.
func bootRig(t *testing.T, l *lab.Lab, o lab.Options) *rig {
	t.Helper()
	slots.take(t)
	g, err := l.Boot(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("console:\n%s", g.ConsoleLog())
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return rigOf(t, g)
}

// rigOf is another folder for a guest that is there.
func rigOf(t *testing.T, g *lab.Guest) *rig {
	r := &rig{t: t, guest: g, dir: t.TempDir(), home: t.TempDir()}
	if err := g.KnownHosts(r.known()); err != nil {
		t.Fatal(err)
	}
	keygen(t, r.signKey())
	pub, err := os.ReadFile(r.signKey() + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.signers(), append([]byte("investigator "), pub...), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func keygen(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "e2e", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
}

func (r *rig) known() string   { return filepath.Join(r.home, "known_hosts") }
func (r *rig) signKey() string { return filepath.Join(r.home, "sign") }
func (r *rig) signers() string { return filepath.Join(r.home, "signers") }

// target are the flags that lead to the guest as a user, and the guest's name.
func (r *rig) target(user string) []string {
	return []string{
		"--ssh-config", "none", "--no-agent", "--known-hosts", r.known(), "--key", parts.Key,
		"--user", user, "--port", r.guest.Port(),
	}
}

// capture are the flags of a good capture.
func (r *rig) capture(user string, more ...string) []string {
	module := cmp.Or(r.module, r.guest.Lab.Module)
	args := append([]string{"capture"}, r.target(user)...)
	args = append(args, "--output", r.dir, "--case", "e2e", "--sign-key", r.signKey(),
		"--module", module, "--module-sha256", sha256File(r.t, module), "--progress", "lines")
	return append(append(args, more...), "127.0.0.1")
}

// A run is the program at work.
type run struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout lockedBuffer
	stderr lockedBuffer
	done   chan struct{}
	err    error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs the program with args; env are more variables.
func start(t *testing.T, env []string, args ...string) *run {
	t.Helper()
	r, err := begin(t, exec.Command(program, args...), env)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// begin starts cmd, which is the program or becomes it, and ends it with the test.
func begin(t *testing.T, cmd *exec.Cmd, env []string) (*run, error) {
	t.Helper()
	r := &run{t: t, cmd: cmd, done: make(chan struct{})}
	// What is collected beside an image takes the emulated guests seconds each time: a few tests ask for it.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "SHOTGLASS_COLLECT=none"}, env...)
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		r.err = cmd.Wait()
		close(r.done)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-r.done
		if t.Failed() {
			t.Logf("shotglass %s\nstdout:\n%s\nstderr:\n%s", strings.Join(cmd.Args[1:], " "), r.stdout.String(), r.stderr.String())
		}
	})
	return r, nil
}

// code waits for the program's end and returns its exit code.
func (r *run) code(limit time.Duration) int {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(limit):
		r.t.Fatalf("the program still runs after %s", limit)
	}
	var exit *exec.ExitError
	if errors.As(r.err, &exit) {
		return exit.ExitCode()
	} else if r.err != nil {
		r.t.Fatal(r.err)
	}
	return 0
}

// want fails unless the program ends with code, saying all of says on stderr.
func (r *run) want(code int, limit time.Duration, says ...string) {
	r.t.Helper()
	if got := r.code(limit); got != code {
		r.t.Fatalf("exit code %d, want %d\nstderr:\n%s", got, code, r.stderr.String())
	}
	for _, s := range says {
		if !strings.Contains(r.stderr.String(), s) {
			r.t.Errorf("stderr does not say %q:\n%s", s, r.stderr.String())
		}
	}
}

// streaming waits until some of the image is on disk, and returns its file.
func (r *rig) streaming(p *run) string {
	r.t.Helper()
	var file string
	r.eventually(3*time.Minute, "the image begins to grow", func() bool {
		select {
		case <-p.done:
			r.t.Fatalf("the program ended before the image began to grow: %s", p.stderr.String())
		default:
		}
		files, _ := filepath.Glob(filepath.Join(r.dir, "*.partial"))
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.Size() > 3<<20 {
				file = f
				return true
			}
		}
		return false
	})
	return file
}

func (r *rig) eventually(limit time.Duration, what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// ssh runs a script on the guest as root.
func (r *rig) ssh(script string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := r.guest.SSH(ctx, "root", script)
	if err != nil {
		r.t.Fatalf("on the guest: %v: %s", err, out)
	}
	return out
}

// traces lists what a capture may leave: the module, files, processes.
const traces = `grep '^lime ' /proc/modules
find / -xdev \( -name '.sg-*' -o -name 'lime*.ko' \) 2>/dev/null
find /dev/shm /run /tmp -name '.sg-*' -o -name 'lime*.ko' 2>/dev/null
{ ps -eo args= || echo sudo: no ps here; } | grep -E '^(insmod|/bin/sh -c while IFS|sudo)'
true`

// clean fails unless the guest is without traces within limit.
func (r *rig) clean(limit time.Duration) {
	r.t.Helper()
	var left string
	defer func() {
		if r.t.Failed() {
			r.t.Logf("on the guest:\n%s", left)
		}
	}()
	r.eventually(limit, "the target is clean", func() bool {
		left = r.ssh(traces)
		return strings.TrimSpace(left) == ""
	})
}

// manifest reads the one manifest of the evidence folder.
func (r *rig) manifest() *acquire.Manifest {
	r.t.Helper()
	files, _ := filepath.Glob(filepath.Join(r.dir, "*.json"))
	if len(files) != 1 {
		r.t.Fatalf("%d manifests: %v, folder holds %v", len(files), files, r.files())
	}
	return readManifest(r.t, files[0])
}

func readManifest(t *testing.T, file string) *acquire.Manifest {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := acquire.ParseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// files lists what lies in the evidence folder, but for the audit logs of the runs.
func (r *rig) files() []string {
	var names []string
	entries, _ := os.ReadDir(r.dir)
	for _, e := range entries {
		if !strings.Contains(e.Name(), "-audit.jsonl") {
			names = append(names, e.Name())
		}
	}
	return names
}

// partial checks that the evidence is one partial image with a manifest that
// says so, and that verify finds it intact: exit 3.
func (r *rig) partial() *acquire.Manifest {
	r.t.Helper()
	m := r.manifest()
	if m.Complete || !m.Image.Partial || len(m.Reasons) == 0 {
		r.t.Fatalf("complete %t, partial %t, reasons %q", m.Complete, m.Image.Partial, m.Reasons)
	}
	if !strings.HasSuffix(m.Image.Location, ".partial") {
		r.t.Errorf("location %s", m.Image.Location)
	}
	start(r.t, nil, "verify", "--signers", r.signers(), m.Image.Location).want(3, time.Minute)
	return m
}
