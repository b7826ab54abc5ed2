package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/stripe"
	"github.com/shotglass-ir/shotglass/acquire/wire"
	"github.com/shotglass-ir/shotglass/transport"
)

// A kcoreStream is a capture through /proc/kcore under way.
type kcoreStream struct {
	h      *remote
	src    *kcoreSource
	mark   string // in the command lines and environments of our processes on the target
	layout *layout
	zip    string         // of package wire; empty: pieces come as they are
	reader *stripe.Reader // nil: it never began
	image  *assembler
	runs   sync.WaitGroup // of lanes

	mu     sync.Mutex
	spare  *kcoreLane // over the plan's connection, until the reader asks for it
	bad    map[int64][]lime.Range
	lost   int64                // pages in bad
	reads  map[uint64]*ReadTime // by address / readEvery
	ticks  map[*kcoreLane]int64 // CPU time of each lane's processes
	orders int64                // that came compressed
	layErr string               // what became of the layout; valid after Cleanup
	looked bool                 // the layout was looked at again
}

// readEvery is the stretch of physical memory whose time of reading is recorded.
const readEvery = 64 << 20

// Read implements Stream.
func (st *kcoreStream) Read(p []byte) (int, error) { return st.image.Read(p) }

// Paced says that orders wait for the rate limit: what is read ahead counts before it comes.
func (st *kcoreStream) Paced() {}

// Received counts what arrived: pieces come before their turn, and a slow link takes long
// for a whole one.
func (st *kcoreStream) Received() int64 { return st.reader.Received() }

// Whole reports whether all has come, though it may wait here to be taken.
func (st *kcoreStream) Whole() bool { return st.reader.Whole() }

// Interrupt implements Stream.
func (st *kcoreStream) Interrupt() {
	if st.reader != nil {
		st.reader.Interrupt(errInterrupted)
	}
}

var errInterrupted = errors.New("the reading was interrupted")

// connect makes a lane over a connection of its own; the first one has that of the plan.
func (st *kcoreStream) connect(ctx context.Context) (stripe.Lane, error) {
	st.mu.Lock()
	l := st.spare
	st.spare = nil
	st.mu.Unlock()
	if l != nil {
		return l, nil
	}
	h := st.h
	was := h.conn.Info()
	conn, err := h.opts.Dialer.Dial(ctx, h.target)
	if err != nil {
		if final(err) {
			err = fmt.Errorf("%w: %w", stripe.ErrFatal, err)
		}
		return nil, err
	}
	h.logins.Add(1)
	if key := conn.Info().HostKey; key != was.HostKey {
		conn.Close()
		return nil, fmt.Errorf("%w: the machine that answers has another host key, %s", stripe.ErrFatal, key)
	}
	l, err = startLane(ctx, st, conn, true)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

// leastOfMost is how many unreadable pages there may be at least, beside 1 % of them and what the user
// accepts: each may take its own place in memory here. No honest kernel comes near.
const leastOfMost = 1 << 20

// mostUnreadable is how many there may be before the reading is given up.
func (st *kcoreStream) mostUnreadable() int64 {
	least := int64(leastOfMost)
	if n := st.h.opts.testOnlyMostUnreadable; n > 0 {
		least = n
	}
	var total int64
	for _, s := range st.layout.stretches {
		total += int64(s.Size / page)
	}
	return max(least, total/100, st.h.opts.AcceptUnreadable)
}

// pagesOf counts the pages of ranges.
func pagesOf(ranges []lime.Range) (n int64) {
	for _, r := range ranges {
		n += int64((r.Size() + page - 1) / page)
	}
	return n
}

// whole notes a piece that has come. The error ends the reading.
func (st *kcoreStream) whole(i int64, phys uint64, begun, ended time.Time, bad []lime.Range) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.lost -= pagesOf(st.bad[i])
	if delete(st.bad, i); len(bad) > 0 { // it may have come before, over a lane that died then
		if n, most := st.lost+pagesOf(bad), st.mostUnreadable(); n > most {
			return fmt.Errorf("%w: %d pages could not be read, and no more than %d are put up with: the target refuses its memory, or %s is not what it seems",
				stripe.ErrEnd, n, most, st.src.path)
		}
		st.bad[i] = bad
		st.lost += pagesOf(bad)
	}
	begun, ended = st.h.clock.at(begun), st.h.clock.at(ended)
	k := phys / readEvery
	t := st.reads[k]
	if t == nil {
		st.reads[k] = &ReadTime{Addr: lime.Addr(phys), First: begun, Last: ended}
		return nil
	}
	t.Addr = min(t.Addr, lime.Addr(phys))
	if begun.Before(t.First) {
		t.First = begun
	}
	if ended.After(t.Last) {
		t.Last = ended
	}
	return nil
}

// spent notes the CPU time that a lane's processes have taken so far.
func (st *kcoreStream) spent(l *kcoreLane, ticks int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ticks[l] = ticks
	st.orders++
}

// wireUse is for the manifest. st.mu is held.
func (st *kcoreStream) wireUse() *WireUse {
	if st.zip == "" {
		return nil
	}
	u := &WireUse{Command: wire.Command(st.zip), Processes: 2 * st.orders}
	for l, ticks := range st.ticks {
		u.Raw += l.received.Load()
		u.Wire += l.wire.Load()
		u.CPU += float64(ticks) / ticksPerSecond
	}
	return u
}

// endGrace is how long processes on the target get to see that they are no longer wanted.
const endGrace = 10 * time.Second

// Cleanup ends all lanes and looks whether their processes have ended, and whether memory
// still lies where it lay. The target has no file of ours, and no module.
func (st *kcoreStream) Cleanup(ctx context.Context) *Cleanup {
	if st.reader != nil {
		st.reader.Close()
	}
	if st.spare != nil {
		st.spare.Close()
	}
	st.runs.Wait()
	ctx, cancel := context.WithTimeout(ctx, st.h.opts.CleanupTimeout)
	defer cancel()
	c := new(Cleanup)
	seen, err := st.lookAgain(ctx)
	switch {
	case err != nil:
		c.Left = []string{fmt.Sprintf("not checked (%v): a shell and dd may wait until the target's SSH server notices that the connection is gone; they end then, and write nothing", err)}
	case !seen.searched:
		c.Left = []string{"not checked (the target cannot look for processes): a shell and dd may wait for the connection to end; they write nothing"}
	case seen.pids != "":
		c.Left = []string{fmt.Sprintf("processes %q", seen.pids)}
	}
	if err == nil {
		c.Taint = seen.taint
		st.looked, st.layErr = true, seen.differs(st.h.facts.BootID, st.h.facts.RAM, st.h.facts.segments)
	}
	if c.Clean = len(c.Left) == 0; !c.Clean {
		c.Fix = sshCommand(st.h.conn.Info(), "sudo pkill -f "+st.mark)
	}
	return c
}

// lookAgain looks at the target after the capture, over a new connection if need be.
func (st *kcoreStream) lookAgain(ctx context.Context) (*kcoreLook, error) {
	if err := st.h.alive(ctx); err != nil {
		return nil, err
	}
	return st.src.look(ctx, st.h, headBytes(st.h.facts.segments), st.mark, endGrace)
}

// Record writes what the source knows into the manifest.
func (st *kcoreStream) Record(m *Manifest) {
	f := st.h.facts
	use := &KcoreUse{Rule: f.kcore.Rule(), Segments: len(f.segments), Piece: st.src.piece}
	if st.reader != nil {
		use.Connections = st.reader.Stats()
	}
	if st.looked {
		use.Layout = "unchanged"
		if st.layErr != "" {
			use.Layout = st.layErr
		}
	}
	m.Method.Kcore = use
	st.mu.Lock()
	defer st.mu.Unlock()
	m.Method.Wire = st.wireUse()
	m.Unreadable = st.unreadable()
	m.Reads = nil
	for _, k := range slices.Sorted(maps.Keys(st.reads)) {
		m.Reads = append(m.Reads, *st.reads[k])
	}
}

// maxUnreadable bounds the list in the manifest. The count goes on.
const maxUnreadable = 4096

// unreadable sums up the pages that could not be read. st.mu is held.
func (st *kcoreStream) unreadable() *Unreadable {
	u := &Unreadable{Accepted: st.h.opts.AcceptUnreadable}
	var all []lime.Range
	for _, i := range slices.Sorted(maps.Keys(st.bad)) {
		all = append(all, st.bad[i]...)
	}
	for _, r := range lime.Coalesce(all) {
		u.Pages += int64((r.Size() + page - 1) / page)
		if len(u.Ranges) < maxUnreadable {
			u.Ranges = append(u.Ranges, r)
		} else {
			u.More++
		}
	}
	return u
}

// sshCommand is the command line that runs script on the target of a connection.
func sshCommand(info transport.Info, script string) string {
	host, port, err := net.SplitHostPort(info.Addr)
	if err != nil {
		host, port = info.Addr, "22"
	}
	var jumps string
	for i, j := range info.Jumps {
		jumps += map[bool]string{true: "-J ", false: ","}[i == 0] + j.User + "@" + j.Addr
	}
	if jumps != "" {
		jumps += " "
	}
	return fmt.Sprintf("ssh %s-p %s %s '%s'", jumps, port, transport.Quote(info.User+"@"+host), strings.ReplaceAll(script, "'", `'\''`))
}

var (
	_ Stream    = (*kcoreStream)(nil)
	_ io.Reader = (*kcoreStream)(nil)
)
