package acquire

import (
	"context"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/kcore"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/stripe"
)

//go:embed kcore.sh
var kcoreScript string

//go:embed kcorelook.sh
var kcoreLookScript string

//go:embed processes.sh
var processesScript string

// kcoreSource captures through /proc/kcore with what every target has: nothing is loaded
// into its kernel and no file of ours is written. It is for one step.
type kcoreSource struct {
	path   string // /proc/kcore; tests, and swap areas, have another
	direct string // "direct": it is read around the page cache

	piece       int  // bytes
	first, most int  // connections
	packed      bool // pieces come compressed
}

// MaxConnections to one target at once: with so many even 200 ms are not the limit.
const MaxConnections = 16

const (
	// targetRate is what the first connections should carry together, in bytes per
	// second: a wire of 1 Gbit/s. From there on it is measured.
	targetRate = 118e6
	// Pieces are whole pages. Many connections, which are far away and slow each, get smaller
	// ones, so that what waits for its turn takes less memory.
	largePiece, smallPiece = 4 << 20, 2 << 20
	fewConnections         = 4
)

func (*kcoreSource) Name() string { return MethodKcore }

// Probe refuses for every reason at once. The connections are planned here, since the
// memory that they take is admitted before the capture.
func (k *kcoreSource) Probe(ctx context.Context, h *remote) error {
	f := h.facts
	var errs []error
	refuse := func(hint, format string, args ...any) {
		errs = append(errs, &refusal{fmt.Sprintf(format, args...), hint})
	}
	if k.path == "" {
		k.path = "/proc/kcore"
	}
	k.packed = h.zip.tool != ""
	if k.most == 0 { // probed again before its turn, it keeps to what was admitted
		k.connections(h)
	}
	if f.Container != "" {
		refuse("connect to the host of the container", "the login is inside a container (%q)", f.Container)
	}
	const otherwise = "take a snapshot of the machine, or give a LiME module that the kernel accepts"
	switch {
	case f.Lockdown == "confidentiality":
		refuse(otherwise, "the kernel is locked down (confidentiality), which closes /proc/kcore")
	case f.kcoreDenied == "missing":
		refuse(otherwise, "there is no /proc/kcore: the kernel was built without CONFIG_PROC_KCORE, or /proc is hidden")
	case f.kcoreDenied != "":
		refuse("it takes root with CAP_SYS_RAWIO, a kernel that is not locked down (before 5.4 Secure Boot alone locks it), and no SELinux or AppArmor policy against it",
			"/proc/kcore cannot be opened: %q", f.kcoreDenied)
	case f.kcoreErr != nil:
		if short, ok := errors.AsType[*kcore.ShortError](f.kcoreErr); ok {
			if err := k.longHeaders(ctx, h, short.Need); err == nil {
				break
			} else {
				f.kcoreErr = err
			}
		}
		errs = append(errs, &hinted{f.kcoreErr, otherwise})
	case f.kcore == nil:
		refuse(otherwise, "/proc/kcore could not be read")
	}
	for _, t := range []string{"dd", "od", "grep", "cat", "sleep"} {
		if !f.tools[t] {
			refuse("", "the target has no %s", t)
		}
	}
	if f.kcore != nil {
		if _, err := newLayout(f.kcore, f.RAM, k.piece); err != nil {
			errs = append(errs, &hinted{err, otherwise})
		}
	}
	return errors.Join(errs...)
}

// connections decides how many there are to begin with, and at most: a channel carries
// 2 MiB per round trip.
func (k *kcoreSource) connections(h *remote) {
	rtt := h.conn.Info().RTT
	rate := float64(targetRate)
	if limit := h.opts.LimitRate; limit > 0 {
		rate = min(rate, float64(limit))
	}
	k.first = min(max(1, int(rate*rtt.Seconds()/channelWindow+0.999)), MaxConnections)
	k.most = min(max(4*k.first, fewConnections), MaxConnections)
	if n := h.opts.Connections; n > 0 {
		k.first, k.most = n, n
	}
	for { // a small budget has room for fewer
		k.piece = largePiece
		if k.most > fewConnections {
			k.piece = smallPiece
		}
		if limit := h.opts.LimitRate; limit > 0 { // several a second, or bytes would come in bursts
			k.piece = min(k.piece, max(limitChunk, int(limit/4)&^(limitChunk-1)))
		}
		if k.most == 1 || h.opts.Connections > 0 || h.opts.MemoryBudget <= 0 || k.memory() <= h.opts.MemoryBudget/2 {
			break
		}
		k.most--
	}
	k.first = min(k.first, k.most)
}

// memory is what the pieces take at once, in bytes.
func (k *kcoreSource) memory() int64 {
	n := stripe.Memory(k.most, k.piece)
	if k.packed {
		n += int64(k.most) * int64(k.piece)
	}
	return n
}

// longHeaders reads headers that facts.sh did not read to their end.
func (k *kcoreSource) longHeaders(ctx context.Context, h *remote, need int) error {
	look, err := k.look(ctx, h, need, "", 0)
	if err != nil {
		return err
	}
	h.facts.setKcore(look.segments, look.headErr)
	return h.facts.kcoreErr
}

// A kcoreLook is what kcorelook.sh saw.
type kcoreLook struct {
	boot     string
	ram      []lime.Range
	segments []kcore.Segment
	headErr  error // why there are no segments
	taint    string
	searched bool   // processes were looked for, and the search is known to work
	pids     string // of our processes
}

// look runs kcorelook.sh. head is how many bytes of headers to read; mark finds the processes
// of a capture that has ended, which get patience to end by themselves.
func (k *kcoreSource) look(ctx context.Context, h *remote, head int, mark string, patience time.Duration) (*kcoreLook, error) {
	nonce := newNonce()
	pages := (head + page - 1) / page
	out, err := h.root(ctx, processesScript+kcoreLookScript, nonce, k.path, strconv.Itoa(pages), mark, strconv.Itoa(int(patience.Seconds())))
	if err != nil {
		return nil, fmt.Errorf("look at /proc/kcore: %w", err)
	}
	sec, err := sections(out, nonce)
	if err != nil {
		return nil, errors.New("look at /proc/kcore: the target's answer ended early")
	}
	l := &kcoreLook{
		boot: strings.TrimSpace(sec["boot"]), taint: digits(strings.TrimSpace(sec["tainted"])),
		searched: strings.TrimSpace(sec["search"]) == "works", pids: strings.TrimSpace(sec["pids"]),
	}
	if l.ram, err = lime.ParseIOMem(strings.NewReader(sec["iomem"])); err != nil {
		return nil, fmt.Errorf("look at /proc/iomem: %w", err)
	}
	l.segments, l.headErr = parseHead(sec["kcore"])
	return l, nil
}

// parseHead reads the program headers from a dump in hexadecimal.
func parseHead(dump string) ([]kcore.Segment, error) {
	head, err := hex.DecodeString(strings.Join(strings.Fields(dump), ""))
	if err != nil {
		return nil, errors.New("the target sent no dump of /proc/kcore's headers")
	}
	if len(head) == 0 {
		return nil, errors.New("/proc/kcore could not be read")
	}
	return kcore.ParseHeader(head)
}

// headBytes is how much of /proc/kcore holds these segments, and as many notes and headers of
// other kinds as there may be.
func headBytes(segments []kcore.Segment) int { return 4*page + 64*len(segments) }

// differs says how what a layout rests on has changed, or nothing.
func (l *kcoreLook) differs(boot string, ram []lime.Range, segments []kcore.Segment) string {
	switch {
	case l.boot != boot:
		return "the target was rebooted"
	case !slices.Equal(l.ram, ram):
		return "the System RAM of /proc/iomem has changed: memory was added or removed"
	case l.headErr != nil:
		return fmt.Sprintf("the headers of /proc/kcore cannot be read any more: %v", l.headErr)
	case !slices.Equal(l.segments, segments):
		return "the headers of /proc/kcore have changed: memory was added or removed"
	}
	return ""
}

// Open looks again at what the plan rests on, makes the first connection's reader, and
// returns once it is ready.
func (k *kcoreSource) Open(ctx context.Context, h *remote) (Stream, *Cleanup, error) {
	f := h.facts
	st := &kcoreStream{h: h, src: k, mark: newNonce(), bad: map[int64][]lime.Range{}, reads: map[uint64]*ReadTime{}, zip: h.zip.tool, ticks: map[*kcoreLane]int64{}}
	seen, err := k.look(ctx, h, headBytes(f.segments), "", 0)
	if err != nil {
		return nil, nil, err
	}
	if change := seen.differs(f.BootID, f.RAM, f.segments); change != "" {
		return nil, nil, &refusal{change + " since the plan", "plan again"}
	}
	if st.layout, err = newLayout(f.kcore, f.RAM, k.piece); err != nil {
		return nil, nil, err
	}
	first, err := startLane(ctx, st, h.conn, false)
	if err != nil {
		st.runs.Wait()
		return st, st.Cleanup(context.WithoutCancel(ctx)), fmt.Errorf("start to read /proc/kcore: %w", err)
	}
	st.spare = first
	h.mark("reading /proc/kcore over %d connections, at most %d, in pieces of %d KiB", k.first, k.most, k.piece>>10)
	st.reader = stripe.Start(context.WithoutCancel(ctx), stripe.Options{
		Pieces: st.layout.pieces, Size: st.layout.sizeOf, Max: k.piece, Open: st.connect,
		Lanes: k.first, Most: k.most, RoundTrip: h.conn.Info().RTT, Quiet: h.opts.testOnlyQuiet,
		Event: func(s string) { h.mark("%s", s) },
	})
	st.image = &assembler{l: st.layout, from: st.reader}
	return st, nil, nil
}

var _ Source = (*kcoreSource)(nil)
