package acquire

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/kcore"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/live"
)

//go:embed facts.sh
var factsScript string

// Facts are what a target says of itself before anything is written to it. A
// hostile target can lie in all of them.
type Facts struct {
	Hostname  string `json:"hostname"`
	Kernel    string `json:"kernel"`  // uname -r
	Machine   string `json:"machine"` // uname -m
	Version   string `json:"version"` // /proc/version, with its newline
	Cmdline   string `json:"cmdline,omitempty"`
	OS        string `json:"os,omitempty"` // PRETTY_NAME of os-release
	MachineID string `json:"machine_id,omitempty"`
	BootID    string `json:"boot_id,omitempty"`

	Clock       time.Time     `json:"clock"`               // the target's clock when asked
	ClockOffset time.Duration `json:"clock_offset_ns"`     // target minus examiner
	ClockError  time.Duration `json:"clock_error_ns"`      // half of the round trip of the question
	Uptime      time.Duration `json:"uptime_ns"`           //
	LoadAvg     string        `json:"loadavg,omitempty"`   //
	Container   string        `json:"container,omitempty"` // when the login is inside a container

	RAM          []lime.Range `json:"ram"`       // System RAM of /proc/iomem
	RAMBytes     int64        `json:"ram_bytes"` // their sum
	MemTotal     int64        `json:"mem_total_bytes"`
	MemAvailable int64        `json:"mem_available_bytes"`
	Swap         []Swap       `json:"swap"`

	Tainted         string `json:"tainted"`
	Lockdown        string `json:"lockdown"` // none, integrity, confidentiality; empty when the kernel has no lockdown
	ModulesDisabled bool   `json:"modules_disabled"`
	SigEnforce      bool   `json:"sig_enforce"`
	KptrRestrict    string `json:"kptr_restrict,omitempty"`
	LA57            bool   `json:"la57"` // the CPU has five-level page tables: Volatility 3 cannot walk them

	LimeLoaded    bool   `json:"lime_loaded"`
	LimeInstalled string `json:"lime_installed,omitempty"` // file of an installed lime module, the one that modprobe would take if there are several
	LimeVermagic  string `json:"lime_vermagic,omitempty"`  // of that which modprobe would take

	// BannerAddress is the physical address of the kernel's linux_banner, from
	// kallsyms and the program headers of /proc/kcore; 0 when not known.
	BannerAddress uint64 `json:"banner_address,omitempty"`
	// KernelImage is where the kernel's constants lie by /proc/iomem, linux_banner among them; empty when not known.
	KernelImage []lime.Range `json:"kernel_image,omitempty"`
	Kcore       bool         `json:"kcore"` // /proc/kcore is readable

	Vendor     string `json:"vendor,omitempty"`  // DMI
	Product    string `json:"product,omitempty"` // DMI
	InstanceID string `json:"instance_id,omitempty"`

	sizes     map[string]int64 // of what can be collected, in bytes; by the names of live.Kinds
	lime      []string         // all files of installed lime modules
	tools     map[string]bool
	mounts    string
	ports     map[int]bool // TCP ports listened on
	ephemeral [2]int       // ip_local_port_range
	// tcpBuffers is what the two ends of a connection on loopback hold at most, in bytes.
	tcpBuffers int64
	kcore      *kcore.Map
	segments   []kcore.Segment
	symbol     string // kallsyms' line of linux_banner
	// Why memory cannot be read through /proc/kcore: what the target said when it was
	// opened ("missing" if there is none), and what is wrong with its headers.
	kcoreDenied string
	kcoreErr    error
}

// maxAddress is beyond the physical addresses of every processor that Linux runs on
// (52 bits on x86-64 and arm64, 57 on s390x hold no such RAM).
const maxAddress = 1 << 53

// errPrivilege says that the facts were read without enough privilege.
var errPrivilege = errors.New("not privileged: /proc/iomem hides its addresses")

// parseFacts reads the output of facts.sh, which is foreign. Only what no capture
// can do without is an error.
func parseFacts(out []byte, nonce string) (*Facts, error) {
	sec, err := sections(out, nonce)
	if err != nil {
		return nil, err
	}
	one := func(name string) string { return strings.TrimSpace(sec[name]) }
	f := &Facts{
		Hostname: one("node"), Kernel: one("release"), Machine: one("machine"),
		Version: strings.TrimLeft(sec["version"], "\n"), Cmdline: one("cmdline"),
		MachineID: one("machine_id"), BootID: one("boot_id"),
		LoadAvg: one("loadavg"), Container: firstLine(one("container")),
		Tainted:         one("tainted"),
		Lockdown:        bracketed(one("lockdown")),
		ModulesDisabled: one("modules_disabled") == "1",
		SigEnforce:      one("sig_enforce") == "Y",
		KptrRestrict:    one("kptr_restrict"),
		LA57:            one("la57") != "" && one("la57") != "0",
		LimeLoaded:      one("lime_loaded") != "",
		mounts:          sec["mounts"],
		tools:           map[string]bool{},
	}
	// sections end with one newline that belongs to the next marker.
	f.Version = strings.TrimRight(f.Version, "\n")
	if f.Version != "" {
		f.Version += "\n"
	}
	for _, t := range strings.Fields(sec["tools"]) {
		f.tools[t] = true
	}
	f.LimeVermagic = firstLine(one("lime_vermagic"))
	if f.lime = installedPaths(sec["lime_installed"]); len(f.lime) > 0 {
		f.LimeInstalled = f.lime[0]
	}
	f.OS = osName(sec["os_release"])
	if fields := strings.Fields(one("uptime")); len(fields) > 0 {
		if secs, err := strconv.ParseFloat(fields[0], 64); err == nil {
			f.Uptime = time.Duration(secs * float64(time.Second))
		}
	}
	f.MemTotal, f.MemAvailable = meminfo(sec["meminfo"])
	f.Swap = parseSwaps(sec["swaps"])
	f.sizes = parseSizes(sec["sizes"])
	f.ports = listening(sec["listening"])
	if _, err := fmt.Sscan(one("port_range"), &f.ephemeral[0], &f.ephemeral[1]); err != nil {
		f.ephemeral = [2]int{32768, 60999} // the kernel's default, Documentation/networking/ip-sysctl
	}
	f.tcpBuffers = tcpBuffers(sec["tcp_buffers"])
	for line := range strings.Lines(sec["dmi"]) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch k {
		case "sys_vendor":
			f.Vendor = v
		case "product_name":
			f.Product = v
		case "board_asset_tag":
			if strings.HasPrefix(v, "i-") { // the instance id, on EC2's Nitro
				f.InstanceID = v
			}
		}
	}

	f.RAM, err = lime.ParseIOMem(strings.NewReader(sec["iomem"]))
	if errors.Is(err, lime.ErrIOMemHidden) {
		return f, errPrivilege
	} else if err != nil {
		return f, fmt.Errorf("read /proc/iomem: %w", err)
	}
	f.KernelImage = kernelImage(f.Machine, sec["iomem"])
	for _, r := range f.RAM {
		if r.End >= maxAddress {
			return f, fmt.Errorf("read /proc/iomem: System RAM at %s, beyond any machine's address space", r)
		}
		f.RAMBytes += int64(r.End - r.Start + 1)
	}
	if f.Kernel == "" || f.Machine == "" {
		return f, errors.New("target did not say its kernel release and machine (uname)")
	}
	f.symbol, f.kcoreDenied = one("banner_address"), firstLine(one("kcore_denied"))
	f.setKcore(parseHead(sec["kcore"]))
	return f, nil
}

// setKcore fills Kcore, BannerAddress and the map from physical addresses to
// offsets. Failures leave them empty: they only take checks away, and /proc/kcore as a source.
func (f *Facts) setKcore(segs []kcore.Segment, err error) {
	f.kcoreErr = err
	if err != nil {
		return
	}
	f.Kcore, f.segments = true, segs
	f.kcore, f.kcoreErr = kcore.NewMap(segs, f.RAM)
	if fields := strings.Fields(f.symbol); len(fields) >= 3 {
		if v, err := strconv.ParseUint(fields[0], 16, 64); err == nil && v != 0 {
			f.BannerAddress, _ = kcore.Physical(segs, v)
		}
	}
}

// sections splits the output of facts.sh at its markers.
func sections(out []byte, nonce string) (map[string]string, error) {
	sec := map[string]string{}
	mark := []byte("\n@@" + nonce + " ")
	parts := bytes.Split(out, mark)
	for _, p := range parts[1:] {
		name, body, _ := bytes.Cut(p, []byte{'\n'})
		sec[string(name)] = string(body)
	}
	if _, ok := sec["end"]; !ok {
		return nil, errors.New("the facts of the target ended early")
	}
	return sec, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// bracketed returns the chosen word of "none [integrity] confidentiality".
func bracketed(s string) string {
	_, s, ok := strings.Cut(s, "[")
	if !ok {
		return ""
	}
	s, _, _ = strings.Cut(s, "]")
	return s
}

func osName(text string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

func meminfo(text string) (total, available int64) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 53)
		if err != nil {
			continue
		}
		switch fields[0] {
		case "MemTotal:":
			total = n << 10
		case "MemAvailable:":
			available = n << 10
		}
	}
	return total, available
}

// parseSwaps reads /proc/swaps, whose sizes are in KiB.
func parseSwaps(text string) []Swap {
	swaps := []Swap{}
	sc := bufio.NewScanner(strings.NewReader(text))
	for sc.Scan() {
		fields := strings.Fields(sc.Text())
		if len(fields) < 4 || fields[0] == "Filename" {
			continue
		}
		size, err1 := strconv.ParseInt(fields[2], 10, 53)
		used, err2 := strconv.ParseInt(fields[3], 10, 53)
		if err1 != nil || err2 != nil || size < 0 || used < 0 {
			continue
		}
		s := Swap{Name: live.Unescape(fields[0]), Type: fields[1], Bytes: size << 10, Used: used << 10}
		if len(fields) > 4 {
			s.Priority, _ = strconv.Atoi(fields[4])
		}
		if strings.HasPrefix(s.Name, "/dev/zram") {
			s.Type = "zram" // lies in RAM, compressed: the image holds it, but as zram's pages
		}
		swaps = append(swaps, s)
	}
	return swaps
}

// listening reads the local ports of rows of /proc/net/tcp and tcp6.
func listening(rows string) map[int]bool {
	ports := map[int]bool{}
	for line := range strings.Lines(rows) {
		if row, ok := parseSocket(line); ok {
			ports[row.localPort] = true
		}
	}
	return ports
}

// tcpBuffers sums up tcp_wmem and tcp_rmem, whose third numbers are the most that a socket
// takes. Without them it is the kernel's defaults (Documentation/networking/ip-sysctl).
func tcpBuffers(text string) (n int64) {
	lines := 0
	for line := range strings.Lines(text) {
		var least, normal, most int64
		if _, err := fmt.Sscan(line, &least, &normal, &most); err == nil && most > 0 && most < 1<<40 {
			n += most
			lines++
		}
	}
	if lines != 2 {
		return 4<<20 + 6<<20
	}
	return n
}

// ramFolder picks a folder on a tmpfs for the module, in this order; a disk
// would keep traces. It returns the folder and the file system's type.
func (f *Facts) ramFolder() (dir, fstype string) {
	types := map[string]string{}
	for line := range strings.Lines(f.mounts) {
		if m := strings.Fields(line); len(m) >= 4 {
			types[m[1]] = m[2]
			if slices.Contains(strings.Split(m[3], ","), "ro") {
				types[m[1]] = ""
			}
		}
	}
	for _, dir := range []string{"/dev/shm", "/run", "/tmp", "/var/run"} {
		if t := types[dir]; t == "tmpfs" || t == "ramfs" {
			return dir, t
		}
	}
	return "/tmp", "unknown, not in RAM"
}

// wantsSigned says that the kernel loads no module without a signature that it trusts: lockdown of
// either level does that too (kernel_lockdown(7)).
func (f *Facts) wantsSigned() bool {
	return f.SigEnforce || f.Lockdown == "integrity" || f.Lockdown == "confidentiality"
}

// SwapUsed is the sum of used swap, in bytes.
func (f *Facts) SwapUsed() int64 {
	var n int64
	for _, s := range f.Swap {
		n += s.Used
	}
	return n
}
