//go:build unix

package acquire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// A fakeTarget answers shotglass's scripts as the lab's guest does, over a real
// SSH connection, and plays LiME. It is for faults that a real kernel does not
// produce on demand; the e2e tests hold it against the real thing.
type fakeTarget struct {
	t      *testing.T
	server *transporttest.Server
	ram    []lime.Range
	image  []byte            // what LiME sends
	files  map[string][]byte // what lies on it, installed modules

	// Faults.
	serve    func(c net.Conn, image []byte)        // nil: send the image, close
	insmod   func(try int) (code int, text string) // nil: it listens
	foreign  bool                                  // another client came first
	leave    bool                                  // the module cannot be unloaded
	early    bool                                  // LiME ends with 0 before we see it listen
	exit     int                                   // insmod's exit status after the stream
	mute     bool                                  // the agent dies without a last word
	pages    func(page uint64, look int) string    // checksum of a sampled page; nil: of the image
	tempered func(facts string) string
	short    int    // bytes by which files come short
	zipShell string // shell code before the scripts that compress
	lookZip  string // shell code before the one that looks for what compressed

	mu      sync.Mutex
	agents  int  // started
	cleaned int  // runs of clean.sh
	loaded  bool // LiME
	looks   int  // runs of sample.sh
	port    int
	piped   bool          // limezip.sh reads it
	used    chan struct{} // closed when LiME's client has gone
}

// newFake is a good target of two ranges, 4 MiB.
func newFake(t *testing.T) *fakeTarget {
	f := &fakeTarget{t: t, ram: []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0x4fffff}}}
	facts, err := parseFacts([]byte(debian12(t)), testNonce)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := lime.NewWriter(&b)
	for _, r := range f.ram {
		data := make([]byte, r.Size())
		for i := 0; i < len(data); i += page {
			if (i/page)%4 != 1 { // every fourth page is zero
				copy(data[i:], fmt.Sprintf("page %d of range %x", i/page, r.Start))
			}
		}
		if r.Start == 0x100000 {
			copy(data[0x200010:], facts.Version+"\x00")
		}
		if err := errors.Join(w.Begin(r), second(w.Write(data))); err != nil {
			t.Fatal(err)
		}
	}
	f.image = b.Bytes()
	f.server = (&transporttest.Server{Exec: f.exec, Dial: f.dial}).Start(t)
	return f
}

func second[T any](_ T, err error) error { return err }

var bootLine = regexp.MustCompile(`'?shotglass'? '?([0-9a-f]{16})'? '?([0-9]+)'?$`)

// exec plays the target's shell.
func (f *fakeTarget) exec(cmd string, stdin io.Reader, stdout, stderr io.Writer) int {
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
	if line, _ := in.ReadString('\n'); line != m[1]+"\n" {
		f.t.Errorf("nonce %q, want %q", line, m[1])
	}
	n, _ := strconv.Atoi(m[2])
	script := make([]byte, n)
	if _, err := io.ReadFull(in, script); err != nil {
		return 1
	}
	name, script2, _ := strings.Cut(string(script), "\n")
	if name != "BOOT='"+m[1]+"'" {
		f.t.Errorf("script begins with %q", name)
	}
	head, body, _ := strings.Cut(script2, "\n")
	args := strings.Fields(strings.ReplaceAll(strings.TrimPrefix(head, "set --"), "'", ""))
	switch {
	case strings.Contains(body, "s uid; id -u"):
		return f.facts(args[0], stdout)
	case strings.Contains(body, `wc -c <"$2"`):
		data, ok := f.files[args[1]]
		if !ok {
			fmt.Fprintf(stderr, "cannot open %s", args[1])
			return 1
		}
		fmt.Fprintf(stdout, "welcome!\n@%s %d\n", args[0], len(data))
		stdout.Write(data[:len(data)-f.short])
		return 0
	case strings.Contains(body, `| "$sum"`):
		return f.sample(args, stdout)
	case strings.Contains(body, "say compressor"):
		return f.limeZip(args, script2, in, stdout, stderr)
	case strings.Contains(body, "zip'"):
		return shell(f.zipShell+script2, in, stdout, stderr)
	case strings.Contains(body, "processes \"$mark\""):
		return f.limeLook(m[1], string(script), stdout, stderr)
	case strings.Contains(body, "insmod"):
		return f.agent(args, in, stdout, stderr)
	case strings.Contains(body, "patience"):
		f.mu.Lock()
		defer f.mu.Unlock()
		f.cleaned++
		if !f.leave {
			f.loaded = false
		}
		fmt.Fprintf(stdout, "@%s done module=%s dir=gone boot=x machine=5f7c5e7c0f0b4b0e9d0a5c1f2b3d4e5f tainted=4097 pids=\n", args[0], map[bool]string{true: "loaded", false: "gone"}[f.loaded])
		return 0
	}
	f.t.Errorf("unknown script %q", body)
	return 1
}

func (f *fakeTarget) facts(nonce string, stdout io.Writer) int {
	text := replaceSection(debian12(f.t), "iomem", "00001000-0009fbff : System RAM\n00100000-004fffff : System RAM\n")
	// The fixture's kcore and banner are another machine's: map the fake RAM directly.
	text = replaceSection(text, "kcore", "")
	if f.tempered != nil {
		text = f.tempered(text)
	}
	io.WriteString(stdout, strings.ReplaceAll(text, testNonce, nonce))
	return 0
}

func (f *fakeTarget) sample(args []string, stdout io.Writer) int {
	f.mu.Lock()
	f.looks++
	look := f.looks
	f.mu.Unlock()
	fmt.Fprintf(stdout, "\n@%s zero 999 4096\n", args[0])
	for _, a := range args[2:] {
		n, _ := strconv.ParseUint(a, 10, 64)
		fmt.Fprintf(stdout, "@%s %s %s 4096\n", args[0], a, f.pages(n, look))
	}
	fmt.Fprintf(stdout, "@%s end\n", args[0])
	return 0
}

func (f *fakeTarget) agent(args []string, in *bufio.Reader, stdout, stderr io.Writer) int {
	nonce, dir := args[0], args[1]
	say := func(format string, a ...any) { fmt.Fprintf(stdout, "@"+nonce+" "+format+"\n", a...) }
	size, _ := strconv.Atoi(args[2])
	port, _ := strconv.Atoi(args[4])
	say("dir %s", dir)
	if _, err := io.ReadFull(in, make([]byte, size)); err != nil {
		return 1
	}
	say("pushed %d", size)
	f.mu.Lock()
	f.agents++
	try := f.agents
	f.port, f.used = port, make(chan struct{})
	f.mu.Unlock()
	finish := func(rc int) int {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !f.leave {
			f.loaded = false
		}
		say("done insmod=%d module=%s dir=gone pids= tainted=4097", rc, map[bool]string{true: "loaded", false: "gone"}[f.loaded])
		return 0
	}
	if f.insmod != nil {
		if code, text := f.insmod(try); code != 0 {
			io.WriteString(stderr, text)
			say("insmod %d", code)
			io.Copy(io.Discard, in)
			return finish(code)
		}
	}
	if f.early {
		say("insmod 0")
		io.Copy(io.Discard, in)
		return finish(0)
	}
	f.mu.Lock()
	f.loaded = true
	f.mu.Unlock()
	say("param path=tcp:%d", port)
	say("param timeout=%s", args[7])
	say("listening %d", port)
	for {
		line, err := in.ReadString('\n')
		switch strings.TrimSpace(line) {
		case "check":
			owner := 100
			f.mu.Lock()
			piped := f.piped
			f.mu.Unlock()
			if piped {
				if owner = clientOf(f.t, port); owner == 0 {
					say("row 0: 0100007F:%04X 00000000:0000 0A 0:0 0:0 0 0 0 7 1", port)
					say("checked")
					continue
				}
				if f.foreign {
					owner++
				}
			}
			if f.foreign {
				owner = 200
			}
			say("row 0: 0100007F:%04X 00000000:0000 0A 0:0 0:0 0 0 0 7 1", port)
			say("row 1: 0100007F:%04X 0100007F:1388 01 0:0 0:0 0 0 0 9 1", port)
			say("row 2: 0100007F:1388 0100007F:%04X 01 0:0 0:0 0 1000 0 %d 1", port, owner)
			say("socket 77 socket:[100] sshd")
			say("checked")
			continue
		case "beat":
			continue
		}
		if err != nil && f.mute {
			f.mu.Lock()
			f.loaded = false
			f.mu.Unlock()
			return -1
		}
		break
	}
	if f.mute {
		return -1
	}
	say("insmod %d", f.exit)
	return finish(f.exit)
}

// dial plays LiME's port.
func (f *fakeTarget) dial(addr string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.loaded || addr != fmt.Sprintf("127.0.0.1:%d", f.port) {
		return nil, errors.New("connection refused")
	}
	a, b := net.Pipe()
	serve := f.serve
	if serve == nil {
		serve = func(c net.Conn, image []byte) { c.Write(image) }
	}
	go func() {
		defer b.Close()
		serve(b, f.image)
	}()
	return a, nil
}

// fakeModules is a store that has whatever is asked for.
type fakeModules struct{}

func (fakeModules) String() string { return "fake" }
func (fakeModules) Find(_ context.Context, k kernelmodules.Kernel) (*kernelmodules.Module, error) {
	return &kernelmodules.Module{Data: []byte("module"), Size: 6, Origin: "fake", SHA256: strings.Repeat("ab", 32), Name: "lime", Signature: kernelmodules.Pinned}, nil
}

// options are good ones, into a folder.
func (f *fakeTarget) options(dir string) Options {
	d, err := sink.NewDisk(dir)
	if err != nil {
		f.t.Fatal(err)
	}
	return Options{Dialer: transporttest.Dialer(f.t), Sink: d, Modules: fakeModules{}, CleanupTimeout: 10 * time.Second}
}

// job is this target under a name.
func (f *fakeTarget) job(name string) Job {
	t := f.server.Target()
	t.Name = name
	return Job{Target: t}
}

// capture plans and runs; edit changes the options.
func (f *fakeTarget) capture(ctx context.Context, dir string, edit func(*Options)) Result {
	f.t.Helper()
	o := f.options(dir)
	if edit != nil {
		edit(&o)
	}
	return runJobs(ctx, f.t, o, f.job("fake"))[0]
}

// runJobs plans and runs.
func runJobs(ctx context.Context, t *testing.T, o Options, jobs ...Job) []Result {
	t.Helper()
	p, err := NewPlan(ctx, jobs, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.Run(ctx)
}

// onRecord fails unless the folder holds a manifest without an image that gives the reason.
func (f *fakeTarget) onRecord(dir, reason string) {
	f.t.Helper()
	if m := manifestIn(f.t, dir); m.Complete || m.Image.Stored.Bytes != 0 || !strings.Contains(strings.Join(m.Reasons, ";"), reason) || m.Module == nil || len(m.Timeline) == 0 {
		f.t.Errorf("manifest %+v", m)
	}
	if e, _ := os.ReadDir(dir); len(e) != 1 {
		f.t.Errorf("left %v", e)
	}
}

// clean fails if the target still has the module.
func (f *fakeTarget) clean() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loaded {
		f.t.Error("LiME is still loaded")
	}
}

func manifestIn(t *testing.T, dir string) *Manifest {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	if len(files) != 1 {
		t.Fatalf("manifests: %v", files)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// noLeak fails the test if goroutines of it are left when everything else of it has ended. They
// are known by a label that goroutines inherit, so that other tests may run meanwhile. It must be
// called before any goroutine is started.
func noLeak(t *testing.T) {
	label := ownLabel()
	t.Cleanup(func() {
		n, dump := labelled(label)
		for end := time.Now().Add(5 * time.Second); n > 1 && time.Now().Before(end); n, dump = labelled(label) {
			time.Sleep(5 * time.Millisecond)
		}
		if n != 1 { // the test's own
			t.Errorf("%d goroutines of the test, want 1:\n%s", n, dump)
		}
	})
}

// ownLabel gives this goroutine, and those that it will start, a label.
func ownLabel() string {
	label := newNonce()
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("test", label)))
	return label
}

// labelled counts the goroutines with a label, and shows all.
func labelled(label string) (n int, dump string) {
	var b bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&b, 1)
	same := 0
	for line := range strings.Lines(b.String()) {
		if count, _, ok := strings.Cut(line, " @ "); ok {
			same, _ = strconv.Atoi(count)
		} else if strings.HasPrefix(line, "# labels: ") && strings.Contains(line, label) {
			n += same
		}
	}
	return n, b.String()
}

// TestNoLeak: a goroutine that is left is counted, also one that another started; those of
// other tests are not.
func TestNoLeak(t *testing.T) {
	stop, begun := make(chan struct{}), make(chan struct{})
	defer close(stop)
	go func() { <-stop }() // another's
	label := ownLabel()
	if n, dump := labelled(label); n != 1 {
		t.Errorf("%d goroutines, want 1:\n%s", n, dump)
	}
	go func() {
		go func() { close(begun); <-stop }()
		<-stop
	}()
	<-begun
	if n, dump := labelled(label); n != 3 {
		t.Errorf("%d goroutines, want 3:\n%s", n, dump)
	}
}
