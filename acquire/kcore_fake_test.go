//go:build unix

package acquire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

	said  string // facts, if they are made already
	image []byte // what a capture should give: fakeMemory
	boot  string

	cgroups   *fakeCgroups // for freezing; nil: there is no such thing
	processes string       // more of what freezelook.sh says

	mu      sync.Mutex
	scripts map[string]int         // how often each ran
	running map[string]*os.Process // the last of each
}

// fakeOffset is where the direct map begins in the file, and fakeVirtual its address.
const (
	fakeOffset  = 1 << 33
	fakeVirtual = 0xffff888000000000
)

// fakeRAM are some MiB, in ranges with odd ends.
var fakeRAM = []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0x17fffff}, {Start: 1 << 32, End: 1<<32 + 0x4807ff}}

// fakeMemory is what every such target's memory holds, as an image in LiME's format. All of them share it: nobody writes to it.
var fakeMemory = sync.OnceValue(func() []byte {
	text, err := os.ReadFile("testdata/facts-debian12.txt")
	if err != nil {
		panic(err)
	}
	facts, err := parseFacts(text, testNonce)
	if err != nil {
		panic(err)
	}
	var img bytes.Buffer
	rnd := rand.NewChaCha8([32]byte{1})
	w := lime.NewWriter(&img)
	for _, r := range fakeRAM {
		data := make([]byte, r.Size())
		s, e := wholePages(r)
		for a := s; a < e; a += page {
			if a/page%4 != 1 { // every fourth page is zero
				rnd.Read(data[a-r.Start : a-r.Start+page])
			}
		}
		if r.Start == 0x100000 {
			copy(data[0x200010:], facts.Version+"\x00")
		}
		if err := errors.Join(w.Begin(r), second(w.Write(data))); err != nil {
			panic(err)
		}
	}
	return bytes.Clone(img.Bytes())
})

// wholePages are where those of a range begin and end.
func wholePages(r lime.Range) (start, end uint64) {
	return (r.Start + page - 1) / page * page, (r.End + 1) / page * page
}

// newKcore makes a target with fakeRAM.
func newKcore(t *testing.T) *fakeKcore {
	f := &fakeKcore{t: t, dir: t.TempDir(), shell: []string{"/bin/sh"}, scripts: map[string]int{}, running: map[string]*os.Process{}}
	facts, err := parseFacts([]byte(debian12(t)), testNonce)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(f.path("kcore"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f.image = fakeMemory()
	var iomem strings.Builder
	le := binary.LittleEndian
	segs := [][4]uint64{{0x7fff81000000, 0xffffffff81000000, 0x200000, 0x100000}, {0x7fffc0000000, 0xffffc90000000000, ^uint64(0), 1 << 40}}
	data := f.image
	for _, r := range fakeRAM {
		fmt.Fprintf(&iomem, "%08x-%08x : System RAM\n", r.Start, r.End)
		data = data[lime.HeaderSize:]
		s, e := wholePages(r)
		if _, err := file.WriteAt(data[s-r.Start:e-r.Start], int64(fakeOffset+s)); err != nil {
			t.Fatal(err)
		}
		segs = append(segs, [4]uint64{fakeOffset + s, fakeVirtual + s, s, e - s})
		data = data[r.Size():]
	}
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
	f.write("swaps", swapsHead)
	f.write("machine-id", facts.MachineID+"\n")
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
	switch {
	case strings.Contains(script, "s zswap"):
		return "swap"
	case strings.Contains(script, "say running"):
		return "avml"
	case strings.Contains(script, "s dir;"):
		return "avmlclean"
	}
	for name, sign := range map[string]string{"facts": "s uid; id -u", "sample": `| "$sum"`, "look": "patience", "read": "ready %s", "zip": "zip'", "processes": "s hierarchy", "freeze": "expired lease"} {
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
	if name == "processes" || name == "freeze" && f.cgroups == nil { // never this machine's own
		return f.sayProcesses(script, stdout)
	}
	if f.exec != nil {
		f.exec(name)
	}
	if f.stdout != nil {
		stdout = f.stdout(name, stdout)
	}
	script = f.dd + "\n" + strings.NewReplacer("/proc/kcore", f.path("kcore"), "/proc/iomem", f.path("iomem"), "/proc/swaps", f.path("swaps"), "/etc/machine-id", f.path("machine-id")).Replace(script)
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
	if err := c.Start(); err != nil {
		f.t.Errorf("%q: %v", argv[0], err)
		return 1
	}
	f.mu.Lock()
	if f.running != nil {
		f.running[name] = c.Process
	}
	f.mu.Unlock()
	c.Wait()
	return c.ProcessState.ExitCode()
}

func (f *fakeKcore) sayFacts(nonce string, stdout io.Writer) int {
	if f.said != "" {
		io.WriteString(stdout, strings.ReplaceAll(f.said, testNonce, nonce))
		return 0
	}
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
	text = replaceSection(text, "swaps", f.read("swaps"))
	text = replaceSection(text, "kcore", hex.EncodeToString(head)+"\n")
	text = replaceSection(text, "banner_address", fmt.Sprintf("%x D linux_banner\n", uint64(fakeVirtual+0x300010)))
	text = replaceSection(text, "tools", "cat insmod rmmod sha256sum mkfifo dd grep od cksum mkdir sleep \n")
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
