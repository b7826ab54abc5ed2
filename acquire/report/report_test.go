package report

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/net/html"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/acquire/freeze"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

var keep = flag.String("keep", "", "write the pages of TestPages to this folder, to look at them")

var epoch = time.Date(2026, 11, 22, 4, 48, 7, 0, time.UTC)

// A lab makes cases.
type lab struct {
	t       *testing.T
	disk    *sink.Disk
	signer  ssh.Signer
	signers *signature.AllowedSigners
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t}
	l.disk, _ = sink.NewDisk(t.TempDir())
	var err error
	if l.signer, err = ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, 32))); err != nil {
		t.Fatal(err)
	}
	line := "investigator " + string(ssh.MarshalAuthorizedKey(l.signer.PublicKey()))
	if l.signers, err = signature.ParseAllowedSigners(strings.NewReader(line), "signers"); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.disk.String(), name) }

func (l *lab) write(name string, data []byte) {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), data, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// capture makes the n-th capture; change makes it special before it is signed.
func (l *lab) capture(n int, change func(m *acquire.Manifest)) *acquire.Manifest {
	l.t.Helper()
	gib := int64(4 + n%7*8)
	host := fmt.Sprintf("web-%03d.example.org", n)
	at := epoch.Add(time.Duration(n%40) * 7 * time.Second)
	ram := []lime.Range{{Start: 0x1000, End: 0x9ffff}, {Start: 0x100000, End: uint64(gib<<30 - 1)}}
	hex := func(s string) string { h := sha256.Sum256([]byte(s)); return fmt.Sprintf("%x", h) }
	name := fmt.Sprintf("web-%03d.example.org-%s-mem.lime.zst", n, at.Format("20060102T150405Z"))
	second := func(s float64) time.Time { return at.Add(time.Duration(s * float64(time.Second))) }
	flow := float64(gib) * (7 + float64(n%5))
	ranges := []lime.RangeReport{{Range: ram[0], Bytes: ram[0].Size(), First: second(4), Last: second(4)}, {Range: ram[1], Bytes: ram[1].Size(), First: second(4), Last: second(4 + flow)}}
	for i := int64(1); i < gib*16; i++ {
		f := float64(i) / float64(gib*16)
		ranges[1].Marks = append(ranges[1].Marks, lime.Mark{Addr: lime.Addr(i << 26), Time: second(4 + flow*(f*f*0.3+f*0.7))})
	}
	m := &acquire.Manifest{
		Type: acquire.ManifestType, Version: acquire.ManifestVersion, Case: "2026-042", Operator: "m.mustermann@ir-laptop",
		Tool:    acquire.Tool{Name: "shotglass", Version: "v0.2.0", SHA256: hex("tool")},
		Options: []acquire.Setting{{Name: "case", Value: "2026-042", Origin: "flag"}, {Name: "parallel", Value: "0", Origin: "default"}},
		Target: acquire.TargetRecord{Host: host, Connection: transport.Info{Target: host, Addr: host + ":22", User: "ops", RemoteAddr: fmt.Sprintf("10.1.0.%d:22", n), HostKey: "SHA256:Lylk2iaEQ0OCc0bSnnq6XUQwX8pz7oEle8e6XlgOuuw",
			HostKeyType: "ssh-ed25519", HostKeyTrust: "pinned", RTT: 3 * time.Millisecond},
			Facts: &acquire.Facts{Hostname: host, Kernel: "6.1.0-56-cloud-amd64", Machine: "x86_64", OS: "Debian GNU/Linux 12 (bookworm)", MachineID: hex(host)[:32], BootID: hex("boot" + host)[:32], Uptime: 1234567 * time.Second}},
		Method:   acquire.Method{Source: "lime", Privilege: "sudo", Parameters: []string{"format=lime", "localhostonly=1", "timeout=0"}, Peer: &acquire.Peer{Verified: true, Detail: "port 34524, process sshd"}, Buffered: 12 << 20},
		Reads:    []acquire.ReadTime{{Addr: 0x1000, First: second(4), Last: second(5)}, {Addr: 1 << 26, First: second(5), Last: second(4 + flow)}},
		Module:   &acquire.ModuleUse{Module: kernelmodules.Module{SHA256: hex("module"), Origin: "modules/lime-6.1.0-56.ko", Signature: "pinned sha256", Vermagic: "6.1.0-56-cloud-amd64 SMP preempt "}},
		Complete: true, RAM: ram, Stream: &lime.Report{Complete: true, Ranges: ranges},
		Checks: []acquire.Check{{Name: "records", Result: acquire.Pass, Detail: "2 records, all whole"}, {Name: "ranges", Result: acquire.Pass, Detail: "exactly the System RAM of /proc/iomem"}, {Name: "banner", Result: acquire.Pass, Detail: "at 0x611ffe0"}},
		Image: acquire.Image{Name: name, Format: "lime", Compression: "zstd", Encryption: "none", Location: l.path(name),
			Raw: acquire.Digest{Bytes: gib << 30, SHA256: hex("raw" + host)}, Stored: acquire.Digest{Bytes: gib<<30/4 + int64(n), SHA256: hex("stored" + host)}},
		Timeline: []acquire.Moment{{Time: at, Event: "connected as ops to " + host + ":22"}, {Time: second(2), Event: "loading LiME from /dev/shm"}, {Time: second(4), Event: "streaming, 123 bytes expected"},
			{Time: second(4 + flow), Event: "stream ended after 123 bytes"}, {Time: second(5 + flow), Event: "the target is clean"}, {Time: second(6 + flow), Event: "image complete"}},
		Footprint: acquire.Footprint{TaintBefore: "0", TaintAfter: "4097", Commands: 4, Sudo: 3, BytesPushed: 27248, PushedTo: "/dev/shm/.sg-7e2c on tmpfs", Clean: true},
		Created:   second(6 + flow),
	}
	if change != nil {
		change(m)
	}
	data, err := m.Marshal()
	if err != nil {
		l.t.Fatal(err)
	}
	l.write(name+".json", data)
	sig, err := signature.Sign(data, l.signer)
	if err != nil {
		l.t.Fatal(err)
	}
	l.write(name+".json.sig", sig)
	if m.Image.Raw.SHA256 != "" {
		if !m.Complete {
			name += ".partial"
		}
		l.write(name, nil)
		if err := os.Truncate(l.path(name), m.Image.Stored.Bytes); err != nil {
			l.t.Fatal(err)
		}
	}
	return m
}

func partial(m *acquire.Manifest) {
	m.Complete, m.Image.Partial = false, true
	m.Reasons = []string{"records: the last record is cut short at 0x1f4000000", "stream: no byte came for 5m0s"}
	m.Checks[0] = acquire.Check{Name: "records", Result: acquire.Fail, Detail: "the last record is cut short"}
	m.Anomalies = []string{"no byte came for 5m0s"}
	m.Image.Raw.Bytes /= 2
}

func left(m *acquire.Manifest) {
	m.Footprint.Clean, m.Footprint.Left, m.Footprint.Fix = false, []string{"the module lime"}, "ssh ops@HOST 'sudo rmmod lime'"
}

// TestFreeze: what stood still, and that it did not to the end.
func TestFreeze(t *testing.T) {
	l := newLab(t)
	l.capture(1, func(m *acquire.Manifest) {
		m.Freeze = &acquire.FreezeUse{
			Frozen: epoch, Thawing: epoch.Add(time.Minute), Lost: "the lease ended",
			Cgroups: []acquire.FrozenCgroup{{Cgroup: freeze.Cgroup{Path: "/a", Processes: 3}, State: "frozen"}, {Cgroup: freeze.Cgroup{Path: "/b", Processes: 4}, State: "frozen"},
				{Cgroup: freeze.Cgroup{Path: "/c", Processes: 40}, State: "refused: the kernel did not take the order"}},
			Kept: []freeze.Cgroup{{Path: "/init.scope", Processes: 1}},
		}
	})
	want(t, render(t, l.trusted()), "7 processes in 2 cgroups frozen from 2026-11-22 04:48:07 to 2026-11-22 04:49:07 UTC; 1 process went on as intended",
		"Not frozen throughout 1 cgroup that should have been", "Not frozen to the end the lease ended")

	// A capture that was killed did not live to say when they went on.
	l = newLab(t)
	l.capture(1, func(m *acquire.Manifest) {
		m.Freeze = &acquire.FreezeUse{Frozen: epoch, Cgroups: []acquire.FrozenCgroup{{Cgroup: freeze.Cgroup{Path: "/a", Processes: 3}, State: "frozen"}}}
	})
	want(t, render(t, l.trusted()), "3 processes in 1 cgroup frozen at 2026-11-22 04:48:07 UTC, and until when is not known, as the capture was killed; 0 processes went on")
}

func nothing(m *acquire.Manifest) {
	m.Complete, m.Image.Raw, m.Image.Stored, m.Stream, m.Checks = false, acquire.Digest{}, acquire.Digest{}, nil, nil
	m.Reasons = []string{"insmod: Operation not permitted (lockdown: integrity)"}
	m.Timeline = m.Timeline[:2]
}

// log makes the audit log of a run that failed on the hosts.
func (l *lab) log(failed ...string) *audit.Log {
	l.t.Helper()
	at := epoch
	a := audit.Start(l.t.Context(), audit.Options{Case: "2026-042", Live: l.disk, Now: func() time.Time { at = at.Add(time.Second); return at }})
	a.Add(audit.Entry{Event: audit.EventStart, Message: "m.mustermann@ir-laptop starts a capture", Location: l.disk.String()})
	for _, h := range failed {
		a.Add(audit.Entry{Event: "finished", Host: h, State: "failed", Error: "connect to " + h + ":22: i/o timeout", Message: h + ": failed: connect: i/o timeout"})
	}
	code := 3
	if _, err := a.Close(l.t.Context(), l.disk, l.signer, audit.Entry{Message: "the run ends with exit code 3", Code: &code}); err != nil {
		l.t.Fatal(err)
	}
	return a
}

func (l *lab) load(o Options) *Case {
	l.t.Helper()
	list, err := l.disk.List(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	var files []File
	for _, f := range list.Objects {
		if Belongs(f.Name) {
			files = append(files, File{l.disk, l.disk.String(), f.Name})
		}
	}
	o.Made, o.Tool = epoch.Add(time.Hour), acquire.Tool{Name: "shotglass", Version: "v0.2.0"}
	if o.Signers != nil {
		o.SignersName = "signers"
	}
	c, err := Load(l.t.Context(), files, o)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func (l *lab) trusted() *Case { return l.load(Options{Signers: l.signers}) }

func render(t *testing.T, c *Case) string {
	t.Helper()
	var a, b bytes.Buffer
	if err := errors.Join(c.Write(&a), c.Write(&b)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same case gives two pages")
	}
	return a.String()
}

// check holds a page against the rules: well-formed, nothing loaded, nothing run, all links inside.
func check(t *testing.T, page string) {
	t.Helper()
	void := []string{"meta", "br"}
	var open []string
	ids, links := map[string]bool{}, []string{}
	z := html.NewTokenizer(strings.NewReader(page))
	policy := ""
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			if z.Err() != io.EOF {
				t.Fatal(z.Err())
			}
			break
		}
		tok := z.Token()
		switch kind {
		case html.StartTagToken:
			if !slices.Contains(void, tok.Data) {
				open = append(open, tok.Data)
			}
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != tok.Data {
				t.Fatalf("</%s> closes %q", tok.Data, open)
			}
			open = open[:len(open)-1]
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		if slices.Contains([]string{"script", "link", "img", "iframe", "object", "embed", "base", "form", "audio", "video", "source", "use", "image", "foreignobject", "animate", "set"}, tok.Data) {
			t.Errorf("the page has <%s>", tok.Data)
		}
		seen := map[string]bool{}
		for _, a := range tok.Attr {
			switch {
			case seen[a.Key]:
				t.Errorf("<%s> has %s twice", tok.Data, a.Key)
			case strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "srcset" || strings.Contains(a.Key, "xlink"):
				t.Errorf("<%s> has %s=%q", tok.Data, a.Key, a.Val)
			case a.Key == "href":
				links = append(links, a.Val)
			case a.Key == "id":
				if ids[a.Val] {
					t.Errorf("two elements are called %q", a.Val)
				}
				ids[a.Val] = true
			case a.Key == "content" && strings.HasPrefix(a.Val, "default-src"):
				policy = a.Val
			}
			seen[a.Key] = true
		}
	}
	if len(open) > 0 {
		t.Errorf("not closed: %q", open)
	}
	for _, l := range links {
		if id, inside := strings.CutPrefix(l, "#"); !inside || !ids[id] {
			t.Errorf("link to %q", l)
		}
	}
	_, css, _ := strings.Cut(page, "<style>")
	css, _, _ = strings.Cut(css, "</style>")
	h := sha256.Sum256([]byte(css))
	if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(h[:]) + "'"; !strings.HasPrefix(policy, "default-src 'none'; ") || !strings.Contains(policy, want) {
		t.Errorf("policy %q, want %s", policy, want)
	}
	if regexp.MustCompile(`(?i)url\(|@import|expression\(`).MatchString(css) {
		t.Error("the style sheet loads something")
	}
}

// text is what a reader sees.
func text(t *testing.T, page string) string {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range doc.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			b.WriteString(n.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func want(t *testing.T, page string, words ...string) {
	t.Helper()
	have := text(t, page)
	for _, w := range words {
		if !strings.Contains(have, w) {
			t.Errorf("the page does not say %q", w)
		}
	}
}

func TestPages(t *testing.T) {
	for _, tt := range []struct {
		name    string
		hosts   int
		trouble bool
	}{{"one", 1, false}, {"three", 3, false}, {"forty", 40, true}, {"twohundred", 200, true}} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			var failed []string
			for n := range tt.hosts {
				var change func(*acquire.Manifest)
				switch {
				case tt.trouble && n%17 == 5:
					change = partial
				case tt.trouble && n%23 == 7:
					change = left
				case tt.trouble && n%31 == 9:
					change = nothing
				case tt.trouble && n%29 == 11:
					failed = append(failed, fmt.Sprintf("web-%03d.example.org", n))
					continue
				}
				m := l.capture(n, change)
				if tt.trouble && n == 3 {
					os.Truncate(l.path(m.Image.Name), 4096)
				}
			}
			l.log(failed...)
			c := l.trusted()
			page := render(t, c)
			check(t, page)
			if tt.trouble {
				want(t, page, "Needs attention", "the image has 4096 bytes, the manifest says", "no image: connect to web-011.example.org:22: i/o timeout", "insmod: Operation not permitted",
					"records: the last record is cut short", "ssh ops@HOST 'sudo rmmod lime'", "Something does not agree", "mismatch", "Images were not read again")
				if c.Verdict() != acquire.VerdictMismatch {
					t.Error(c.Verdict())
				}
			} else {
				want(t, page, "Every record is signed by an allowed signer", "Images were not read again", "good, by investigator", "timeout=0", "sha256sum -c SHA256SUMS",
					"Received 2026-11-22 04:48:11 to 2026-11-22 04:48:39 UTC: 28.0 s for the whole of memory")
				if strings.Contains(page, "Needs attention") || c.Verdict() != acquire.VerdictOK {
					t.Errorf("a good case is %s", c.Verdict())
				}
			}
			if *keep != "" {
				os.WriteFile(filepath.Join(*keep, tt.name+".html"), []byte(page), 0o600)
			}
		})
	}
}

// TestOrder: what needs a look comes first.
// TestSwap: swap areas are listed, with what checks them; one that is missing, or partial, is told.
func TestSwap(t *testing.T) {
	l := newLab(t)
	sum := strings.Repeat("ab", 32)
	m := l.capture(1, func(m *acquire.Manifest) {
		name := acquire.SwapName(m.Image.Name, 1, "zstd", false)
		m.SwapImages = []acquire.SwapImage{
			{Swap: acquire.Swap{Name: "/dev/vda3", Type: "partition"}, Mapping: "cryptswap (CRYPT-PLAIN-x)", Complete: true, Begun: epoch, Header: &acquire.SwapHeader{Magic: "SWAPSPACE2", UUID: "0123"},
				Image: acquire.Image{Name: name, Location: l.path(name), Compression: "zstd", Raw: acquire.Digest{Bytes: 1 << 30, SHA256: sum}, Stored: acquire.Digest{Bytes: 4, SHA256: sum}}},
			{Swap: acquire.Swap{Name: "/swapfile", Type: "file"}, Reasons: []string{"there is no device"}},
		}
	})
	c := l.trusted()
	if x := c.Captures[0]; !slices.ContainsFunc(x.Trouble, func(s string) bool { return strings.Contains(s, "-swap-1.raw.zst is not beside its manifest") }) {
		t.Errorf("trouble %q", x.Trouble)
	}
	l.write(acquire.SwapName(m.Image.Name, 1, "zstd", false), []byte("area"))
	c = l.trusted()
	if len(c.Captures[0].Trouble) > 0 || c.Verdict() != acquire.VerdictPartial {
		t.Errorf("trouble %q, verdict %s", c.Captures[0].Trouble, c.Verdict())
	}
	page := render(t, c)
	check(t, page)
	want(t, text(t, page), "complete, not its swap", "swap /swapfile: there is no device", "cryptswap (CRYPT-PLAIN-x)", "sha256sum "+acquire.SwapName(m.Image.Name, 1, "zstd", false))
}

func TestOrder(t *testing.T) {
	l := newLab(t)
	l.capture(1, nil)
	l.capture(2, left)
	l.capture(3, partial)
	l.capture(4, nothing)
	m := l.capture(5, nil)
	os.Remove(l.path(m.Image.Name))
	l.log("gone.example.org")
	page := render(t, l.trusted())
	var order []string
	for _, h := range regexp.MustCompile(`<th scope="row">(?:<a[^>]*>)?(web-00\d|gone)`).FindAllStringSubmatch(page, -1) {
		order = append(order, h[1])
	}
	if fmt.Sprint(order) != "[gone web-005 web-004 web-003 web-002 web-001]" {
		t.Error(order)
	}
	want(t, page, "the image is not beside its manifest", "2 images are recorded as complete, 1 does not agree with its record, 1 is partial, 2 hosts or attempts have no image")
}

// TestTwoImages: of a host with two images the page says which is which, and why.
func TestTwoImages(t *testing.T) {
	l := newLab(t)
	rejected := []string{"zero fill"}
	first := l.capture(1, func(m *acquire.Manifest) {
		partial(m)
		m.Other = &acquire.OtherImage{Name: "second.lime", Order: "after", Source: "kcore", Rejected: rejected}
	})
	l.capture(2, func(m *acquire.Manifest) {
		m.Other = &acquire.OtherImage{Name: first.Image.Name, Order: "before", Source: "lime", Rejected: rejected,
			Manifest: &acquire.Reference{Name: first.Image.Name + ".json", SHA256: "5ec0"}}
	})
	want(t, render(t, l.trusted()),
		"the content of this one was rejected (zero fill); second.lime was to be taken through kcore in its place",
		"taken since the content of "+first.Image.Name+", through lime, was rejected (zero fill); its manifest "+first.Image.Name+".json has sha256 5ec0",
		"1 image is recorded as complete, 1 is partial")
}

// TestHostile: what hosts, manifests and logs say is text, wherever it ends up.
func TestHostile(t *testing.T) {
	evil := "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x1b[2J${7*7}{{.}}"
	l := newLab(t)
	l.capture(1, func(m *acquire.Manifest) {
		partial(m)
		left(m)
		m.Case, m.Operator, m.Target.Host, m.Labels = evil, evil, evil, map[string]string{evil: evil}
		m.Target.Facts.Hostname, m.Target.Facts.OS, m.Target.Connection.HostKeyTrust = evil, evil, evil
		m.Reasons, m.Anomalies, m.Footprint.Left, m.Footprint.Fix = []string{evil}, []string{evil}, []string{evil}, evil
		m.Checks[0].Name, m.Checks[0].Detail, m.Checks[0].Result = evil, evil, evil
		m.Timeline[1].Event, m.Image.Location, m.Image.Format = evil, evil, evil
		m.Image.Checksums, m.Module.Origin, m.Method.Parameters = map[string]string{"sha256": evil}, evil, []string{evil}
		m.Options[0] = acquire.Setting{Name: evil, Value: evil, Origin: evil}
	})
	l.log(evil)
	page := render(t, l.trusted())
	check(t, page)
	for _, bad := range []string{"<script", "<img", "\x1b", "\u202e"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

// TestHostileCommands: a manifest has no say in the commands that the page tells people to paste, nor
// in its list of digests.
func TestHostileCommands(t *testing.T) {
	evil := "x'\nrm -rf evidence; $(rm -rf evidence)\n" + strings.Repeat("'", 9000)
	l := newLab(t)
	m := l.capture(1, nil)
	name := m.Image.Name
	for _, p := range []string{l.disk.String(), "s3://evidence/case"} {
		m.Image.Name, m.Image.Stored.SHA256, m.Image.Raw.SHA256 = evil, evil, evil
		x := &Capture{Manifest: m, Place: p, File: name + ".json", ImageFile: name, SHA256: strings.Repeat("0", 64)}
		c := &Case{Captures: []*Capture{x}}
		for _, text := range []string{c.commands(x), c.page().Sums} {
			if strings.Contains(text, "evidence;") || strings.Contains(text, "$(") || !strings.Contains(text, name) {
				t.Errorf("%.300q", text)
			}
		}
	}
}

// TestTimes: any times can stand in a manifest.
func TestTimes(t *testing.T) {
	l := newLab(t)
	l.capture(1, func(m *acquire.Manifest) {
		m.Timeline[0].Time = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		m.Timeline[1].Time = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)
		m.Target.Facts.ClockOffset = math.MinInt64
	})
	check(t, render(t, l.trusted()))
}

// TestTrust: who vouches for what is said as it is.
func TestTrust(t *testing.T) {
	l := newLab(t)
	m := l.capture(1, nil)
	c := l.load(Options{})
	want(t, render(t, c), "No allowed signers were given", "unknown signer")
	if c.Verdict() != acquire.VerdictUntrusted {
		t.Error(c.Verdict())
	}
	name := m.Image.Name + ".json"
	data, _ := os.ReadFile(l.path(name))
	l.write(name, bytes.Replace(data, []byte("m.mustermann"), []byte("a.mustermann"), 1))
	c = l.trusted()
	want(t, render(t, c), "signature: bad signature", "BAD", "Something does not agree")
	if c.Verdict() != acquire.VerdictMismatch {
		t.Error(c.Verdict())
	}
	l.write(name, data)
	os.Remove(l.path(name + ".sig"))
	c = l.trusted()
	want(t, render(t, c), "1 record is not signed by an allowed signer")
	if c.Verdict() != acquire.VerdictUntrusted {
		t.Error(c.Verdict())
	}
}

// TestReRead: only images that were read are said to have been read.
func TestReRead(t *testing.T) {
	l := newLab(t)
	l.capture(1, func(m *acquire.Manifest) { m.Image.Stored.Bytes = 5000 })
	c := l.load(Options{Signers: l.signers, ReRead: true})
	page := render(t, c)
	want(t, page, "was read again in full for this report", "mismatch")
	if strings.Contains(page, "did not read the images") || c.Verdict() != acquire.VerdictMismatch || c.Captures[0].Verified == nil {
		t.Errorf("%s: the image of zeros passed", c.Verdict())
	}
	// A record that could not be used has an image that nobody read.
	c = &Case{ReRead: true, Captures: []*Capture{{Manifest: l.capture(2, nil)}}, Unread: []string{"web2.json: input/output error"}}
	if text, class := c.lead(); class != "bad" || strings.Contains(text, "Every image") {
		t.Errorf("%s: %s", class, text)
	}
}

func TestLogs(t *testing.T) {
	l := newLab(t)
	l.capture(1, nil)
	a := l.log("web2")
	data, _ := os.ReadFile(l.path(a.Name()))
	l.write(a.Name(), bytes.Replace(data, []byte("web2: failed"), []byte("web3: failed"), 1))
	l.write("broken.json", []byte("{"))
	c := l.trusted()
	page := render(t, c)
	check(t, page)
	want(t, page, "audit log, line 3: the chain is broken", "could not be used: broken.json", "Something does not agree")
	if c.Verdict() != acquire.VerdictMismatch {
		t.Error(c.Verdict())
	}
	if _, err := Load(t.Context(), []File{{l.disk, "x", "broken.json"}}, Options{}); err == nil {
		t.Error("a report on nothing")
	}
}
