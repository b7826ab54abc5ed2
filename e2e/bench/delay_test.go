//go:build e2e

package bench

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// BenchmarkDelay captures over a link with a round trip of so many milliseconds, without loss:
// 0 is the loopback device. LiME serves one connection, which is one channel of SSH with a
// window of 2 MiB in x/crypto and OpenSSH alike: 2 MiB per round trip is the limit.
// The link delays packets in a process of its own between two network
// namespaces, since not every kernel has netem.
func BenchmarkDelay(b *testing.B) {
	whole := images(b)[0]
	for _, c := range []struct {
		ms  int
		mib int64 // so that it takes seconds
	}{{0, 512}, {20, 256}, {80, 128}, {200, 96}} {
		b.Run(strconv.Itoa(c.ms)+"ms", func(b *testing.B) {
			im := whole
			if c.mib < 512 {
				im = part(b, whole, c.mib)
			}
			for _, who := range []contender{capture(frame.Zstd), pipe(openssl), margaritaWork} {
				b.Run(who.name, func(b *testing.B) {
					delayed(b, im, time.Duration(c.ms)*time.Millisecond, who)
				})
			}
		})
	}
}

// window is what SSH has under way on one channel, at most.
const window = 2 << 20

func delayed(b *testing.B, im *image, rtt time.Duration, who contender) {
	r := newRig(b, im)
	if rtt > 0 {
		r.sshd = transporttest.ServeOpenSSHD(b, farListener(b, rtt))
	}
	conn, err := transporttest.Dialer(b).Dial(b.Context(), r.sshd.Target())
	if err != nil {
		b.Fatal(err)
	}
	measured := conn.Info().RTT
	conn.Close()
	if measured < rtt || measured > rtt+rtt/2+20*time.Millisecond {
		b.Fatalf("the round trip is %v, wanted %v", measured, rtt)
	}
	b.SetBytes(im.size)
	var runs []usage
	var login time.Duration
	for b.Loop() {
		login = max(login, r.login(b, who))
		dir, err := os.MkdirTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		u := who.run(b, r, dir)
		os.RemoveAll(dir)
		if u.stream == 0 {
			u.stream = u.wall - login
		}
		runs = append(runs, u)
	}
	size := float64(im.size) / 1e6
	stream := of(runs, func(u usage) float64 { return size / u.stream.Seconds() })
	b.ReportMetric(of(runs, func(u usage) float64 { return float64(u.wall.Nanoseconds()) }), "ns/op")
	b.ReportMetric(of(runs, r.rate), "MB/s")
	b.ReportMetric(stream, "stream-MB/s")
	b.ReportMetric(float64(measured.Microseconds())/1000, "rtt-ms")
	b.ReportMetric(of(runs, r.perGiB), "cpu-s/GiB")
	b.ReportMetric(load(), "load")
	cells := []string{
		fmt.Sprint(rtt.Milliseconds()), who.name, num("%.0f", float64(im.size>>20)),
		num("%.1f", of(runs, r.rate)), num("%.1f", stream), "", "", num("%.2f", of(runs, r.perGiB)), num("%.1f", load()),
	}
	if rtt > 0 {
		limit := window / 1e6 / rtt.Seconds()
		b.ReportMetric(stream/limit, "of-limit")
		cells[5], cells[6] = num("%.1f", limit), num("**%.2f**", stream/limit)
	}
	addRow("Round trips", []string{"ms", "client", "MiB", "MB/s with login", "MB/s of the stream", "2 MiB per round trip", "of that", "CPU s/GiB", "load"}, cells)
}

// login is how long ssh takes to run a command that does nothing: what a pipe spends before
// its stream. The others say themselves.
func (r *rig) login(b *testing.B, who contender) time.Duration {
	if who.name != pipe(openssl).name {
		return 0
	}
	begin := time.Now()
	if out, err := r.pipe(b, b.TempDir(), "$SSH true </dev/null", "true").CombinedOutput(); err != nil {
		b.Fatalf("ssh true: %v: %s", err, out)
	}
	return time.Since(begin)
}

const nearIP, farIP = "198.18.0.1", "198.18.0.2" // of the block for benchmarks, RFC 2544

// farListener listens in another network namespace, rtt away from this one.
func farListener(b *testing.B, rtt time.Duration) net.Listener {
	if os.Getenv(netEnv) == "" {
		b.Skip("a link with a delay needs root, and a kernel with network namespaces and TUN")
	}
	near, err := tun("near", nearIP)
	if err != nil {
		b.Skip(err)
	}
	defer near.Close()
	type end struct {
		l   net.Listener
		tun *os.File
		err error
	}
	made := make(chan end)
	go func() {
		// The thread ends with the goroutine: no other gets into the namespace. That one
		// lives as long as the listener and the device.
		runtime.LockOSThread()
		var e end
		if e.err = unix.Unshare(unix.CLONE_NEWNET); e.err == nil {
			e.tun, e.err = tun("far", farIP)
		}
		if e.err == nil {
			e.l, e.err = net.Listen("tcp4", farIP+":0")
		}
		made <- e
	}()
	far := <-made
	if far.err != nil {
		b.Fatal(far.err)
	}
	defer far.tun.Close()
	startHelper(b, []*os.File{near, far.tun}, "delay", (rtt / 2).String())
	return far.l
}

// forward carries packets between the devices of the files 3 and 4, each after a delay.
func forward(args []string) error {
	delay, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	for _, fd := range []int{3, 4} {
		if err := unix.SetNonblock(fd, false); err != nil {
			return err
		}
	}
	failed := make(chan error)
	for _, way := range [][2]int{{3, 4}, {4, 3}} {
		go func() { failed <- carry(way[0], way[1], delay) }()
	}
	fmt.Println("forwarding")
	return <-failed
}

func carry(from, to int, delay time.Duration) error {
	type packet struct {
		due  time.Time
		data []byte
	}
	waiting, free := make(chan packet, queue), make(chan []byte, queue)
	failed := make(chan error, 1)
	go func() {
		for p := range waiting {
			time.Sleep(time.Until(p.due))
			if _, err := unix.Write(to, p.data); err != nil {
				failed <- fmt.Errorf("send a packet: %w", err)
				return
			}
			select {
			case free <- p.data:
			default:
			}
		}
	}()
	for {
		var buf []byte
		select {
		case buf = <-free:
		default:
			buf = make([]byte, mtu)
		}
		n, err := unix.Read(from, buf[:mtu])
		if err != nil {
			return fmt.Errorf("receive a packet: %w", err)
		}
		select {
		case waiting <- packet{time.Now().Add(delay), buf[:n]}:
		case err := <-failed:
			return err
		}
	}
}
