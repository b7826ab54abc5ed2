package acquire

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/wire"
)

//go:embed limezip.sh
var limeZipScript string

//go:embed limelook.sh
var limeLookScript string

// A limePipe is LiME's stream by way of a compressor on the target: limezip.sh reads the port
// there in place of our SSH server. It is a stream as LiME sends it.
type limePipe struct {
	nonce  string
	zip    zip
	from   *bufio.Reader
	pipe   *io.PipeReader
	in     *io.PipeWriter
	unpack *wire.Reader
	cancel context.CancelFunc
	wire   atomic.Int64
	raw    atomic.Int64

	ended chan struct{} // closed when the script has ended
	err   error         // why; valid then

	begun bool // the noise of login scripts is behind us; Read's

	marks []int64 // raw when each MiB of wire had come

	mu      sync.Mutex
	line    []byte            // of standard error
	said    tail              // what is not ours
	sockets map[string]string // with the process that holds it
	reader  string            // exit status of what read the port
	ticks   int64
}

// startPipe runs limezip.sh, which connects to LiME. It lives until the stream ends, or Close. The
// agent's nonce is in its command line, so that clean.sh finds it, too.
func startPipe(ctx context.Context, h *remote, nonce string, port int) *limePipe {
	pr, pw := io.Pipe()
	inr, inw := io.Pipe()
	p := &limePipe{nonce: nonce, zip: h.zip, pipe: pr, in: inw, from: bufio.NewReaderSize(pr, maxNoise), ended: make(chan struct{}), sockets: map[string]string{}}
	p.unpack = wire.NewReader(h.zip.tool, p.from, lime.Total(h.facts.RAM))
	cmd := h.rootCmd(nonce, limeZipScript, inr, nonce, strconv.Itoa(port), h.zip.way, wire.Command(h.zip.tool))
	cmd.Stdout, cmd.Stderr = &countedPipe{pw, &p.wire}, (*pipeReports)(p)
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.cancel = cancel
	conn := h.conn
	go func() { // ends with cancel
		defer close(p.ended)
		p.err = conn.Run(runCtx, cmd)
		inr.CloseWithError(io.ErrClosedPipe) // unblocks start
		pw.Close()
	}()
	return p
}

// start lets it read. It fails only when the script has ended: Read says why.
func (p *limePipe) start() { io.WriteString(p.in, "go\n") }

// countedPipe counts what is written.
type countedPipe struct {
	io.Writer
	n *atomic.Int64
}

func (c *countedPipe) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.Writer.Write(p)
}

// Read implements io.Reader. Its io.EOF means that the compressor ended well, after a whole
// stream.
func (p *limePipe) Read(b []byte) (int, error) {
	if !p.begun {
		if err := p.begin(); err != nil {
			return 0, p.explain(err)
		}
		p.begun = true
	}
	n, err := p.unpack.Read(b)
	raw := p.raw.Add(int64(n))
	for p.wire.Load()>>20 > int64(len(p.marks)) {
		p.marks = append(p.marks, raw)
	}
	if err == nil {
		return n, nil
	}
	if err == io.EOF {
		if _, more := p.from.Peek(1); more == nil {
			return n, wire.ErrTooMuch
		}
	} else if !errors.Is(err, io.ErrUnexpectedEOF) {
		return n, err
	}
	return n, p.explain(err)
}

// begin skips what login scripts print.
func (p *limePipe) begin() error {
	for noise := 0; noise < maxNoise; {
		line, err := p.from.ReadSlice('\n')
		if noise += len(line); err == bufio.ErrBufferFull {
			break
		} else if err != nil {
			return noEnd(err)
		}
		if string(line) == "@"+p.nonce+" begin\n" {
			return nil
		}
	}
	return fmt.Errorf("the target sent %d bytes before it began", p.wire.Load())
}

func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// explain waits for the script to end, and says what ended the stream: the compressor, what read
// LiME's port, the connection, or nothing but LiME's end.
func (p *limePipe) explain(err error) error {
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	said := p.said.String()
	switch {
	case p.err != nil && said != "":
		return fmt.Errorf("%s on the target: %w: %q", p.zip.tool, p.err, said)
	case p.err != nil:
		return fmt.Errorf("%s on the target: %w", p.zip.tool, p.err)
	case p.reader != "0" && err == io.EOF:
		return fmt.Errorf("%s, which read LiME's port on the target, exited %q", p.zip.way, p.reader)
	}
	return err
}

// Close ends the stream; a blocked Read returns. It may be called more than once, at any time.
func (p *limePipe) Close() error {
	p.cancel()
	p.in.CloseWithError(io.ErrClosedPipe)
	return p.pipe.CloseWithError(errInterrupted)
}

// wait returns once the script's connection has ended. Close comes first.
func (p *limePipe) wait() {
	<-p.ended
	p.unpack.Close()
}

// pipeGrace is how long the pipe's processes get to see that LiME has gone, and we with it.
const pipeGrace = 5 * time.Second

// look looks which processes of the pipe are still there, over a new connection if need be, and ends
// them; pids are those that would not. The agent knows nothing of them: Close and LiME's end come first.
func (p *limePipe) look(ctx context.Context, h *remote) (pids string, err error) {
	if err := h.alive(ctx); err != nil {
		return "", err
	}
	nonce := newNonce()
	out, err := h.rootSoon(ctx, processesScript+limeLookScript, nonce, p.nonce, strconv.Itoa(int(pipeGrace.Seconds())))
	if err != nil {
		return "", err
	}
	sec, err := sections(out, nonce)
	switch {
	case err != nil:
		return "", errors.New("the target's answer ended early")
	case strings.TrimSpace(sec["search"]) != "works":
		return "", errors.New("the target cannot look for processes")
	}
	return strings.TrimSpace(sec["pids"]), nil
}

// owners are the sockets of what reads LiME's port.
func (p *limePipe) owners() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.sockets)
}

// buffered is how much of the stream could lie between LiME's socket and here, at most: what the
// window of the channel, and what the compressor and its pipes hold, unpack to. The stream has ended.
func (p *limePipe) buffered() int64 {
	const held = channelWindow>>20 + 2 // MiB of wire; lz4 holds back up to 4 MiB of input, see below
	most := p.raw.Load()
	if len(p.marks) > held {
		most = p.marks[held]
		for i := held + 1; i < len(p.marks); i++ {
			most = max(most, p.marks[i]-p.marks[i-held-1])
		}
		most = max(most, p.raw.Load()-p.marks[len(p.marks)-held-1])
	}
	return min(p.raw.Load(), most) + 4<<20
}

// use is for the manifest.
func (p *limePipe) use() *WireUse {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &WireUse{
		Command: wire.Command(p.zip.tool), Through: p.zip.way, Raw: p.raw.Load(), Wire: p.wire.Load(),
		Processes: 3, CPU: float64(p.ticks) / ticksPerSecond,
	}
}

// pipeReports takes the script's standard error: our lines, and what others say.
type pipeReports limePipe

func (r *pipeReports) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line = append(r.line, b...)
	for {
		line, rest, whole := bytes.Cut(r.line, []byte("\n"))
		if !whole {
			break
		}
		r.report(string(line))
		r.line = rest
	}
	if len(r.line) > tailSize {
		r.said.Write(r.line)
		r.line = nil
	}
	return len(b), nil
}

// report takes a line. r.mu is held.
func (r *pipeReports) report(line string) {
	rest, ours := strings.CutPrefix(line, "@"+r.nonce+" ")
	f := strings.Fields(rest)
	switch {
	case !ours || len(f) < 2:
		r.said.Write([]byte(line + "\n"))
	case f[0] == "socket" && len(r.sockets) < 16:
		r.sockets[f[1]] = strings.Join(f[2:], " ")
	case f[0] == "reader":
		r.reader = digits(f[1])
	case f[0] == "compressor" && len(f) == 3:
		r.ticks, _ = strconv.ParseInt(digits(f[2]), 10, 64)
	}
}
