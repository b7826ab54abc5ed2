package acquire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/shotglass-ir/shotglass/acquire/avml"
)

// AvmlUse is how memory was read with AVML.
type AvmlUse struct {
	Avml
	Version  string `json:"version"` // as it says
	Path     string `json:"path"`    // where it lay on the target, before it was unlinked
	From     string `json:"from"`    // what it read
	Format   string `json:"format"`  // of its records: lime or snappy
	Records  int64  `json:"records"`
	Bytes    int64  `json:"memory_bytes"`          // in them
	ExitCode string `json:"exit_status,omitempty"` // empty: not known
}

// An avmlStream is a capture with AVML under way.
type avmlStream struct {
	h    *remote
	src  *avmlSource
	bin  *Avml
	mark string // in the command lines and environments of our processes on the target
	dir  string

	out      *io.PipeReader
	image    *avml.Reader
	stderr   tail
	reports  chan report
	done     chan struct{} // closed when the script has ended
	err      error         // why; valid then
	cancel   context.CancelFunc
	run      sync.WaitGroup
	received atomic.Int64 // bytes of the stream
	read     atomic.Int64 // bytes that AVML says it has read

	once  sync.Once
	first chan struct{} // closed when the first byte came

	mu      sync.Mutex
	pushed  int64
	version string
	exit    string // AVML's status
}

func newAvmlReader(st *avmlStream) *avml.Reader {
	return avml.NewReader(st.out, st.h.facts.RAM, st.ending)
}

// Read implements Stream.
func (st *avmlStream) Read(p []byte) (int, error) { return st.image.Read(p) }

// Received counts what arrived, and what AVML has read meanwhile: it is silent while memory is zeros.
func (st *avmlStream) Received() int64 { return st.received.Load() + st.read.Load() }

// ending says whether AVML wrote all that it meant to.
func (st *avmlStream) ending() error {
	<-st.done
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.exit == "0":
		return nil
	case st.exit != "":
		return &hinted{fmt.Errorf("AVML ended with status %q: %q", st.exit, st.stderr.String()),
			"AVML gives up at the first page that it cannot read; --method kcore goes on after it"}
	}
	return fmt.Errorf("AVML's end is not known: %w", st.ended())
}

// ended is why the script has ended.
func (st *avmlStream) ended() error {
	err := st.err
	if err == nil {
		err = errors.New("it ended by itself")
	}
	if msg := st.stderr.String(); msg != "" {
		return fmt.Errorf("%w: %q", err, msg)
	}
	return err
}

// report takes a line of the script. It never blocks.
func (st *avmlStream) report(line string) {
	f := strings.Fields(line)
	if len(f) == 0 {
		return
	}
	switch f[0] {
	case "read":
		if n, err := strconv.ParseInt(strings.Join(f[1:], ""), 10, 53); err == nil {
			st.read.Store(n)
		}
		return
	case "pushed":
		st.mu.Lock()
		st.pushed, st.version = st.bin.Size, strings.Join(f[1:], " ")
		st.mu.Unlock()
		return
	case "avml":
		st.mu.Lock()
		st.exit = "?"
		if len(f) > 1 {
			st.exit = f[1]
		}
		st.mu.Unlock()
		return
	}
	select {
	case st.reports <- report{word: f[0], args: f[1:]}:
	default:
	}
}

// Interrupt implements Stream.
func (st *avmlStream) Interrupt() {
	st.once.Do(func() {
		st.out.CloseWithError(errInterrupted)
		st.cancel()
	})
}

// Cleanup ends AVML, and looks whether its processes and its folder are gone.
func (st *avmlStream) Cleanup(ctx context.Context) *Cleanup {
	st.Interrupt()
	st.run.Wait()
	ctx, cancel := context.WithTimeout(ctx, st.h.opts.CleanupTimeout)
	defer cancel()
	c := new(Cleanup)
	err := st.lookAgain(ctx, c)
	if err != nil {
		c.Left = []string{fmt.Sprintf("not checked (%v): AVML may wait until the target's SSH server notices that the connection is gone, and ends then; the folder %s goes by itself within %s", err, st.dir, pushLimit)}
	}
	if c.Clean = len(c.Left) == 0; !c.Clean {
		c.Fix = sshCommand(st.h.conn.Info(), "sudo pkill -f "+st.mark+"; sudo rm -rf "+st.dir)
	}
	return c
}

func (st *avmlStream) lookAgain(ctx context.Context, c *Cleanup) error {
	h := st.h
	if err := h.alive(ctx); err != nil {
		return err
	}
	nonce := newNonce()
	out, err := h.rootSoon(ctx, processesScript+avmlCleanScript, nonce, st.mark, strconv.Itoa(int(endGrace.Seconds())), st.dir)
	if err != nil {
		return err
	}
	sec, err := sections(out, nonce)
	if err != nil {
		return errors.New("the check ended early")
	}
	one := func(name string) string { return strings.TrimSpace(sec[name]) }
	if one("machine") != h.facts.MachineID {
		return fmt.Errorf("another machine answers now, its id is %q", one("machine"))
	}
	if one("boot") != h.facts.BootID {
		h.mark("the target has rebooted since the capture began")
	}
	if one("search") != "works" {
		return errors.New("the target cannot look for processes")
	}
	c.Taint = digits(one("tainted"))
	if pids := one("pids"); pids != "" {
		c.Left = append(c.Left, fmt.Sprintf("processes %q", pids))
	}
	if one("dir") != "" {
		c.Left = append(c.Left, "folder "+st.dir)
	}
	return nil
}

// Record writes what the source knows into the manifest.
func (st *avmlStream) Record(m *Manifest) {
	st.mu.Lock()
	defer st.mu.Unlock()
	use := &AvmlUse{Avml: *st.bin, Version: st.version, ExitCode: st.exit, Path: st.dir + "/avml", From: st.src.from, Format: st.image.Format()}
	use.Records, use.Bytes = st.image.Records()
	m.Method.Avml = use
	m.Method.Buffered = channelWindow + avmlBuffers
	m.Footprint.BytesPushed = st.pushed
	m.Footprint.PushedTo = st.dir + " on " + st.src.on
	u := &Unreadable{Accepted: st.h.opts.AcceptUnreadable}
	for _, r := range st.image.LeftOut() {
		u.Pages += int64(r.End/page - r.Start/page + 1)
		if len(u.Ranges) < maxUnreadable {
			u.Ranges = append(u.Ranges, r)
		} else {
			u.More++
		}
	}
	m.Unreadable = u
}

// avmlBuffers is what lies at most, beside the channel's window, between memory and here: a record of AVML's,
// and two pipes.
const avmlBuffers = 16<<20 + 2*64<<10

// A lineReader passes on the lines that begin with a prefix, without it, and writes the others to rest.
type lineReader struct {
	prefix string
	line   func(string)
	rest   io.Writer
	part   []byte
}

func (l *lineReader) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			l.part = append(l.part, p[:min(len(p), max(0, tailSize-len(l.part)))]...)
			break
		}
		line := string(append(l.part, p[:i]...))
		l.part, p = l.part[:0], p[i+1:]
		if ours, ok := strings.CutPrefix(line, l.prefix); ok {
			l.line(ours)
		} else {
			io.WriteString(l.rest, line+"\n")
		}
	}
	return n, nil
}

// An arrivals counts what goes through it, and says when the first of it comes.
type arrivals struct {
	io.Writer
	n     *atomic.Int64
	first chan struct{}
	begun bool
}

func (w *arrivals) Write(p []byte) (int, error) {
	if !w.begun && len(p) > 0 {
		w.begun = true
		close(w.first)
	}
	n, err := w.Writer.Write(p)
	w.n.Add(int64(n))
	return n, err
}

var (
	_ Stream    = (*avmlStream)(nil)
	_ io.Reader = (*avmlStream)(nil)
)
