package acquire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/transport"
)

// Live is what was collected from the host beside its memory, in an archive beside the image. It never
// decides whether the image is complete.
type Live struct {
	// Items are what was asked for, also what is not there: their errors say why.
	Items []live.Item `json:"items"`
	// Complete says that the archive is stored whole, not that every item is there. Reasons says why it is
	// not.
	Complete bool     `json:"complete"`
	Reasons  []string `json:"reasons,omitempty"`
	Image    Image    `json:"image"` // the archive, of format "tar"; without a digest if nothing is stored
}

// formatTar is the Image.Format of a Live's archive.
const formatTar = "tar"

// Limits on one stage of collecting.
const (
	// collectStall is how long the host may send nothing: a list of ten thousand processes takes seconds.
	collectStall = 30 * time.Second
	// collectLimit bounds all of it. 20 MB take half of that at 64 kB/s, the least of limits.
	collectLimit = 10 * time.Minute
	// collectBefore bounds what memory waits for.
	collectBefore = time.Minute
)

// collect reads what is to be read at a stage. What goes wrong is on record in the items, and
// nowhere else: the capture goes on.
func (c *capture) collect(ctx context.Context, stage live.Stage) {
	kinds := live.At(c.opts.Collect, stage)
	if len(kinds) == 0 {
		return
	}
	if c.live == nil {
		c.live = new(live.Collection)
	}
	h := c.h
	if why := c.unfitForCollecting(ctx); why != "" {
		c.live.Skip(stage, kinds, why)
		h.mark("nothing was collected %s the image: %s", stage, why)
		return
	}
	c.opts.Observer(Preparing{host: host(c.step.Host), What: "collecting " + map[live.Stage]string{live.Before: "processes, sockets, modules", live.After: "what analysis needs of the kernel"}[stage]})
	limit := collectLimit
	if stage == live.Before {
		limit = collectBefore
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
	defer cancel()
	from, begin := len(c.live.Items), time.Now()
	// Reading one process can hang: arguments may lie in a file of FUSE, which its user serves. The items
	// after it are read by another script.
	for left := kinds; len(left) > 0; {
		at := len(c.live.Items)
		err := c.runCollect(ctx, stage, left)
		if err == nil {
			break
		}
		h.mark("collecting was cut short: %v", err)
		if c.unfitForCollecting(ctx) != "" {
			break
		}
		left = c.live.Again(at, left)
	}
	if stage == live.After {
		c.takeNote(from)
		c.takeModules(from)
	}
	n, bytes := 0, int64(0)
	for _, it := range c.live.Items[from:] {
		if it.Error == "" {
			n++
		}
		bytes += it.Bytes
	}
	h.mark("collected %d of %d items %s the image, %d bytes in %s", n, len(kinds), stage, bytes, time.Since(begin).Round(time.Millisecond))
}

// unfitForCollecting says why it cannot be done; empty if it can.
func (c *capture) unfitForCollecting(ctx context.Context) string {
	switch {
	case ctx.Err() != nil:
		return "interrupted before"
	case c.sinkErr != nil:
		return "the place for it took no more"
	case closed(c.h.conn.Done()):
		return "the connection was lost"
	}
	return ""
}

// runCollect runs the script. The error is why it did not come to its end.
func (c *capture) runCollect(ctx context.Context, stage live.Stage, kinds []live.Kind) error {
	h := c.h
	nonce := newNonce()
	args := []string{nonce}
	for _, k := range kinds {
		args = append(args, k.Name)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(collectStall, func() { cancel(fmt.Errorf("no byte came for %s", collectStall)) })
	defer idle.Stop()
	rec := c.live.NewReceiver(stage, kinds, nonce, func() time.Time { return c.opts.Now() })
	mark := newNonce()
	cmd := h.rootCmd(mark, live.Script, nil, args...)
	cmd.Stdout = feed(func(p []byte) (int, error) {
		idle.Stop()
		defer idle.Reset(collectStall)
		if err := h.pace.pay(ctx, len(p)); err != nil {
			return 0, err
		}
		return rec.Write(p)
	})
	err := h.conn.Run(ctx, cmd)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
	}
	var exit *transport.ExitError
	ended := err == nil || errors.As(err, &exit)
	if err = rec.Finish(err); err != nil && !ended {
		c.collectLeft = append(c.collectLeft, mark)
	}
	return err
}

// A feed is a function as an io.Writer.
type feed func([]byte) (int, error)

func (f feed) Write(p []byte) (int, error) { return f(p) }

// takeNote puts VMCOREINFO in the place of the head of /proc/kcore, from the item with index from on.
func (c *capture) takeNote(from int) {
	for i := from; i < len(c.live.Items); i++ {
		it := &c.live.Items[i]
		switch {
		case it.File == "":
		case it.Name == "vmcoreinfo":
			head, err := c.live.Content(i)
			var text []byte
			if err == nil {
				text, err = live.VMCoreInfo(head)
			}
			if err == nil {
				err = c.live.Replace(i, text)
			}
			if err != nil {
				c.live.Drop(i, err.Error())
				continue
			}
			it.How, it.Error = "the VMCOREINFO note of /proc/kcore", ""
		case it.Name == "kallsyms" && c.h.facts.KptrRestrict == "2":
			it.Notes = append(it.Notes, "kptr_restrict is 2: the kernel shows zeros in place of addresses, to root, too")
		}
	}
}

// takeModules puts an archive of modules' BTF, with their names, in the place of how the script prints them.
func (c *capture) takeModules(from int) {
	for i := from; i < len(c.live.Items); i++ {
		it := &c.live.Items[i]
		if it.Name != "btf-modules" || it.File == "" {
			continue
		}
		raw, err := c.live.Content(i)
		var modules []live.ModuleBTF
		if err == nil {
			modules, err = live.ModulesBTF(raw)
		}
		if len(modules) == 0 {
			c.live.Drop(i, cmp.Or(err, errors.New("the host has none")).Error())
			continue
		}
		if err != nil && it.Error == "" {
			it.Error = err.Error()
		}
		if raw, err = live.ModulesTar(modules); err == nil {
			err = c.live.Replace(i, raw)
		}
		if err != nil {
			c.live.Drop(i, err.Error())
			continue
		}
		it.How = fmt.Sprintf("/sys/kernel/btf, of %d modules, as a tar", len(modules))
	}
}

// collectAfter reads what is left to be read, once the image is stored, stores all of it in an archive
// beside the image, and lists it in m.
func (c *capture) collectAfter(ctx context.Context, m *Manifest) {
	if len(c.opts.Collect) == 0 {
		return
	}
	if c.rejected == nil {
		c.collect(ctx, live.After)
	}
	if c.live == nil {
		return
	}
	if c.rejected != nil { // which is to be read soon, while the host is as it was
		c.live.Skip(live.After, live.At(c.opts.Collect, live.After), "it is collected with the second image")
	}
	m.Live = &Live{Items: c.live.Items}
	if err := c.storeLive(ctx, m.Live); err != nil {
		m.Live.Reasons = append(m.Live.Reasons, err.Error())
	}
	if m.Live.Complete = len(m.Live.Reasons) == 0; !m.Live.Complete {
		c.problem(fmt.Errorf("what was collected beside the image is not all stored: %s", strings.Join(m.Live.Reasons, "; ")))
	}
	if c.opts.Sealed != nil && len(c.opts.Recipients) > 0 && m.Live.Complete {
		c.opts.Sealed(c.step.Host, m.Image.Name, c.live, c.opts.Recipients)
	}
	c.live = nil // some MB
	c.collectClean(ctx, m)
	h := c.h
	m.Footprint.Commands, m.Footprint.Sudo, m.Footprint.Logins = int(h.commands.Load()), int(h.sudo.Load()), int(h.logins.Load())
}

// problem tells of what does not decide what becomes of the image.
func (c *capture) problem(err error) {
	c.h.mark("%v", err)
	c.opts.Observer(Problem{host(c.step.Host), err})
}

// storeLive writes the archive. The sink's errors are reasons in l, where the archive's
// name is known then.
func (c *capture) storeLive(user context.Context, l *Live) error {
	encrypted := len(c.opts.Recipients) > 0
	one := &capture{step: c.step, h: c.h, opts: c.opts}
	name := LiveName(c.step.Name, encrypted)
	ctx, done := grace(user)
	defer done()
	release, err := one.reserve(ctx, 0) // the manifest needs its room when this is done
	tight := err != nil
	if tight {
		// Of the last room a manifest is worth more; what was read before memory is small, and nobody can
		// read it again.
		c.problem(fmt.Errorf("of what was collected only the state of the host is stored: %w", err))
		for i, it := range c.live.Items {
			if it.File != "" && !strings.HasPrefix(it.File, string(live.Before)+"/") {
				c.live.Drop(i, "not stored: "+err.Error())
			}
		}
		release = func() {}
	}
	defer release()
	if one.obj, err = c.opts.Sink.Create(ctx, name); err != nil {
		err = fmt.Errorf("create %s: %w", name, err)
		name = newNonce() + "-" + name
		var other error
		if one.obj, other = c.opts.Sink.Create(ctx, name); other != nil {
			return fmt.Errorf("%w; and under another name: %w", err, other)
		}
		l.Reasons = append(l.Reasons, fmt.Sprintf("%v; it is kept as %s", err, name))
	}
	in := c.live.Reader()
	defer in.Close()
	one.out, err = pipeline.Run(ctx, in, one.obj, pipeline.Options{
		Pool: c.opts.Pool, Compression: frame.Zstd, Recipients: c.opts.Recipients,
	})
	if err != nil {
		l.Reasons = append(l.Reasons, err.Error())
		one.sinkErr = err
	}
	if one.out.Received == 0 || tight && err != nil {
		return one.obj.Abort(ctx)
	}
	// No index beside it: its frames are found by its seek table, and it is small.
	one.out.Index = nil
	s := &Manifest{Image: one.image(name, formatTar), Reasons: l.Reasons, Complete: len(l.Reasons) == 0}
	s.Image.Compression = frame.Zstd
	_, receipt, _ := one.store(user, s) // its errors are reasons
	l.Image, l.Reasons = s.Image, s.Reasons
	if p := receipt.Pending; p != nil {
		l.Reasons = append(l.Reasons, (&PendingError{*p}).Error())
	}
	return nil
}

// collectClean looks for what is left of scripts that did not come to their end.
func (c *capture) collectClean(user context.Context, m *Manifest) {
	if len(c.collectLeft) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(user), c.opts.CleanupTimeout)
	defer cancel()
	f := &m.Footprint
	for _, mark := range c.collectLeft {
		left := ""
		look, err := lookAtSwap(ctx, c.h, nil, mark, endGrace)
		switch {
		case err != nil:
			left = fmt.Sprintf("not checked (%v): a shell that lists processes and kernel symbols may wait until the target's SSH server notices that the connection is gone; it ends then, and writes nothing", err)
		case !look.searched:
			left = "not checked (the target cannot look for processes): a shell may wait for the connection to end; it writes nothing"
		case look.pids != "":
			left = fmt.Sprintf("processes %q", look.pids)
		default:
			continue
		}
		f.Clean, f.Left = false, append(f.Left, left)
		if f.Fix == "" {
			f.Fix = sshCommand(c.h.conn.Info(), "sudo pkill -f "+mark)
		}
	}
}
