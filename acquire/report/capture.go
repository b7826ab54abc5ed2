package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/freeze"
	"github.com/shotglass-ir/shotglass/acquire/signature"
)

// view is the part of the page about one capture.
func (c *Case) view(x *Capture, anchor string, from, to time.Time) captureView {
	m, ph := x.Manifest, phasesOf(x.Manifest)
	v := captureView{
		Anchor: anchor, Host: x.host(), When: clock(ph.begin), Trouble: x.Trouble, Reasons: append(m.Reasons[:len(m.Reasons):len(m.Reasons)], x.swapReasons()...), Anomalies: m.Anomalies,
		Left: m.Footprint.Left, Fix: m.Footprint.Fix, Checks: m.Checks,
	}
	v.State, v.Class = x.state()
	t := ph.track(from, to, !m.Complete)
	v.Track = &t
	mean := 0.0
	if d := ph.flow(); d > 0 && !x.empty() {
		mean = float64(m.Image.Raw.Bytes) / d.Seconds()
		v.Summary = bytesText(m.Image.Raw.Bytes) + " in " + spanText(d) + ", " + rateText(mean)
	}
	v.Chart = chartOf(paces(m, 120), mean)
	for _, t := range m.Timeline {
		v.Moments = append(v.Moments, moment{clock(t.Time), "+" + spanText(t.Time.Sub(ph.begin)), t.Event})
	}
	v.Image, v.Target, v.Method = x.imagePairs(), x.targetPairs(), x.methodPairs()
	v.Footprint, v.Custody = x.footprintPairs(), c.custodyPairs(x)
	for _, s := range m.Options {
		if s.Origin != "default" {
			v.Options = append(v.Options, pair{s.Name, strings.ReplaceAll(s.Value, "\n", ", ") + " (" + s.Origin + ")"})
		}
	}
	for _, r := range x.Containments {
		v.Containments = append(v.Containments, r.view())
	}
	v.Triage = x.triageView()
	v.Commands = c.commands(x)
	return v
}

// A list of pairs leaves out what is not known.
type pairs []pair

func (p *pairs) add(name, format string, args ...any) {
	p.text(name, fmt.Sprintf(format, args...))
}

func (p *pairs) text(name, value string) {
	if value != "" {
		*p = append(*p, pair{name, value})
	}
}

func (x *Capture) imagePairs() pairs {
	var p pairs
	i := x.Image
	if x.empty() {
		p.text("Image", "none")
		return p
	}
	p.text("File", x.ImageFile)
	p.text("Written to", i.Location)
	p.add("Memory, SHA-256", "%s", i.Raw.SHA256)
	p.add("Memory, size", "%s bytes (%s)", grouped(i.Raw.Bytes), bytesText(i.Raw.Bytes))
	p.add("File, SHA-256", "%s", i.Stored.SHA256)
	p.add("File, size", "%s bytes (%s)", grouped(i.Stored.Bytes), bytesText(i.Stored.Bytes))
	p.add("Format", "%s, compression %s, encryption %s", i.Format, i.Compression, i.Encryption)
	p.text("Manifest", x.Interim)
	if x.Rescued != nil {
		p.text("Manifest", x.Rescued.Text())
	}
	p.text("Other image", x.otherText())
	if len(i.Recipients) > 0 {
		p.add("Encrypted to", "%s", strings.Join(i.Recipients, ", "))
	}
	for _, g := range i.Segments {
		p.add("Segment", "%s, %s bytes, sha256 %s", g.Name, grouped(g.Size), g.SHA256)
	}
	if f := i.Frames; f != nil {
		p.add("Frame index", "%s, %d frames, sha256 %s", f.Name, f.Count, f.SHA256)
	}
	for _, name := range []string{"crc64nvme", "sha256", "crc32c", "crc32"} {
		if i.Checksums[name] != "" {
			p.add("Service checksum", "%s %s", name, i.Checksums[name])
		}
	}
	p.text("Version", i.VersionID)
	p.text("Encrypted at rest", i.AtRest)
	switch v := x.Verified; {
	case v == nil && x.ImageFile == "":
		p.text("This report", "the image was not found")
	case v == nil:
		p.text("This report", "the file is there and has its size; it was not read")
	case len(v.Problems) == 0 && !v.Decoded:
		p.add("This report", "every byte of the file was read again: %s bytes, %d pieces; no mismatch. It is encrypted: the memory in it was not looked at", grouped(v.Stored), v.Pieces)
	case len(v.Problems) == 0:
		p.add("This report", "read again in full: %s bytes of the file, %s bytes of memory, %d frames; no mismatch", grouped(v.Stored), grouped(v.Raw), v.Frames)
	default:
		p.add("This report", "read again: %s", plural(len(v.Problems), "mismatch", "mismatches"))
	}
	return p
}

// otherText says why the host has another image.
func (x *Capture) otherText() string {
	o := x.Other
	if o == nil {
		return ""
	}
	if o.Order == "after" {
		return fmt.Sprintf("the content of this one was rejected (%s); %s was to be taken through %s in its place", strings.Join(o.Rejected, ", "), o.Name, o.Source)
	}
	text := fmt.Sprintf("taken since the content of %s, through %s, was rejected (%s)", o.Name, o.Source, strings.Join(o.Rejected, ", "))
	if o.Manifest != nil {
		text += "; its manifest " + o.Manifest.Name + " has sha256 " + o.Manifest.SHA256
	}
	return text
}

func (x *Capture) targetPairs() pairs {
	var p pairs
	in := x.Target.Connection
	p.add("Reached", "%s as %s", in.Addr, in.User)
	p.text("Address", in.RemoteAddr)
	p.add("Host key", "%s %s (%s)", in.HostKeyType, in.HostKey, in.HostKeyTrust)
	for _, j := range in.Jumps {
		p.add("Through", "%s@%s, %s (%s)", j.User, j.Addr, j.HostKey, j.HostKeyTrust)
	}
	p.text("Through", in.ProxyCommand)
	if in.RTT > 0 {
		p.text("Round trip", spanText(in.RTT))
	}
	if f := x.Target.Facts; f != nil {
		p.text("Calls itself", f.Hostname)
		p.text("System", f.OS)
		p.add("Kernel", "%s %s", f.Kernel, f.Machine)
		p.text("Machine ID", f.MachineID)
		p.text("Boot ID", f.BootID)
		p.text("Instance", f.InstanceID)
		p.text("Hardware", strings.TrimSpace(f.Vendor+" "+f.Product))
		p.text("Running for", spanText(f.Uptime))
		p.add("Clock", "%s from the examiner's, give or take %s", spanText(f.ClockOffset), spanText(f.ClockError))
		p.text("Lockdown", f.Lockdown)
	}
	for _, s := range x.Swap {
		p.add("Swap", "%s, %s, %s used: not in the image", s.Name, bytesText(s.Bytes), bytesText(s.Used))
	}
	p = append(p, x.swapPairs()...)
	p = append(p, x.livePairs()...)
	for _, k := range slices.Sorted(maps.Keys(x.Labels)) {
		p.text("Label "+k, x.Labels[k])
	}
	return p
}

func (x *Capture) methodPairs() pairs {
	var p pairs
	p.text("Source", x.Method.Source)
	if first, last := x.ReadSpan(); !first.IsZero() {
		what := "Read"
		if x.Method.Buffered > 0 {
			what = "Received"
		}
		p.add(what, "%s to %s UTC: %s for the whole of memory", clock(first), clock(last), spanText(last.Sub(first)))
	}
	if f := x.Freeze; f != nil {
		cgroups, processes := f.Stood()
		span := fmt.Sprintf("frozen from %s to %s UTC", clock(f.Frozen), clock(f.Thawing))
		if f.Thawing.IsZero() {
			span = fmt.Sprintf("frozen at %s UTC, and until when is not known, as the capture was killed", clock(f.Frozen))
		}
		p.add("User processes", "%s in %s %s; %s went on as intended", plural(processes, "process", "processes"), plural(cgroups, "cgroup", "cgroups"),
			span, plural(freeze.Processes(f.Kept), "process", "processes"))
		if n := len(f.Cgroups) - cgroups; n > 0 {
			p.add("Not frozen throughout", "%s that should have been, or not in whole: see the manifest", plural(n, "cgroup", "cgroups"))
		}
		p.text("Not frozen to the end", f.Lost)
	}
	p.text("Root by", x.Method.Privilege)
	p.text("Parameters", strings.Join(x.Method.Parameters, " "))
	if m := x.Module; m != nil {
		p.text("Module SHA-256", m.SHA256)
		p.text("Module from", m.Origin)
		p.text("Vouched for by", m.Signature)
		p.text("Vermagic", strings.TrimSpace(m.Vermagic))
	}
	if peer := x.Method.Peer; peer != nil {
		word := "not verified"
		if peer.Verified {
			word = "verified"
		}
		p.add("Only reader", "%s: %s", word, peer.Detail)
	}
	return p
}

func (x *Capture) footprintPairs() pairs {
	var p pairs
	f := x.Footprint
	switch {
	case len(f.Left) > 0:
		p.text("Left", strings.Join(f.Left, ", "))
		p.text("To remove it", f.Fix)
	case f.Clean:
		p.text("Left", "nothing: checked")
	default:
		p.text("Left", "not checked")
		p.text("To remove it", f.Fix)
	}
	p.add("Commands", "%d, of which through sudo %d", f.Commands, f.Sudo)
	if f.BytesPushed > 0 {
		p.add("Written to it", "%s bytes to %s", grouped(f.BytesPushed), f.PushedTo)
	}
	if f.TaintAfter != "" {
		p.add("Kernel taint", "%s before, %s after", f.TaintBefore, f.TaintAfter)
	}
	return p
}

func (c *Case) custodyPairs(x *Capture) pairs {
	var p pairs
	p.text("Case", x.Manifest.Case)
	p.text("Operator", x.Operator)
	p.add("Program", "%s %s", x.Manifest.Tool.Name, x.Manifest.Tool.Version)
	p.text("Program SHA-256", x.Manifest.Tool.SHA256)
	p.add("Manifest", "%s, %s bytes", x.File, grouped(x.Bytes))
	p.text("Manifest SHA-256", x.SHA256)
	p.add("Made", "%s UTC", clock(x.Created))
	p.text("Signature", signatureText(x.Signature))
	if r := x.Previous; r != nil && r.Line > 0 {
		p.add("Audit log", "%s, after line %d with digest %s", r.Name, r.Line, r.SHA256)
	}
	return p
}

// signatureText says what a signature is worth.
func signatureText(s acquire.SignatureState) string {
	switch {
	case s.Trusted:
		return fmt.Sprintf("good, by %s (%s), allowed by %s", s.Principal, s.Fingerprint, s.Source)
	case s.Valid:
		return fmt.Sprintf("holds, by %s, who is not an allowed signer: %s", s.Fingerprint, s.Detail)
	case s.Present:
		return "BAD: " + s.Detail
	}
	return "none"
}

// commands check a capture with stock tools. The names are those of the files, which were
// found under them.
func (c *Case) commands(x *Capture) string {
	signers, who := "allowed_signers", "PRINCIPAL"
	if c.SignersName != "" {
		signers = quote(c.SignersName)
	}
	if x.Signature.Trusted && x.Signature.Principal != "" && !strings.ContainsAny(x.Signature.Principal, "*?!") {
		who = quote(strings.Split(x.Signature.Principal, ",")[0])
	}
	var b strings.Builder
	local := ""
	if strings.HasPrefix(x.Place, "s3://") {
		fmt.Fprintf(&b, "aws s3 cp --recursive --exclude '*' --include %s %s .\n", quote(strings.TrimSuffix(imageName(x.File), ".lime")+"*"), quote(strings.TrimSuffix(x.Place, "/")+"/"))
	} else {
		local = "cd " + quote(x.Place) + "\n"
	}
	b.WriteString(local)
	file := quote(x.File)
	fmt.Fprintf(&b, "sha256sum %s      # %s\n", file, x.SHA256)
	fmt.Fprintf(&b, "ssh-keygen -Y verify -f %s -I %s -n %s -s %s < %s\n", signers, who, signature.Namespace, quote(x.File+".sig"), file)
	if x.ImageFile == "" {
		return b.String()
	}
	img := quote(x.ImageFile)
	sha, unpack, age, piped := "sha256sum "+img, map[string]string{"zstd": "zstd -dc", "s2": "s2d -c"}[x.Image.Compression], "age -d -i KEY "+img, ""
	if list := x.Image.Segments; len(list) > 0 { // nothing is written: what is there stays
		piped = "cat"
		for _, g := range list {
			piped += " " + quote(g.Name)
		}
		piped, sha, age, img = piped+" | ", "sha256sum", "age -d -i KEY", "-"
	}
	fmt.Fprintf(&b, "%s%s      # %s\n", piped, sha, digest(x.Image.Stored.SHA256))
	raw := digest(x.Image.Raw.SHA256)
	switch {
	case x.Image.Encryption == "age" && unpack != "":
		fmt.Fprintf(&b, "%s%s | %s - | sha256sum      # %s\n", piped, age, unpack, raw)
	case x.Image.Encryption == "age":
		fmt.Fprintf(&b, "%s%s | sha256sum      # %s\n", piped, age, raw)
	case x.Image.Encryption != "" && x.Image.Encryption != "none":
		b.WriteString("# encrypted: decrypt it with its identity, then compare the digest of the memory\n")
	case unpack != "":
		fmt.Fprintf(&b, "%s%s %s | sha256sum      # %s\n", piped, unpack, img, raw)
	}
	x.swapCommands(&b)
	x.liveCommands(&b)
	return b.String()
}
