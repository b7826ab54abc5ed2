//go:build unix

package acquire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/wire"
)

// shell runs a script here.
func shell(script string, in io.Reader, stdout, stderr io.Writer) int {
	c := exec.Command("/bin/sh", "-c", script)
	c.Stdout, c.Stderr = stdout, stderr
	w, err := c.StdinPipe()
	if err != nil {
		return 1
	}
	go func() { // ends with stdin; sshd does not wait for that either
		io.Copy(w, in)
		w.Close()
	}()
	c.Run()
	return c.ProcessState.ExitCode()
}

// limeZip runs limezip.sh here; LiME's port is one of this machine's.
func (f *fakeTarget) limeZip(args []string, script string, in io.Reader, stdout, stderr io.Writer) int {
	l, err := net.Listen("tcp4", "127.0.0.1:"+args[1])
	if err != nil {
		f.t.Error(err)
		return 1
	}
	defer l.Close()
	f.mu.Lock()
	f.piped = true
	f.mu.Unlock()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		serve := f.serve
		if serve == nil {
			serve = func(c net.Conn, image []byte) { c.Write(image) }
		}
		serve(c, f.image)
	}()
	return shell(f.zipShell+script, in, stdout, stderr)
}

// limeLook runs limelook.sh here, as sshd does: what it looks for is not in its command line.
func (f *fakeTarget) limeLook(nonce, script string, stdout, stderr io.Writer) int {
	script = f.lookZip + script
	c := exec.Command("/bin/sh", "-c", boot, "shotglass", nonce, strconv.Itoa(len(script)))
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(nonce+"\n"+script), stdout, stderr
	c.Run()
	return c.ProcessState.ExitCode()
}

// clientOf is the inode of the socket that is connected to a port of this machine; 0: none is.
func clientOf(t *testing.T, port int) int {
	data, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Skip("no /proc")
	}
	for line := range strings.Lines(string(data)) {
		if s, ok := parseSocket(line); ok && s.remotePort == port && s.state != tcpListen && s.inode != 0 {
			return int(s.inode)
		}
	}
	return 0
}

// TestLimeZip: LiME's stream comes through each compressor, read by what the target has, and is the
// same image.
func TestLimeZip(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ tool, way, shell string }{
		{wire.Zstd, "bash", ""},
		{wire.Lz4, "bash", ""},
		{wire.Gzip, "bash", ""},
		{wire.Zstd, "busybox", "bash() { return 1; }; nc() { return 1; }; command() { case $2 in nc | ncat | socat) return 1 ;; esac; }\n"},
	} {
		t.Run(tt.tool+" "+tt.way, func(t *testing.T) {
			t.Parallel()
			for _, p := range []string{tt.tool, tt.way} {
				if _, err := exec.LookPath(p); err != nil {
					t.Skip(err)
				}
			}
			noLeak(t)
			f := newFake(t)
			f.zipShell = tt.shell
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) { o.CompressOnTarget, o.Compression = tt.tool, "none" })
			if res.State != StateComplete {
				t.Fatalf("%+v", res)
			}
			m := manifestIn(t, dir)
			if got, err := os.ReadFile(m.Image.Location); err != nil || !bytes.Equal(got, f.image) {
				t.Errorf("the image is not what LiME sent: %v", err)
			}
			w := m.Method.Wire
			if w == nil || w.Command != wire.Command(tt.tool) || w.Through != tt.way || w.Raw != int64(len(f.image)) || w.Wire == 0 || w.Wire > w.Raw/2 || w.Processes == 0 {
				t.Errorf("compressed on target: %+v", w)
			}
			if b := m.Method.Buffered; b < int64(len(f.image)) || b > int64(len(f.image))+64<<20 { // all of so small an image fits
				t.Errorf("buffered %d", b)
			}
			if p := m.Method.Peer; p == nil || !p.Verified || !strings.Contains(p.Detail, tt.way) {
				t.Errorf("peer %+v", p)
			}
			f.clean()
		})
	}
}

// TestLimeZipFaults: what goes wrong on the target is named, and never a short image that is
// called complete.
func TestLimeZipFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, shell string
		serve       func(c net.Conn, image []byte)
		says        string
	}{
		{"the compressor fails", "zstd() { [ -t 0 ] || head -c 100000 >/dev/null; echo no memory left >&2; return 7; }\n", nil, "no memory left"},
		{"the compressor is killed", "zstd() { command zstd -q -1 -c - | head -c 2000; kill -KILL $$; }\n", nil, "zstd on the target"},
		{"what it sends is cut", "zstd() { command zstd -q -1 -c - | head -c 2000; }\n", nil, "unexpected EOF"},
		{"a bomb", "zstd() { head -c 100000000 /dev/zero | command zstd -q -1 -c -; }\n", nil, "more than was asked for"},
		{"more after it", "zstd() { command zstd -q -1 -c -; echo x | command zstd -q -1 -c -; }\n", nil, "more than was asked for"},
		{"LiME ends early", "", func(c net.Conn, image []byte) { c.Write(image[:len(image)/2]) }, "cut short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("zstd"); err != nil {
				t.Skip(err)
			}
			noLeak(t)
			f := newFake(t)
			f.serve = tt.serve
			// The plan's look at the compressor is a good one.
			f.zipShell = strings.ReplaceAll(tt.shell, "zstd() {", "zstd() { case $way in '') command zstd \"$@\"; return ;; esac;")
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) { o.CompressOnTarget = wire.Zstd })
			if res.State == StateComplete || !strings.Contains(fmt.Sprint(res.Err, res.Reasons), tt.says) {
				t.Errorf("%s: %v %q", res.State, res.Err, res.Reasons)
			}
			f.clean()
		})
	}
}

// TestLimeZipLeft: a compressor, or what it started, that outlives the stream is ended before the
// target is called clean; one that cannot be, or is not looked for, is told.
func TestLimeZipLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, look, left string
	}{
		{"ended", "", ""},
		{"it cannot be ended", "kill() { :; }\n", "which read LiME's port or compressed"},
		{"it cannot be looked for", "grep() { return 2; }\n", "not checked (the target cannot look for processes)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("zstd"); err != nil {
				t.Skip(err)
			}
			noLeak(t)
			f := newFake(t)
			pidFile := filepath.Join(t.TempDir(), "pid")
			f.lookZip = tt.look
			f.zipShell = "zstd() { case $way in '') command zstd \"$@\"; return ;; esac; sleep 600 </dev/null >/dev/null 2>&1 & echo $! >" + pidFile + "; command zstd \"$@\"; }\n"
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) { o.CompressOnTarget, o.CleanupTimeout = wire.Zstd, time.Minute })
			data, err := os.ReadFile(pidFile)
			pid, perr := strconv.Atoi(strings.TrimSpace(string(data)))
			if err != nil || perr != nil {
				t.Fatal(err, perr)
			}
			words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // of a zombie it is empty
			alive := len(words) > 0
			if alive {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			m := manifestIn(t, dir)
			if tt.left == "" {
				if alive || !m.Footprint.Clean {
					t.Errorf("it lives: %t; %+v", alive, m.Footprint)
				}
			} else if m.Footprint.Clean || !strings.Contains(strings.Join(m.Footprint.Left, ";"), tt.left) || m.Footprint.Fix == "" {
				t.Errorf("%+v", m.Footprint)
			}
			if tt.name == "it cannot be ended" && !strings.Contains(res.Fix, "kill -KILL "+strconv.Itoa(pid)) {
				t.Errorf("fix %q, pid %d", res.Fix, pid)
			}
		})
	}
}

// TestLimeZipForeign: LiME serves another than our reader. Not a byte of it is sent here, and it is
// told.
func TestLimeZipForeign(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newFake(t)
	f.foreign = true
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) { o.CompressOnTarget = wire.Gzip })
	if _, ok := errors.AsType[*errDisclosed](res.Err); !ok || res.State != StateFailed {
		t.Fatalf("%+v", res)
	}
	f.onRecord(dir, "not our SSH server")
	f.clean()
}

// TestNoZip: what the target does not have is told, and its memory comes as it is.
func TestNoZip(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, ask, shell, warns, tool string }{
		{"nobody asked", "", "", "", ""},
		{"off", ZipOff, "", "", ""},
		{"it has none", ZipAuto, "zstd() { return 127; }; lz4() { return 127; }; gzip() { return 127; }\n", "none of zstd, lz4, gzip", ""},
		{"it lacks this one", wire.Zstd, "zstd() { return 127; }\n", "none of zstd", ""},
		{"nothing reads a port", ZipAuto, "bash() { return 1; }; busybox() { return 1; }; command() { return 1; }\n", "nothing on the target can read LiME's port", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newFake(t)
			f.zipShell = tt.shell
			o := f.options(t.TempDir())
			o.CompressOnTarget = tt.ask
			p, err := NewPlan(t.Context(), []Job{f.job("a")}, o)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			all := strings.Join(p.Steps[0].Warnings, "\n")
			if s := p.Steps[0]; s.Zip != "" || !strings.Contains(all, tt.warns) || tt.warns == "" && strings.Contains(all, "compressed") {
				t.Errorf("%q, warnings %q", s.Zip, s.Warnings)
			}
			if res := p.Run(t.Context())[0]; res.State != StateComplete {
				t.Errorf("%+v", res)
			}
		})
	}
}

// TestKcoreZip: pieces come through each compressor, over shells and dds as targets have them, and
// are the same memory; pages that cannot be read are zeros as ever.
func TestKcoreZip(t *testing.T) {
	t.Parallel()
	for _, tool := range wire.Tools {
		for _, bad := range []bool{false, true} {
			t.Run(fmt.Sprint(tool, " ", bad), func(t *testing.T) {
				t.Parallel()
				if _, err := exec.LookPath(tool); err != nil {
					t.Skip(err)
				}
				noLeak(t)
				f := newKcore(t)
				image := bytes.Clone(f.image)
				if bad {
					f.dd = badPages(f, gnuError, 0x345000)
					clear(image[f.offset(0x345000):][:page])
				}
				dir := t.TempDir()
				res := f.capture(t.Context(), dir, func(o *Options) { o.CompressOnTarget, o.Connections, o.AcceptUnreadable = tool, 2, 1 })
				if res.State != StateComplete {
					t.Fatalf("%+v", res)
				}
				m := manifestIn(t, dir)
				f.same(m, image)
				w := m.Method.Wire
				if w == nil || w.Command != wire.Command(tool) || w.Raw < int64(len(image))-1<<20 || w.Wire == 0 || w.Wire >= w.Raw || w.Processes < 10 {
					t.Errorf("compressed on target: %+v", w)
				}
				if u := m.Unreadable; (u.Pages == 1) != bad {
					t.Errorf("unreadable %+v", u)
				}
			})
		}
	}
}

// TestKcoreZipLies: what a hostile target sends in place of a compressed piece ends the reading.
func TestKcoreZipLies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, zstd, says string }{
		{"a bomb", `head -c 100000000 /dev/zero | command zstd -q -1 -c -`, "more than was asked for"},
		{"less", `cat >/dev/null; echo less | command zstd -q -1 -c -`, "more or less than was asked for"},
		{"cut", `command zstd -q -1 -c - | head -c 1000`, "in 6 tries"},
		{"no zstd", `cat`, "zstd on the target"},
		{"it fails", `cat >/dev/null; echo no memory left >&2; return 3`, "no memory left"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("zstd"); err != nil {
				t.Skip(err)
			}
			noLeak(t)
			f := newKcore(t)
			f.dd = "zstd() { case $core in '') command zstd \"$@\"; return ;; esac; " + tt.zstd + "; }"
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) {
				o.CompressOnTarget, o.Connections, o.StallTimeout, o.testOnlyQuiet = wire.Zstd, 2, 30*time.Second, 2*time.Second
			})
			if res.State == StateComplete || !strings.Contains(fmt.Sprint(res.Err), tt.says) {
				t.Errorf("%s: %v", res.State, res.Err)
			}
		})
	}
}

// TestKcoreZipProgress: bytes that unpack to nothing are no progress, however many come.
func TestKcoreZipProgress(t *testing.T) {
	l := &kcoreLane{st: &kcoreStream{zip: wire.Gzip, src: &kcoreSource{piece: 1 << 20}}}
	l.wire.Store(1000)
	if n := l.Received(); n != 1000 {
		t.Errorf("%d bytes of a piece under way, want 1000", n)
	}
	l.wire.Store(2 << 20)
	was := l.Received()
	l.wire.Store(1 << 30)
	if n := l.Received(); n != was || n > 2<<20 {
		t.Errorf("%d bytes, then %d", was, n)
	}
}

// TestLimeZipBuffered: what may lie on the way is what the densest stretch of the wire unpacks to.
func TestLimeZipBuffered(t *testing.T) {
	p := &limePipe{}
	for i := range 100 { // 1 MiB of wire is 3 MiB of memory, but once 50
		raw := int64(i+1) * 3 << 20
		if i >= 40 {
			raw += 47 << 20
		}
		p.marks = append(p.marks, raw)
		p.raw.Store(raw)
	}
	if got, want := p.buffered(), int64(5*3+47+4)<<20; got != want {
		t.Errorf("%d MiB, want %d", got>>20, want>>20)
	}
}
