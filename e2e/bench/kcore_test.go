//go:build e2e

package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// BenchmarkStripes captures through /proc/kcore over links with a round trip of so many
// milliseconds, with one connection, with sixteen, and with as many as shotglass makes of it.
// The program is whole, from the plan to the manifest; sshd is real, and so are the shell and dd. Only
// /proc/kcore is a file that holds an image.
func BenchmarkStripes(b *testing.B) {
	whole := images(b)[0]
	for _, ms := range []int{0, 20, 80, 200} {
		for _, conns := range []int{1, 16, 0} {
			name := strconv.Itoa(conns)
			if conns == 0 {
				name = "auto"
			}
			b.Run(fmt.Sprintf("%dms/%s", ms, name), func(b *testing.B) {
				im := whole
				if conns == 1 && ms > 0 {
					im = part(b, whole, map[int]int64{20: 256, 80: 128, 200: 96}[ms])
				}
				striped(b, im, time.Duration(ms)*time.Millisecond, conns, name, acquire.ZipOff)
			})
		}
	}
}

// BenchmarkWire is one connection over a round trip of 200 ms, a wire of 10 MB/s: memory as it is, and
// compressed on the target by each of its compressors.
func BenchmarkWire(b *testing.B) {
	const rtt = 200 * time.Millisecond
	for i, whole := range images(b) {
		if i > 1 {
			break
		}
		for _, zip := range []string{acquire.ZipOff, "zstd", "lz4", "gzip"} {
			b.Run(whole.name+"/"+zip, func(b *testing.B) {
				striped(b, part(b, whole, 96), rtt, 1, "1, "+zip, zip)
			})
		}
	}
}

func striped(b *testing.B, im *image, rtt time.Duration, conns int, name, zip string) {
	dir := b.TempDir()
	if err := makeKcore(im, dir); err != nil {
		b.Fatal(err)
	}
	config := []string{fmt.Sprintf("ForceCommand %s=target %s %s", helperEnv, os.Args[0], dir), "MaxStartups 10:30:100"}
	var sshd *transporttest.Daemon
	if rtt > 0 {
		sshd = transporttest.ServeOpenSSHD(b, farListener(b, rtt), config...)
	} else {
		sshd = transporttest.OpenSSHD(b, config...)
	}
	b.SetBytes(im.size)
	for b.Loop() {
		out, err := os.MkdirTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		disk, err := sink.NewDisk(out)
		if err != nil {
			b.Fatal(err)
		}
		target := sshd.Target()
		begin := time.Now()
		plan, err := acquire.NewPlan(b.Context(), acquire.Jobs(target), acquire.Options{
			Dialer: transporttest.Dialer(b), Sink: disk, Method: acquire.MethodKcore, Connections: conns, CompressOnTarget: zip,
		})
		if err != nil {
			b.Fatal(err)
		}
		res := plan.Run(b.Context())[0]
		wall := time.Since(begin)
		plan.Close()
		if res.State != acquire.StateComplete || res.Image.Raw.SHA256 != im.sha256 {
			b.Fatalf("%s, raw digest %s, want %s: %v", res.State, res.Image.Raw.SHA256, im.sha256, res.Err)
		}
		data, err := os.ReadFile(res.Manifest)
		if err != nil {
			b.Fatal(err)
		}
		m, err := acquire.ParseManifest(data)
		if err != nil {
			b.Fatal(err)
		}
		os.RemoveAll(out)
		rate := float64(im.size) / 1e6 / res.Duration.Seconds()
		used := m.Method.Kcore.Connections
		b.ReportMetric(rate, "stream-MB/s")
		b.ReportMetric(float64(used.Most), "connections")
		b.ReportMetric(load(), "load")
		if w := m.Method.Wire; w != nil {
			b.ReportMetric(float64(w.Raw)/float64(w.Wire), "shrinks")
			b.ReportMetric(w.CPU*float64(1<<30)/float64(w.Raw), "target-cpu-s/GiB")
			name += fmt.Sprintf(", shrinks %.1f, %.1f CPU s/GiB there", float64(w.Raw)/float64(w.Wire), w.CPU*float64(1<<30)/float64(w.Raw))
		}
		limit := ""
		if rtt > 0 {
			limit = num("%.1f", window/1e6/rtt.Seconds())
		}
		addRow("Striping over connections", []string{"ms", "connections", "used", "MiB", "MB/s of the stream", "MB/s with login, samples and checks", "2 MiB per round trip", "load"},
			[]string{fmt.Sprint(rtt.Milliseconds()), name, fmt.Sprintf("%d to %d", used.First, used.Most), num("%.0f", float64(im.size>>20)),
				num("**%.1f**", rate), num("%.1f", float64(im.size)/1e6/wall.Seconds()), limit, num("%.1f", load())})
	}
}

// makeKcore writes what a kernel with this image for its memory would show in /proc.
func makeKcore(im *image, dir string) error {
	f, err := os.Open(im.path)
	if err != nil {
		return err
	}
	defer f.Close()
	rep, err := lime.Inspect(f, lime.WalkerOptions{})
	if err != nil {
		return err
	}
	core, err := os.Create(filepath.Join(dir, "kcore"))
	if err != nil {
		return err
	}
	defer core.Close()
	const base = 1 << 20
	le := binary.LittleEndian
	head := make([]byte, 64+56*len(rep.Ranges))
	copy(head, "\x7fELF\x02\x01\x01")
	le.PutUint16(head[16:], 4)
	le.PutUint64(head[32:], 64)
	le.PutUint16(head[54:], 56)
	le.PutUint16(head[56:], uint16(len(rep.Ranges)))
	var iomem strings.Builder
	for i, r := range rep.Ranges {
		fmt.Fprintf(&iomem, "%08x-%08x : System RAM\n", r.Range.Start, r.Range.End)
		s, e := (r.Range.Start+4095)&^4095, (r.Range.End+1)&^4095
		p := head[64+56*i:]
		le.PutUint32(p, 1)
		le.PutUint64(p[8:], base+s)
		le.PutUint64(p[16:], 0xffff888000000000+s)
		le.PutUint64(p[24:], s)
		le.PutUint64(p[32:], e-s)
		src := io.NewSectionReader(f, r.Offset+lime.HeaderSize+int64(s-r.Range.Start), int64(e-s))
		if _, err := io.Copy(io.NewOffsetWriter(core, int64(base+s)), src); err != nil {
			return err
		}
	}
	_, err = core.WriteAt(head, 0)
	return errors.Join(err,
		os.WriteFile(filepath.Join(dir, "iomem"), []byte(iomem.String()), 0o600),
		os.WriteFile(filepath.Join(dir, "version"), []byte(im.banner), 0o600),
		os.WriteFile(filepath.Join(dir, "kallsyms"), nil, 0o600))
}

var bootLine = regexp.MustCompile(`'?shotglass'? '?([0-9a-f]{16})'? '?([0-9]+)'?$`)

// target is the target's shell: it runs what sshd was asked to, with our files in place of those
// in /proc. This machine's own memory is never looked at.
func target(dir string) error {
	cmd := os.Getenv("SSH_ORIGINAL_COMMAND")
	m := bootLine.FindStringSubmatchIndex(strings.TrimSpace(cmd))
	if m == nil {
		c := exec.Command("/bin/sh", "-c", cmd)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		return c.Run()
	}
	size, _ := strconv.Atoi(cmd[m[4]:m[5]])
	in := bufio.NewReader(os.Stdin)
	nonce, err := in.ReadString('\n')
	script := make([]byte, size)
	if _, rerr := io.ReadFull(in, script); err != nil || rerr != nil {
		return errors.Join(err, rerr)
	}
	pairs := []string{"/.dockerenv", dir + "/none", "/run/systemd/container", dir + "/none"} // where the benchmark runs is no matter
	for _, name := range []string{"kcore", "iomem", "version", "kallsyms"} {
		pairs = append(pairs, "/proc/"+name, filepath.Join(dir, name))
	}
	text := strings.NewReplacer(pairs...).Replace(string(script))
	c := exec.Command("/bin/sh", "-c", cmd[:m[4]]+strconv.Itoa(len(text))+cmd[m[5]:])
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	w, err := c.StdinPipe()
	if err != nil {
		return err
	}
	go func() {
		io.Copy(w, io.MultiReader(strings.NewReader(nonce+text), in))
		w.Close()
	}()
	return c.Run()
}
