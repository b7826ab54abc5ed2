//go:build e2e

package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// counters is a program that writes one number into pages all over its memory, in order, again and
// again. At any moment two of them differ by one at most, the earlier one ahead; in an image that is
// not of one moment they differ by more. Each page is known by two marks that lie
// together nowhere else.
const (
	counters     = 512
	countersMark = "shotglass linked"
	countersCode = `
my ($n, $step, $a, $b) = (%d, 128 << 10, "shotglas", "s linked");
my $buf = "\0" x ($n * $step);
for my $i (0 .. $n - 1) {
	substr($buf, $i * $step, 8) = $a;
	substr($buf, $i * $step + 8, 8) = $b;
	substr($buf, $i * $step + 16, 8) = pack("Q<", $i);
}
for (my $c = 1; ; $c++) {
	my $w = pack("Q<", $c);
	substr($buf, $_ * $step + 24, 8) = $w for 0 .. $n - 1;
	select(undef, undef, undef, 0.002);
}`
)

// inconsistent counts the pairs of distant counters in a raw image which no single moment
// has shown, of all pairs that are there.
func inconsistent(t *testing.T, raw string) (bad, pairs int) {
	t.Helper()
	data, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	value, times := map[uint64]uint64{}, map[uint64]int{}
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte(countersMark))
		if i < 0 {
			break
		}
		at += i + len(countersMark)
		if len(data)-at < 16 {
			break
		}
		index := binary.LittleEndian.Uint64(data[at:])
		times[index]++
		// A page that the kernel has moved is there twice. The program only counts up, so that the highest
		// number is that of the page in use.
		value[index] = max(value[index], binary.LittleEndian.Uint64(data[at+8:]))
	}
	for i := range uint64(counters / 2) {
		if times[i] == 0 || times[i+counters/2] == 0 {
			continue
		}
		first, second := value[i], value[i+counters/2]
		if pairs++; first != second && first != second+1 {
			bad++
		}
	}
	return bad, pairs
}

const unit = "/sys/fs/cgroup/system.slice/counters.service/"

// frozen tells whether the counters stand still, from the kernel and from the time that they use.
func (r *rig) frozen() bool {
	r.t.Helper()
	out := r.ssh("grep frozen " + unit + "cgroup.events; grep usage_usec " + unit + "cpu.stat; sleep 1; grep usage_usec " + unit + "cpu.stat")
	f := strings.Fields(out)
	if len(f) != 6 || (f[1] == "1") != (f[3] == f[5]) {
		r.t.Fatalf("the counters' cgroup says %q", out)
	}
	return f[1] == "1"
}

func (r *rig) noFreezers(limit time.Duration) {
	r.t.Helper()
	r.eventually(limit, "the watchdog is gone", func() bool {
		return strings.TrimSpace(r.ssh(`{ ps -eo args= || echo sudo: no ps here; } | grep -E '^(/bin/sh -c while IFS|sudo|sleep 1[0-9]|sleep 30)'; true`)) == ""
	})
}

// TestFreeze stops a workload while its memory is read, and counts what that is worth.
func TestFreeze(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.push(fmt.Appendf(nil, countersCode, counters), "/dev/shm/counters")
	r.ssh("systemd-run -q --unit=counters perl /dev/shm/counters; systemd-run -q --unit=iced sleep 9999; echo 1 >/sys/fs/cgroup/system.slice/iced.service/cgroup.freeze")
	iced := func() {
		t.Helper()
		if out := r.ssh("cat /sys/fs/cgroup/system.slice/iced.service/cgroup.freeze"); out != "1\n" {
			t.Errorf("what somebody else froze: cgroup.freeze is %q", out)
		}
	}
	plan := func(user string, more ...string) []string {
		return append(append(append([]string{"plan", "--method", "kcore", "--freeze"}, r.target(user)...), more...), "127.0.0.1")
	}
	t.Run("plan", func(t *testing.T) {
		r := rigOf(t, r.guest)
		p := start(t, nil, plan("ops")...)
		p.want(0, time.Minute)
		for _, want := range []string{"freeze", "/system.slice/counters.service: 1 process, \"perl\"", "goes on", "/init.scope: systemd: PID 1",
			"/system.slice/ssh.service: sshd: our own session", "/system.slice/systemd-journald.service: systemd-journal: logins and sudo wait",
			"/system.slice/iced.service: somebody froze it before"} {
			if !strings.Contains(strings.Join(strings.Fields(p.stdout.String()), " "), want) {
				t.Errorf("the plan does not say %q:\n%s", want, p.stdout.String())
			}
		}
		p = start(t, nil, plan("ops", "--freeze-exempt", "counters.service", "--freeze-exempt", "nobody")...)
		p.want(1, time.Minute, "no process can be frozen")
		// A process that feeds a watchdog device.
		r.ssh("mknod /root/watchdog c 1 3; systemd-run -q --unit=feeder sh -c 'exec 3>/root/watchdog; sleep 9999; :'")
		r.eventually(10*time.Second, "the feeder is refused", func() bool {
			p = start(t, nil, plan("root")...)
			return p.code(time.Minute) == 1
		})
		p.want(1, time.Second, "holds a watchdog device", "--freeze-exempt 'feeder.service'")
		start(t, nil, plan("root", "--freeze-exempt", "feeder.service")...).want(0, time.Minute)
		r.ssh("systemctl stop feeder; rm /root/watchdog")
	})
	for _, method := range []string{"kcore", "lime"} {
		capture := func(t *testing.T, more ...string) (*rig, *run) {
			o := rigOf(t, r.guest)
			if method == "kcore" {
				return o, start(t, nil, o.kcore("ops", append(more, "--connections", "2")...)...)
			}
			return o, start(t, nil, o.capture("ops", more...)...)
		}
		t.Run(method, func(t *testing.T) {
			o, p := capture(t)
			p.want(0, 5*time.Minute)
			bad, pairs := inconsistent(t, o.raw(o.manifest().Image.Location))
			t.Logf("%s: %d of %d pairs are inconsistent, read in %s", method, bad, pairs, o.manifest().Duration)
			if pairs < counters/2*9/10 || bad == 0 {
				t.Errorf("%d of %d pairs are inconsistent: the workload shows nothing", bad, pairs)
			}
		})
		t.Run(method+" frozen", func(t *testing.T) {
			o, p := capture(t, "--freeze")
			o.streaming(p)
			if !o.frozen() {
				t.Error("the counters go on while memory is read")
			}
			// A new login, and sudo with its log, while all that is frozen stands still.
			if out, err := r.guest.SSH(t.Context(), "ops", "sudo -n id -u"); err != nil || strings.TrimSpace(out) != "0" {
				t.Errorf("log in and sudo on a frozen host: %q, %v", out, err)
			}
			p.want(0, 5*time.Minute)
			if o.frozen() {
				t.Error("the counters are still frozen")
			}
			iced()
			o.noFreezers(2 * time.Second)
			m := o.manifest()
			f := m.Freeze
			first, last := m.ReadSpan()
			if f == nil || f.Lost != "" || len(f.Left) != 0 || !m.Footprint.Clean || f.Frozen.After(first) || f.Thawing.Before(last) || f.Thawed.Before(f.Thawing) {
				t.Fatalf("the manifest says %+v; memory was read from %s to %s", f, first, last)
			}
			found := false
			for _, g := range f.Cgroups {
				found = found || g.Path == "/system.slice/counters.service" && g.State == "frozen" && g.Processes == 1
			}
			if !found {
				t.Errorf("frozen: %+v", f.Cgroups)
			}
			bad, pairs := inconsistent(t, o.raw(m.Image.Location))
			t.Logf("%s, frozen for %s: %d of %d pairs are inconsistent, read in %s", method, f.Thawed.Sub(f.Begun), bad, pairs, m.Duration)
			if pairs < counters/2*9/10 || bad != 0 {
				t.Errorf("%d of %d pairs are inconsistent", bad, pairs)
			}
		})
	}
	t.Run("killed", func(t *testing.T) {
		o := rigOf(t, r.guest)
		p := start(t, nil, o.capture("ops", "--freeze")...)
		o.streaming(p)
		if !o.frozen() {
			t.Fatal("the counters go on: the test would prove nothing")
		}
		p.cmd.Process.Kill()
		<-p.done
		o.eventually(10*time.Second, "the target thaws by itself", func() bool { return !o.frozen() })
		o.noFreezers(10 * time.Second)
		o.clean(30 * time.Second)
		iced()
	})
	t.Run("link dead", func(t *testing.T) {
		o := rigOf(t, r.guest)
		p := start(t, nil, o.kcore("ops", "--freeze", "--freeze-lease", "10s", "--connections", "1", "--stall-timeout", "60s")...)
		o.streaming(p)
		link(t, o, false)
		begin := time.Now()
		o.eventually(time.Minute, "the lease ends", func() bool { return time.Since(begin) > 12*time.Second })
		link(t, o, true)
		// The link is back, the capture goes on; nobody but the guard has thawed.
		if o.frozen() {
			t.Error("the counters are still frozen after the lease")
		}
		p.want(3, 5*time.Minute, "processes of the target are frozen no more", "not frozen to the end")
		m := o.manifest()
		if !m.Complete || m.Freeze.Lost == "" || !m.Footprint.Clean {
			t.Errorf("complete %t, freeze %+v, footprint %+v", m.Complete, m.Freeze, m.Footprint)
		}
		o.noFreezers(time.Minute)
		iced()
	})
	t.Run("watchdog killed, interrupted", func(t *testing.T) {
		o := rigOf(t, r.guest)
		// So slow that memory is not all read before the new guard is seen, however busy this machine is.
		p := start(t, nil, o.kcore("ops", "--freeze", "--freeze-lease", "10s", "--connections", "1", "--compress", "none", "--limit-rate", "1MB/s")...)
		o.streaming(p)
		// The guard is the shell whose child sleeps for the lease; the other one starts a new one. One look by
		// ps: a slow walk over /proc would miss sleeps, which live for two beats.
		guard := func() string {
			return strings.TrimSpace(o.ssh(`ps -eo ppid=,args= | awk '$1 != 1 && $2 == "sleep" && $3 == "10" && NF == 3 { print $1; exit }'`))
		}
		var old string
		o.eventually(time.Minute, "a guard is there", func() bool { old = guard(); return old != "" })
		o.ssh("kill -KILL " + old)
		o.eventually(time.Minute, "a new guard is started", func() bool {
			now := guard()
			return now != "" && now != old && o.frozen()
		})
		p.cmd.Process.Signal(syscall.SIGINT)
		p.want(130, time.Minute)
		if o.frozen() {
			t.Error("the counters are still frozen")
		}
		if m := o.partial(); m.Freeze == nil || m.Freeze.Thawed.IsZero() || !m.Footprint.Clean {
			t.Errorf("freeze %+v, footprint %+v", m.Freeze, m.Footprint)
		}
		iced()
	})
}
