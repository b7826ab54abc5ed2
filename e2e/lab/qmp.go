package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

// netdev is the id of the guest's only network back end.
const netdev = "net0"

// qmp speaks the QEMU Machine Protocol, one command at a time:
// https://www.qemu.org/docs/master/interop/qmp-spec.html.
type qmp struct {
	mu   sync.Mutex
	conn net.Conn
	dec  *json.Decoder
}

func newQMP(ctx context.Context, conn net.Conn) (*qmp, error) {
	q := &qmp{conn: conn, dec: json.NewDecoder(conn)}
	// The greeting needs no reading of its own: do skips what is not an answer.
	if _, err := q.do(ctx, "qmp_capabilities", nil); err != nil {
		conn.Close()
		return nil, err
	}
	return q, nil
}

func (q *qmp) close() { q.conn.Close() }

// do runs a command. After a failure other than the command's own refusal the
// connection is unusable.
func (q *qmp) do(ctx context.Context, cmd string, args any) (json.RawMessage, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("QMP %s: %w", cmd, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = q.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	err := json.NewEncoder(q.conn).Encode(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{cmd, args})
	for err == nil {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Class, Desc string }
		}
		if err = q.dec.Decode(&answer); err != nil {
			break
		}
		switch {
		case answer.Error != nil:
			return nil, fmt.Errorf("QMP %s: %s: %s", cmd, answer.Error.Class, answer.Error.Desc)
		case answer.Return != nil:
			return answer.Return, nil
		}
		// The greeting or an event.
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return nil, fmt.Errorf("QMP %s: %w", cmd, err)
}

// QMP runs a command of the QEMU Machine Protocol and returns what it returned;
// args is marshalled, nil is none.
func (g *Guest) QMP(ctx context.Context, cmd string, args any) (json.RawMessage, error) {
	return g.qmp.do(ctx, cmd, args)
}

// SetLink plugs the guest's network cable or pulls it. Nobody is told: what is
// under way stalls, as when a cable is cut.
func (g *Guest) SetLink(ctx context.Context, up bool) error {
	_, err := g.QMP(ctx, "set_link", map[string]any{"name": netdev, "up": up})
	return err
}

// Reset is the reset button: the guest reboots without a shutdown, its disk as it
// was. Ready tells when it is back, which takes half a minute: overwriting a
// kernel that it has translated is slow work for QEMU.
func (g *Guest) Reset(ctx context.Context) error {
	_, err := g.QMP(ctx, "system_reset", nil)
	return err
}

// Pause stops the guest's processors; connections stay, unanswered.
func (g *Guest) Pause(ctx context.Context) error {
	_, err := g.QMP(ctx, "stop", nil)
	return err
}

// Resume undoes Pause.
func (g *Guest) Resume(ctx context.Context) error {
	_, err := g.QMP(ctx, "cont", nil)
	return err
}

// Attach plugs a disk in while the guest runs: a file in raw format. Its id is its serial number.
func (g *Guest) Attach(ctx context.Context, id, file string) error {
	_, err := g.QMP(ctx, "blockdev-add", map[string]any{"driver": "raw", "node-name": id, "file": map[string]any{"driver": "file", "filename": file}})
	if err != nil {
		return err
	}
	_, err = g.QMP(ctx, "device_add", map[string]any{"driver": "nvme", "drive": id, "serial": id})
	return err
}

// Dump writes the guest's physical memory to path, where byte n is physical
// address n: the truth that an image can be held against. What is no memory is a hole
// in the file. Pause first for one moment's memory.
func (g *Guest) Dump(ctx context.Context, path string) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	for _, b := range g.banks {
		if err = g.dumpBank(ctx, b, out); err != nil {
			break
		}
	}
	return errors.Join(err, out.Close())
}

// dumpBank has QEMU write a file of its own: it takes no offset.
func (g *Guest) dumpBank(ctx context.Context, b bank, out *os.File) error {
	name := filepath.Join(g.dir, "bank")
	defer os.Remove(name)
	_, err := g.QMP(ctx, "pmemsave", map[string]any{"val": b.start, "size": b.size, "filename": name})
	if err != nil {
		return err
	}
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := io.Copy(io.NewOffsetWriter(out, b.start), in)
	if err == nil && n != b.size {
		err = fmt.Errorf("QEMU wrote %d of %d bytes", n, b.size)
	}
	return err
}

var hostForward = regexp.MustCompile(`TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)`)

// forwarded asks QEMU which loopback port it forwards to the guest's sshd.
func (g *Guest) forwarded(ctx context.Context) (string, error) {
	out, err := g.QMP(ctx, "human-monitor-command", map[string]any{"command-line": "info usernet"})
	if err != nil {
		return "", err
	}
	var text string
	if err := json.Unmarshal(out, &text); err != nil {
		return "", fmt.Errorf("read QEMU's forwarded port: %w", err)
	}
	m := hostForward.FindStringSubmatch(text)
	if m == nil {
		return "", errors.New("read QEMU's forwarded port: none in " + text)
	}
	return net.JoinHostPort("127.0.0.1", m[1]), nil
}
