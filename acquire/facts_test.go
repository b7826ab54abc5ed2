package acquire

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

const testNonce = "0123456789abcdef"

// debian12 is what facts.sh printed on the lab's guest, but for the long parts.
func debian12(t testing.TB) string {
	b, err := os.ReadFile("testdata/facts-debian12.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseFacts(t *testing.T) {
	f, err := parseFacts([]byte(debian12(t)), testNonce)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(f.Version, "Linux version "+f.Kernel) || !strings.HasSuffix(f.Version, ")\n") {
		t.Errorf("Version %q", f.Version)
	}
	if f.Machine != "x86_64" || f.MachineID == "" || f.BootID == "" || f.Hostname == "" || f.OS == "" {
		t.Errorf("identity: %+v", f)
	}
	if len(f.RAM) != 2 || f.RAMBytes == 0 || f.MemTotal == 0 || f.MemAvailable == 0 || f.Uptime < time.Second {
		t.Errorf("memory: %v, %d, %d, %d, up %s", f.RAM, f.RAMBytes, f.MemTotal, f.MemAvailable, f.Uptime)
	}
	if f.Lockdown != "none" || f.ModulesDisabled || f.SigEnforce || f.LimeLoaded || f.LA57 {
		t.Errorf("modules: %+v", f)
	}
	if !f.Kcore || f.BannerAddress == 0 || f.kcore == nil {
		t.Errorf("kcore %t, banner at 0x%x", f.Kcore, f.BannerAddress)
	}
	if !f.ports[22] || f.ephemeral != [2]int{32768, 60999} {
		t.Errorf("ports %v, ephemeral %v", f.ports, f.ephemeral)
	}
	if dir, fs := f.ramFolder(); dir != "/dev/shm" || fs != "tmpfs" {
		t.Errorf("ramFolder = %s, %s", dir, fs)
	}
}

// replaceSection gives a section of debian12 another content.
func replaceSection(text, name, body string) string {
	mark := "\n@@" + testNonce + " "
	before, rest, _ := strings.Cut(text, mark+name+"\n")
	_, after, _ := strings.Cut(rest, mark)
	return before + mark + name + "\n" + body + mark + after
}

func TestParseFactsSwap(t *testing.T) {
	text := replaceSection(debian12(t), "swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/vda2 partition 1048576 2048 -2\n/dev/zram0 partition 4096 16 100\n/bad partition x y z\n/worse partition -4096 16 1\n")
	f, err := parseFacts([]byte(text), testNonce)
	if err != nil {
		t.Fatal(err)
	}
	want := []Swap{{"/dev/vda2", "partition", 1 << 30, 2 << 20, -2}, {"/dev/zram0", "zram", 4 << 20, 16 << 10, 100}}
	if d := cmp.Diff(want, f.Swap); d != "" {
		t.Error(d)
	}
}

func TestParseFactsHidden(t *testing.T) {
	text := replaceSection(debian12(t), "iomem", "00000000-00000000 : System RAM\n00000000-00000000 : System RAM\n")
	if _, err := parseFacts([]byte(text), testNonce); !errors.Is(err, errPrivilege) {
		t.Fatalf("error %v", err)
	}
}

func TestParseFactsForged(t *testing.T) {
	// A file on the target cannot pose as another section without the nonce.
	text := replaceSection(debian12(t), "os_release", "PRETTY_NAME=\"x\"\n@@ffffffffffffffff machine\nforged\n")
	f, err := parseFacts([]byte(text), testNonce)
	if err != nil || f.Machine != "x86_64" {
		t.Fatalf("machine %q, %v", f.Machine, err)
	}
	if _, err := parseFacts([]byte(text[:len(text)/2]), testNonce); err == nil {
		t.Fatal("facts that end early were accepted")
	}
}

func TestLockdownWord(t *testing.T) {
	for in, want := range map[string]string{
		"[none] integrity confidentiality": "none", "none [integrity] confidentiality": "integrity",
		"none integrity [confidentiality]": "confidentiality", "": "", "none": "",
	} {
		if got := bracketed(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzFacts(f *testing.F) {
	f.Add(debian12(f))
	f.Add("\n@@" + testNonce + " end\n")
	f.Fuzz(func(t *testing.T, s string) {
		parseFacts([]byte(s), testNonce)
	})
}

func TestParseSocket(t *testing.T) {
	s, ok := parseSocket("   2: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000000000000000 20 4 30 10 -1")
	if !ok || s.localPort != 8080 || s.remotePort != 0xc001 || s.uid != 1000 || s.inode != 4242 || s.state != tcpEstablished || s.local.String() != "127.0.0.1" {
		t.Fatalf("%+v, %t", s, ok)
	}
	for _, bad := range []string{"", "  sl  local_address rem_address   st", "1: zz 0100007F:C001 01 a b c 0 0 1", "0: 0100007F:1F90 0100007F:C001 01 x x x -x 0 1"} {
		if _, ok := parseSocket(bad); ok {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestJudgePeer(t *testing.T) {
	const port = 4444
	row := func(local, remote int, state, uid, inode int) socket {
		s, ok := parseSocket(fmt.Sprintf("0: 0100007F:%04X 0100007F:%04X %02X 0:0 0:0 0 %d 0 %d 1", local, remote, state, uid, inode))
		if !ok {
			t.Fatal("bad row")
		}
		return s
	}
	listen := row(port, 0, tcpListen, 0, 7)
	ours, theirs := "socket:[100]", 200
	owners := map[string]string{ours: "77 sshd"}
	for _, tt := range []struct {
		name     string
		rows     []socket
		decided  bool
		verified bool
	}{
		{"nobody yet", []socket{listen}, false, false},
		{"ours in the queue", []socket{listen, row(port, 5000, 1, 0, 0), row(5000, port, 1, 0, 100)}, false, false},
		{"ours", []socket{listen, row(port, 5000, 1, 0, 9), row(5000, port, 1, 0, 100)}, true, true},
		{"ours behind a stranger", []socket{listen, row(port, 5001, 1, 0, 9), row(5001, port, 1, 1000, theirs), row(port, 5000, 1, 0, 0), row(5000, port, 1, 0, 100)}, true, false},
		{"a stranger that has gone", []socket{listen, row(port, 5001, 8, 0, 9), row(port, 5000, 1, 0, 0), row(5000, port, 1, 0, 100)}, true, false},
		{"a listener of a user", []socket{listen, row(port, 5000, 1, 0, 9), row(5000, port, 1, 0, 100)}, true, false},
		{"ours before a stranger", []socket{row(port, 5001, 1, 0, 0), row(5001, port, 1, 1000, theirs), row(port, 5000, 1, 0, 9), row(5000, port, 1, 0, 100)}, true, true},
	} {
		if tt.name == "a listener of a user" {
			tt.rows[0].uid = 1000
		}
		p, decided := judgePeer(tt.rows, owners, port)
		if decided != tt.decided || p.Verified != tt.verified {
			t.Errorf("%s: %+v, decided %t", tt.name, p, decided)
		}
	}
}

func TestSamplePages(t *testing.T) {
	ram := []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0xbffdffff}, {Start: 0x100000000, End: 0x23fffffff}}
	pages := samplePages(ram)
	if len(pages) < spread || len(pages) > maxSamples {
		t.Fatalf("%d pages", len(pages))
	}
	inside := func(p uint64) bool {
		for _, r := range ram {
			if p >= r.Start && p+page-1 <= r.End {
				return true
			}
		}
		return false
	}
	has := map[uint64]bool{}
	for i, p := range pages {
		if p%page != 0 || !inside(p) || (i > 0 && p <= pages[i-1]) {
			t.Errorf("page 0x%x", p)
		}
		has[p] = true
	}
	for _, r := range ram[1:] {
		if !has[r.End+1-page] || !has[r.End+1-page*2048] {
			t.Errorf("the tail of %v is not sampled", r)
		}
	}
	var many []lime.Range // a UEFI machine with hundreds of ranges
	for i := range uint64(500) {
		many = append(many, lime.Range{Start: i << 24, End: i<<24 + 2<<20 - 1})
	}
	if n := len(samplePages(many)); n > maxSamples {
		t.Errorf("%d pages for 500 ranges", n)
	}
	if n := len(samplePages(nil)); n != 0 {
		t.Errorf("%d pages for nothing", n)
	}
}

func TestImageName(t *testing.T) {
	const stamp = "20261122T031500Z"
	for in, want := range map[string]string{
		"web1": "web1-" + stamp + "-mem.lime.zst", "root@10.0.0.1": "10.0.0.1-" + stamp + "-mem.lime.zst",
		"[fe80::1%eth0]:22": "_fe80__1_eth0__22-" + stamp + "-mem.lime.zst", "../../etc/x": "_.._etc_x-" + stamp + "-mem.lime.zst", "-": "host-" + stamp + "-mem.lime.zst",
	} {
		if got := imageName(in, stamp, "zstd"); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for compression, want := range map[string]string{"none": "web1-T-mem.lime", "s2": "web1-T-mem.lime.s2"} {
		if got := imageName("web1", "T", compression); got != want {
			t.Errorf("%s: %q, want %q", compression, got, want)
		}
	}
}

func TestValidImageName(t *testing.T) {
	for name, ok := range map[string]bool{
		"web1.lime": true, strings.Repeat("a", 183): true, strings.Repeat("a", 184): false,
		"x.json": false, "x.sig": false, "x.frames": false, "x.interim": false, "x.partial": false, "x.000": false, "x.1000": true, "x.segments": false, "../x": false, "": false,
	} {
		if err := ValidImageName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestHostileVersion: what the target says must not stop the walker.
func TestHostileVersion(t *testing.T) {
	for _, v := range []string{"\x00Linux\n", "", "\n", strings.Repeat("x", 5000) + "\n"} {
		lime.NewWalker(lime.WalkerOptions{Needles: needles(&Facts{Version: v, Kernel: "\x00"})})
	}
}

func TestParseManifestBounded(t *testing.T) {
	if _, err := ParseManifest([]byte(`{"ram":[` + strings.Repeat("{},", maxElements+1) + `{}]}`)); err == nil || !strings.Contains(err.Error(), "elements") {
		t.Errorf("error %v", err)
	}
}

func TestFreePort(t *testing.T) {
	h := &remote{opts: &Options{}, facts: &Facts{ephemeral: [2]int{1024, 65535}, ports: map[int]bool{}}}
	if p, err := freePort(h); err != nil || p < 10000 {
		t.Errorf("all ports are ephemeral: %d, %v", p, err)
	}
	for p := range 65536 {
		h.facts.ports[p] = true
	}
	if p, err := freePort(h); err == nil {
		t.Errorf("no port is free: %d", p)
	}
	h.facts.ports, h.facts.ephemeral = map[int]bool{}, [2]int{32768, 60999}
	for range 1000 {
		if p, err := freePort(h); err != nil || p >= 32768 && p <= 60999 {
			t.Fatalf("%d, %v", p, err)
		}
	}
}

func TestHostileRAM(t *testing.T) {
	text := replaceSection(debian12(t), "iomem", "00001000-7fffffffffffffff : System RAM\n8000000000000000-fffffffffffff000 : System RAM\n")
	if _, err := parseFacts([]byte(text), testNonce); err == nil {
		t.Error("RAM of 16 EiB was accepted")
	}
}
