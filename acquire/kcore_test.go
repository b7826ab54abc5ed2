//go:build unix

package acquire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// A fakeKcore is a target whose /proc/kcore is a sparse file. Its scripts are run by a real
// shell with a real dd, over a real SSH connection; facts and /proc/iomem are made up.
type fakeKcore struct {
	t      *testing.T
	server *transporttest.Server
	dir    string
	shell  []string // default /bin/sh
	dd     string   // shell code before each script: defines dd, if at all
	facts  func(string) string
	exec   func(script string) // called before each script
	stdout func(script string, w io.Writer) io.Writer

	image []byte // what a capture should give
	boot  string

	mu      sync.Mutex
	scripts map[string]int // how often each ran
}

// fakeOffset is where the direct map begins in the file, and fakeVirtual its address.
const (
	fakeOffset  = 1 << 33
	fakeVirtual = 0xffff888000000000
)

// newKcore makes a target with some MiB of RAM, in ranges with odd ends.
func newKcore(t *testing.T) *fakeKcore {
	f := &fakeKcore{t: t, dir: t.TempDir(), shell: []string{"/bin/sh"}, scripts: map[string]int{}}
	ram := []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0x17fffff}, {Start: 1 << 32, End: 1<<32 + 0x4807ff}}
	facts, err := parseFacts([]byte(debian12(t)), testNonce)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(f.path("kcore"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var iomem strings.Builder
	var img bytes.Buffer
	rnd := rand.NewChaCha8([32]byte{1})
	w := lime.NewWriter(&img)
	le := binary.LittleEndian
	segs := [][4]uint64{{0x7fff81000000, 0xffffffff81000000, 0x200000, 0x100000}, {0x7fffc0000000, 0xffffc90000000000, ^uint64(0), 1 << 40}}
	for _, r := range ram {
		fmt.Fprintf(&iomem, "%08x-%08x : System RAM\n", r.Start, r.End)
		data := make([]byte, r.Size())
		s, e := (r.Start+page-1)/page*page, (r.End+1)/page*page
		for a := s; a < e; a += page {
			if a/page%4 != 1 { // every fourth page is zero
				rnd.Read(data[a-r.Start : a-r.Start+page])
			}
		}
		if r.Start == 0x100000 {
			copy(data[0x200010:], facts.Version+"\x00")
		}
		if _, err := file.WriteAt(data[s-r.Start:e-r.Start], int64(fakeOffset+s)); err != nil {
			t.Fatal(err)
		}
		segs = append(segs, [4]uint64{fakeOffset + s, fakeVirtual + s, s, e - s})
		if err := w.Begin(r); err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	f.image = img.Bytes()
	head := make([]byte, 64+56*len(segs))
	copy(head, "\x7fELF\x02\x01\x01")
	le.PutUint16(head[16:], 4)
	le.PutUint64(head[32:], 64)
	le.PutUint16(head[54:], 56)
	le.PutUint16(head[56:], uint16(len(segs)))
	for i, s := range segs {
		p := head[64+56*i:]
		le.PutUint32(p, 1)
		le.PutUint64(p[8:], s[0])
		le.PutUint64(p[16:], s[1])
		le.PutUint64(p[24:], s[2])
		le.PutUint64(p[32:], s[3])
	}
	if _, err := file.WriteAt(head, 0); err != nil {
		t.Fatal(err)
	}
	f.write("iomem", iomem.String())
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip("no /proc")
	}
	f.boot = string(boot)
	f.server = (&transporttest.Server{Exec: f.run}).Start(t)
	return f
}

func (f *fakeKcore) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fakeKcore) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeKcore) read(name string) string {
	b, err := os.ReadFile(f.path(name))
	if err != nil {
		f.t.Error(err)
	}
	return string(b)
}

// nameOf tells the scripts apart.
func nameOf(script string) string {
	for name, sign := range map[string]string{"facts": "s uid; id -u", "sample": "cksum", "look": "patience", "read": "ready %s"} {
		if strings.Contains(script, sign) && (name != "sample" || !strings.Contains(script, "s uid")) {
			return name
		}
	}
	return "?"
}

// run plays sshd: it runs the scripts with our files in place of those of /proc.
func (f *fakeKcore) run(cmd string, stdin io.Reader, stdout, stderr io.Writer) int {
	if strings.Contains(cmd, "id -u") {
		words := strings.Fields(cmd)
		fmt.Fprintf(stdout, "welcome!\n\n@%s 0 %d.000000000\n", strings.Trim(words[len(words)-1], "'"), time.Now().Unix())
		return 0
	}
	m := bootLine.FindStringSubmatch(strings.TrimSpace(cmd))
	if m == nil {
		f.t.Errorf("unknown command %q", cmd)
		return 1
	}
	in := bufio.NewReader(stdin)
	nonce, err := in.ReadString('\n')
	n, _ := strconv.Atoi(m[2])
	body := make([]byte, n)
	if _, rerr := io.ReadFull(in, body); err != nil || rerr != nil {
		return 1
	}
	script := string(body)
	name := nameOf(script)
	f.mu.Lock()
	f.scripts[name]++
	f.mu.Unlock()
	if name == "facts" {
		_, args, _ := strings.Cut(script, "set -- '")
		return f.sayFacts(args[:len(testNonce)], stdout)
	}
	if f.exec != nil {
		f.exec(name)
	}
	if f.stdout != nil {
		stdout = f.stdout(name, stdout)
	}
	script = f.dd + "\n" + strings.NewReplacer("/proc/kcore", f.path("kcore"), "/proc/iomem", f.path("iomem")).Replace(script)
	argv := append(f.shell, "-c", boot, "shotglass", m[1], strconv.Itoa(len(script)))
	c := exec.Command(argv[0], argv[1:]...)
	w, err := c.StdinPipe()
	if err != nil {
		f.t.Error(err)
		return 1
	}
	go func() { // ends with stdin; sshd does not wait for that either
		io.Copy(w, io.MultiReader(strings.NewReader(nonce+script), in))
		w.Close()
	}()
	c.Stdout, c.Stderr = stdout, stderr
	if err := c.Run(); err != nil && c.ProcessState == nil {
		f.t.Errorf("%q: %v", argv[0], err)
	}
	return c.ProcessState.ExitCode()
}

func (f *fakeKcore) sayFacts(nonce string, stdout io.Writer) int {
	head := make([]byte, 4*page)
	file, err := os.Open(f.path("kcore"))
	if err != nil {
		f.t.Error(err)
		return 1
	}
	defer file.Close()
	file.ReadAt(head, 0)
	text := replaceSection(debian12(f.t), "iomem", f.read("iomem"))
	text = replaceSection(text, "boot_id", f.boot)
	text = replaceSection(text, "kcore", hex.EncodeToString(head)+"\n")
	text = replaceSection(text, "banner_address", fmt.Sprintf("%x D linux_banner\n", uint64(fakeVirtual+0x300010)))
	text = replaceSection(text, "tools", "cat insmod rmmod sha256sum dd grep od cksum mkdir sleep \n")
	if f.facts != nil {
		text = f.facts(text)
	}
	io.WriteString(stdout, strings.ReplaceAll(text, testNonce, nonce))
	return 0
}

// capture plans and runs with the method kcore; edit changes the options.
func (f *fakeKcore) capture(ctx context.Context, dir string, edit func(*Options)) Result {
	f.t.Helper()
	o := (&fakeTarget{t: f.t}).options(dir)
	o.Method, o.Compression = MethodKcore, "none"
	if edit != nil {
		edit(&o)
	}
	t := f.server.Target()
	t.Name = "fake"
	return runJobs(ctx, f.t, o, Job{Target: t})[0]
}

// complete fails unless the image is complete and exactly the memory.
func (f *fakeKcore) complete(dir string, res Result) *Manifest {
	f.t.Helper()
	if res.State != StateComplete || res.Err != nil {
		f.t.Fatalf("%+v", res)
	}
	m := manifestIn(f.t, dir)
	f.same(m, f.image)
	if !m.Complete || !m.Footprint.Clean || m.Footprint.BytesPushed != 0 || m.Module != nil {
		f.t.Errorf("complete %t, footprint %+v", m.Complete, m.Footprint)
	}
	return m
}

// same fails unless the stored image is want.
func (f *fakeKcore) same(m *Manifest, want []byte) {
	f.t.Helper()
	got, err := os.ReadFile(m.Image.Location)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(got) != len(want) {
		f.t.Fatalf("image of %d bytes, want %d", len(got), len(want))
	}
	if !bytes.Equal(got, want) {
		at := 0
		for got[at] == want[at] {
			at++
		}
		f.t.Fatalf("the image differs from memory at %d", at)
	}
}

// noBytes makes a dd that knows no flags; offsets are sought for by another dd.
const noBytes = `dd() { case "$*" in *skip_bytes*) echo "dd: unknown flag" >&2; return 1 ;; esac; command dd "$@"; }`

func TestKcoreComplete(t *testing.T) {
	t.Parallel()
	const busyboxGrep = `; grep() { busybox grep "$@"; }`
	busybox := `dd() { busybox dd "$@"; }` + busyboxGrep
	for _, tt := range []struct {
		name  string
		shell []string
		dd    string
		needs string
	}{
		{"sh, coreutils", []string{"/bin/sh"}, "", ""},
		{"dash, coreutils before 8.16", []string{"dash"}, noBytes, "dash"},
		{"bash, coreutils before 8.16", []string{"bash"}, noBytes, "bash"},
		{"busybox", []string{"busybox", "sh"}, busybox, "busybox"},
		{"busybox without flags", []string{"busybox", "sh"}, strings.ReplaceAll(noBytes, "command dd", "busybox dd") + busyboxGrep, "busybox"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(tt.shell[0]); err != nil {
				t.Skip(err)
			}
			noLeak(t)
			f := newKcore(t)
			f.shell, f.dd = tt.shell, tt.dd
			dir := t.TempDir()
			m := f.complete(dir, f.capture(t.Context(), dir, func(o *Options) { o.Connections = 3 }))
			if f.server.Seen() != 3 || m.Footprint.Logins != 3 || m.Method.Kcore.Connections.Most != 3 || f.scripts["read"] != 3 {
				t.Errorf("%d connections seen, method %+v, footprint %+v", f.server.Seen(), m.Method.Kcore, m.Footprint)
			}
			for _, c := range m.Checks {
				if c.Result != Pass {
					t.Errorf("check %s: %s: %s", c.Name, c.Result, c.Detail)
				}
			}
			if len(m.Reads) != 2 || m.Duration == 0 || m.Unreadable == nil || m.Unreadable.Pages != 0 {
				t.Errorf("reads %+v, duration %s, unreadable %+v", m.Reads, m.Duration, m.Unreadable)
			}
		})
	}
}

// badPages makes a dd that cannot read some pages, as a kernel that answers EFAULT.
func badPages(f *fakeKcore, words string, pages ...uint64) string {
	var list []string
	for _, p := range pages {
		list = append(list, strconv.FormatUint(fakeOffset+p, 10))
	}
	return fmt.Sprintf(`dd() {
	k=0 z=0
	for a; do case $a in skip=*) k=${a#skip=} ;; bs=*) z=${a#bs=} ;; esac; done
	case "$*" in *iflag=skip_bytes*%s*|*%s*iflag=skip_bytes*)
		for p in %s; do
			if [ "$p" -ge "$k" ] && [ "$p" -lt $((k + z)) ]; then %s; fi
		done ;;
	esac
	command dd "$@"
}`, f.path("kcore"), f.path("kcore"), strings.Join(list, " "), words)
}

// What dd of coreutils and of busybox say of a read error.
const (
	gnuError = `echo "dd: error reading: Bad address
0+0 records in
0+0 records out" >&2; return 1`
	busyboxError = `echo "dd: Bad address" >&2; return 1`
)

func TestKcoreUnreadable(t *testing.T) {
	t.Parallel()
	bad := []uint64{0x1000, 0x345000, 0x346000, 0x17ff000, 1<<32 + 0x47f000}
	for _, words := range []string{gnuError, busyboxError} {
		for _, accept := range []int64{0, 4, 5} {
			t.Run(fmt.Sprint(accept), func(t *testing.T) {
				t.Parallel()
				noLeak(t)
				f := newKcore(t)
				f.dd = badPages(f, words, bad...)
				dir := t.TempDir()
				res := f.capture(t.Context(), dir, func(o *Options) { o.AcceptUnreadable = accept; o.Connections = 2 })
				want := StatePartial
				if accept >= 5 {
					want = StateComplete
				}
				m := manifestIn(t, dir)
				if res.State != want || m.Complete != (want == StateComplete) {
					t.Fatalf("%s, complete %t: %v", res.State, m.Complete, res.Err)
				}
				if want == StatePartial && (len(m.Reasons) != 1 || !strings.HasPrefix(m.Reasons[0], "read: 5 pages could not be read")) {
					t.Errorf("reasons %q", m.Reasons)
				}
				u := m.Unreadable
				if u.Pages != 5 || u.Accepted != accept || len(u.Ranges) != 4 || u.Ranges[1] != (lime.Range{Start: 0x345000, End: 0x346fff}) {
					t.Errorf("unreadable %+v", u)
				}
				image := bytes.Clone(f.image)
				for _, p := range bad {
					at := f.offset(p)
					clear(image[at : at+page])
				}
				f.same(m, image)
			})
		}
	}
}

// offset is where a physical address lies in the image.
func (f *fakeKcore) offset(phys uint64) int64 {
	rep, err := lime.Inspect(bytes.NewReader(f.image), lime.WalkerOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, r := range rep.Ranges {
		if phys >= r.Range.Start && phys <= r.Range.End {
			return r.Offset + lime.HeaderSize + int64(phys-r.Range.Start)
		}
	}
	f.t.Fatalf("0x%x is no RAM", phys)
	return 0
}

// TestKcoreLies: what a hostile target, or a broken dd, sends is counted. Nothing that is too
// long, too short or out of step gets into an image that is called complete.
func TestKcoreLies(t *testing.T) {
	t.Parallel()
	victim := uint64(0x500000)
	for _, tt := range []struct {
		name, words string
		reason      string
	}{
		{"too many bytes", `command dd "$@" 2>/dev/null; printf x; printf '1+0 records in\n1+0 records out\n' >&2; return 0`, "more or less than was asked for"},
		{"too few bytes", `command dd "$@" 2>/dev/null | head -c 1000; printf '1+0 records in\n1+0 records out\n' >&2; return 0`, "could not be read in 6 tries"},
		{"a short read", `printf 'dd: warning\n0+1 records in\n0+1 records out\n' >&2; printf abc; return 0`, "0+1 records in"},
		{"killed", `printf abc; return 137`, "could not be read in 6 tries"},
		{"closed meanwhile", `echo "dd: failed to open: Operation not permitted" >&2; return 1`, "not permitted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newKcore(t)
			f.dd = badPages(f, tt.words, victim)
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) { o.Connections, o.StallTimeout, o.testOnlyQuiet = 2, 30*time.Second, 2*time.Second })
			if res.State != StatePartial || !strings.Contains(fmt.Sprint(res.Err), tt.reason) {
				t.Fatalf("%s: %v", res.State, res.Err)
			}
			m := manifestIn(t, dir)
			if m.Complete || !m.Footprint.Clean {
				t.Errorf("complete %t, footprint %+v", m.Complete, m.Footprint)
			}
			// What was stored is the start of memory, all the same.
			f.same(m, f.image[:m.Image.Raw.Bytes])
			if m.Image.Raw.Bytes == 0 || m.Image.Raw.Bytes > f.offset(victim) {
				t.Errorf("%d bytes stored, the fault is at %d", m.Image.Raw.Bytes, f.offset(victim))
			}
		})
	}
}

// A cutter breaks the connections when some of the image has passed.
type cutter struct {
	io.Writer
	left *atomic.Int64
	cut  func()
}

func (c *cutter) Write(p []byte) (int, error) {
	if n := c.left.Add(-int64(len(p))); n < 0 && n+int64(len(p)) >= 0 {
		c.cut()
	}
	return c.Writer.Write(p)
}

// TestKcoreConnectionsLost: connections die in the middle of pieces, more than once. All is
// read again, and the image is whole.
func TestKcoreConnectionsLost(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	cuts := 0
	var left atomic.Int64
	left.Store(5 << 20)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, func() {
			if cuts++; cuts < 4 {
				left.Store(6 << 20)
				go f.server.Kill()
			}
		}}
	}
	dir := t.TempDir()
	m := f.complete(dir, f.capture(t.Context(), dir, func(o *Options) { o.Connections = 3 }))
	if s := m.Method.Kcore.Connections; s.Lost < 3 || s.Again == 0 {
		t.Errorf("connections %+v", s)
	}
	if s := m.Method.Kcore.Connections; int64(m.Footprint.Logins) < int64(s.Made) {
		t.Errorf("%d logins, %+v", m.Footprint.Logins, s)
	}
}

// TestKcoreGone: the target never comes back. What had come in order is kept, and the user is
// told what could not be checked.
func TestKcoreGone(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	var left atomic.Int64
	left.Store(12 << 20)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, func() { go f.server.Close() }}
	}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) {
		o.Connections, o.StallTimeout, o.CleanupTimeout = 2, 3*time.Second, 3*time.Second
	})
	if res.State != StatePartial || len(res.Left) != 1 || !strings.Contains(res.Left[0], "not checked") {
		t.Fatalf("%+v", res)
	}
	f.same(manifestIn(t, dir), f.image[:res.Image.Raw.Bytes])
}

// TestKcoreStall: the link stands still; the capture gives up, and no later.
func TestKcoreStall(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	var left atomic.Int64
	left.Store(12 << 20)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, f.server.Stall}
	}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) {
		o.Connections, o.StallTimeout, o.CleanupTimeout = 2, 3*time.Second, 3*time.Second
	})
	if res.State != StatePartial || !strings.Contains(fmt.Sprint(res.Err), "no byte came for") || res.Duration > 20*time.Second {
		t.Fatalf("after %s: %+v", res.Duration, res)
	}
}

// TestKcoreChanges: what the capture rests on changes, before it or during it.
func TestKcoreChanges(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		when   string // script before whose nth run it changes
		nth    int
		change func(f *fakeKcore)
		state  State
		reason string
	}{
		{"memory added before", "look", 1, func(f *fakeKcore) { f.write("iomem", f.read("iomem")+"200000000-20000ffff : System RAM\n") }, StateFailed, "since the plan"},
		{"segments moved before", "look", 1, func(f *fakeKcore) { f.patch(64+8, 0xff) }, StateFailed, "since the plan"},
		{"memory added during", "look", 2, func(f *fakeKcore) { f.write("iomem", f.read("iomem")+"200000000-20000ffff : System RAM\n") }, StatePartial, "layout: "},
		{"segments moved during", "look", 2, func(f *fakeKcore) { f.patch(64+8, 0xff) }, StatePartial, "layout: "},
		{"rebooted before", "read", 1, func(f *fakeKcore) {}, StateFailed, "rebooted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newKcore(t)
			n := 0
			f.exec = func(name string) {
				if name == tt.when {
					if n++; n == tt.nth {
						tt.change(f)
					}
				}
			}
			if tt.reason == "rebooted" {
				f.boot = "11111111-2222-3333-4444-555555555555\n"
			}
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, nil)
			if res.State != tt.state || !strings.Contains(fmt.Sprint(res.Err), tt.reason) {
				t.Errorf("%s: %v", res.State, res.Err)
			}
		})
	}
}

// patch changes a byte of the file.
func (f *fakeKcore) patch(at int64, x byte) {
	file, err := os.OpenFile(f.path("kcore"), os.O_RDWR, 0)
	if err != nil {
		f.t.Error(err)
		return
	}
	defer file.Close()
	b := []byte{0}
	file.ReadAt(b, at)
	b[0] ^= x
	file.WriteAt(b, at)
}

// TestKcoreRefused: each reason has its name, and nothing is touched.
func TestKcoreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		section, body, says string
	}{
		"lockdown":   {"lockdown", "none integrity [confidentiality]\n", "confidentiality"},
		"container":  {"container", "docker\n", "container"},
		"missing":    {"kcore_denied", "missing\n", "CONFIG_PROC_KCORE"},
		"denied":     {"kcore_denied", "sh: cannot open /proc/kcore: Operation not permitted\n", "Operation not permitted"},
		"unreadable": {"kcore", "", "could not be read"},
		"not ELF":    {"kcore", strings.Repeat("00", 4096) + "\n", "not an ELF file"},
		"more RAM":   {"iomem", "00001000-0009fbff : System RAM\n00100000-17fffffff : System RAM\n", "no segment holds"},
		"no dd":      {"tools", "cat grep od sleep\n", "no dd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newKcore(t)
			f.facts = func(s string) string {
				if !strings.Contains(s, " kcore_denied\n") {
					s = strings.Replace(s, "\n@@"+testNonce+" end\n", "\n@@"+testNonce+" kcore_denied\n\n@@"+testNonce+" end\n", 1)
				}
				return replaceSection(s, tt.section, tt.body)
			}
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, nil)
			if res.State != StateFailed || !strings.Contains(fmt.Sprint(res.Err), tt.says) {
				t.Errorf("%s: %v", res.State, res.Err)
			}
			if e, _ := os.ReadDir(dir); len(e) != 0 || f.scripts["read"]+f.scripts["look"] != 0 {
				t.Errorf("left %v, scripts %v", e, f.scripts)
			}
		})
	}
}

// TestKcoreInterrupted: the processes on the target end when nobody wants them any more.
func TestKcoreInterrupted(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	var left atomic.Int64
	left.Store(12 << 20)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, func() { cancel(io.ErrClosedPipe) }}
	}
	dir := t.TempDir()
	res := f.capture(ctx, dir, func(o *Options) { o.Connections = 2 })
	if res.State != StatePartial || !res.Interrupted || len(res.Left) != 0 {
		t.Fatalf("%+v", res)
	}
	if m := manifestIn(t, dir); !m.Footprint.Clean {
		t.Errorf("footprint %+v", m.Footprint)
	}
}

// both is a target of which one fake plays LiME's agent and what is installed, and the other all else.
func both(l *fakeTarget, k *fakeKcore) func(string, io.Reader, io.Writer, io.Writer) int {
	return func(cmd string, stdin io.Reader, stdout, stderr io.Writer) int {
		if bootLine.MatchString(strings.TrimSpace(cmd)) {
			var head bytes.Buffer
			in := bufio.NewReader(stdin)
			nonce, _ := in.ReadString('\n')
			n, _ := strconv.Atoi(bootLine.FindStringSubmatch(strings.TrimSpace(cmd))[2])
			head.WriteString(nonce)
			io.CopyN(&head, in, int64(n))
			agent := (strings.Contains(head.String(), "insmod") || strings.Contains(head.String(), `wc -c <"$2"`)) && nameOf(head.String()) == "?"
			stdin = io.MultiReader(&head, in)
			if agent {
				return l.exec(cmd, stdin, stdout, stderr)
			}
		}
		return k.run(cmd, stdin, stdout, stderr)
	}
}
