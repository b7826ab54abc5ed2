package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/stripe"
	"github.com/shotglass-ir/shotglass/sink"
)

// A SwapImage is one swap area that was asked for. It is a file beside the image, stored as the
// image is. An area changes while it is read, as memory does, and it is read after it.
type SwapImage struct {
	Swap // as /proc/swaps said right before

	UsedAfter int64  `json:"used_after_bytes"`
	Mapping   string `json:"mapping,omitempty"` // of a device of the device mapper: name and UUID. What it shows was read: of an encrypted one the content
	Size      int64  `json:"size_bytes"`        // of what is to be read of the device or file, in whole pages
	// Header is what the area's first page says; nil when it is not that of a swap area.
	Header *SwapHeader `json:"header,omitempty"`
	Notes  []string    `json:"notes,omitempty"` // on what an analyst should know of such an area

	Begun       time.Time     `json:"begun,omitzero"`
	Ended       time.Time     `json:"ended,omitzero"`
	Duration    time.Duration `json:"duration_ns,omitempty"` // of the stream
	Connections *stripe.Stats `json:"connections,omitempty"`
	// Unreadable are pages that could not be read, by their offsets; they are zeros.
	Unreadable *Unreadable `json:"unreadable,omitempty"`

	// Complete says that all of the area was read, around the page cache, while the kernel
	// swapped to it, and was stored. Reasons says why not.
	Complete bool     `json:"complete"`
	Reasons  []string `json:"reasons,omitempty"`
	Image    Image    `json:"image"` // of format "raw"; without a digest if nothing is stored
}

// A SwapError says that swap was asked for and is not, or not all, there. The image of memory
// is what it is all the same.
type SwapError struct{ Areas []SwapImage }

func (e *SwapError) Error() string {
	var s []string
	for _, a := range e.Areas {
		s = append(s, fmt.Sprintf("swap %q: %s", a.Name, strings.Join(a.Reasons, "; ")))
	}
	return strings.Join(s, "\n")
}

// Hint says what to do.
func (e *SwapError) Hint() string {
	return "the image of memory stands as it is; to try again take both anew, in another capture, or read the swap area from the disk"
}

// swapPatience is how long a look at the swap areas may take.
const swapPatience = 2 * time.Minute

// swap reads the target's swap areas, if that was asked for, after the image was stored, and
// lists them in m. Whatever comes of it, the image stays what it is. The error is a *SwapError.
func (c *capture) swap(ctx context.Context, m *Manifest) error {
	if !c.opts.Swap {
		return nil
	}
	if c.rejected != nil {
		c.h.mark("swap is read after the second image")
		return nil
	}
	defer func() {
		h := c.h
		m.Footprint.Commands, m.Footprint.Sudo, m.Footprint.Logins = int(h.commands.Load()), int(h.sudo.Load()), int(h.logins.Load())
	}()
	areas, look, err := c.swapAreas(ctx)
	if err != nil {
		for _, s := range c.h.facts.Swap {
			m.SwapImages = append(m.SwapImages, SwapImage{Swap: s, Reasons: []string{"not read: " + err.Error()}})
		}
		if errors.Is(err, errUnlisted) && len(m.SwapImages) == 0 { // there may be some now
			m.SwapImages = []SwapImage{{Swap: Swap{Name: "/proc/swaps"}, Reasons: []string{"not read: " + err.Error()}}}
		}
		c.h.mark("swap was not read: %v", err)
	}
	for i, s := range areas {
		x := SwapImage{Swap: s, UsedAfter: s.Used, Mapping: look.areas[i].mapping, Size: look.areas[i].size, Notes: swapNotes(s, look, look.areas[i])}
		clean := c.swapArea(ctx, i+1, look.areas[i], &x, func(file string) *Manifest { return noteOfSwap(m, x, file, areas[i+1:]) })
		m.SwapImages = append(m.SwapImages, x)
		if f := &m.Footprint; clean != nil && !clean.Clean {
			f.Clean, f.Left = false, append(f.Left, clean.Left...)
			if f.Fix == "" {
				f.Fix = clean.Fix
			}
		}
		if x.Complete {
			c.h.mark("swap %d: complete: %s", i+1, x.Image.Location)
		} else {
			c.h.mark("swap %d: not complete: %s", i+1, strings.Join(x.Reasons, "; "))
		}
	}
	if err == nil {
		m.SwapImages = append(m.SwapImages, c.swapGone(areas)...)
	}
	var failed []SwapImage
	for _, x := range m.SwapImages {
		if !x.Complete {
			failed = append(failed, x)
		}
	}
	if len(failed) > 0 {
		return &SwapError{failed}
	}
	return nil
}

// swapGone are the areas of the plan that are not among those that were active later. They come last:
// the names of the others' files count those.
func (c *capture) swapGone(areas []Swap) (gone []SwapImage) {
	for _, s := range c.h.facts.Swap[:min(len(c.h.facts.Swap), maxSwaps-maxActive)] {
		if !slices.ContainsFunc(areas, func(a Swap) bool { return a.Name == s.Name }) {
			gone = append(gone, SwapImage{Swap: s, Reasons: []string{"not read: it was switched off since the plan"}})
			c.h.mark("swap %q: not read: it was switched off since the plan", s.Name)
		}
	}
	return gone
}

// errUnlisted: what active areas there are is not known.
var errUnlisted = errors.New("the target did not list its swap areas: /proc/swaps has no first line")

// noSwap lists in m the swap areas that were asked for and are not read, for the reason why. The
// error is a *SwapError; nil: there are none.
func (c *capture) noSwap(m *Manifest, why error) error {
	if !c.opts.Swap || len(c.h.facts.Swap) == 0 {
		return nil
	}
	for _, s := range c.h.facts.Swap {
		m.SwapImages = append(m.SwapImages, SwapImage{Swap: s, Reasons: []string{"not read: " + why.Error()}})
	}
	c.h.mark("swap was not read: %v", why)
	return &SwapError{m.SwapImages}
}

// swapAreas are those that are active now, with what they lie on.
func (c *capture) swapAreas(user context.Context) ([]Swap, *swapLook, error) {
	switch {
	case user.Err() != nil:
		return nil, nil, errors.New("interrupted before")
	case c.sinkErr != nil:
		return nil, nil, fmt.Errorf("the place for it took no more: %w", c.sinkErr)
	}
	ctx, cancel := context.WithTimeoutCause(user, swapPatience, fmt.Errorf("the target did not answer within %s", swapPatience))
	defer cancel()
	if err := c.h.alive(ctx); err != nil {
		return nil, nil, err
	}
	areas := c.h.facts.Swap
	for range 2 { // once more when areas came since
		look, err := lookAtSwap(ctx, c.h, areas, "", 0)
		if err != nil {
			return nil, nil, err
		}
		if look.boot != c.h.facts.BootID {
			return nil, nil, errors.New("the target was rebooted")
		}
		if !look.listed {
			return nil, nil, errUnlisted
		}
		if n := len(look.active); n > maxActive {
			return nil, nil, fmt.Errorf("the target lists %d swap areas, and no kernel has more than %d", n, maxActive)
		}
		same := len(areas) == len(look.active)
		for i := range areas {
			same = same && areas[i].Name == look.active[i].Name
		}
		if areas = look.active; same {
			return areas, look, nil
		}
		c.h.mark("the swap areas are others than at the plan")
	}
	return nil, nil, errors.New("the swap areas change from one look to the next")
}

// swapNotes are what an analyst should know of an area before it is used.
func swapNotes(s Swap, look *swapLook, a swapArea) (notes []string) {
	if a.rest > 0 {
		notes = append(notes, fmt.Sprintf("%d bytes that the device or file has beyond what the kernel swaps to were not read", a.rest))
	}
	if s.Type == "zram" {
		notes = append(notes, "zram lies in memory: the image of memory holds the same pages, compressed; here they are as they were before")
	}
	if look.zswap {
		notes = append(notes, "zswap is on: pages that are in its pool are in the image of memory, compressed, and may not be here")
	}
	return notes
}

// swapArea reads one area into a file of its own, and says in x what came of it. known is what is known before, for who has to
// finish that file. The Cleanup is nil if nothing was begun on the target.
func (c *capture) swapArea(ctx context.Context, n int, a swapArea, x *SwapImage, known func(file string) *Manifest) *Cleanup {
	refuse := func(format string, args ...any) *Cleanup {
		x.Reasons = append(x.Reasons, fmt.Sprintf(format, args...))
		return nil
	}
	switch {
	case ctx.Err() != nil:
		return refuse("not read: interrupted before")
	case a.kind == "":
		return refuse("not read: there is no device or file of that name any more")
	case a.size == 0:
		return refuse("not read: its size could not be found out")
	}
	encrypted := len(c.opts.Recipients) > 0
	one := &capture{step: c.step, h: c.h, opts: c.opts}
	name := SwapName(c.step.Name, n, c.opts.Compression, encrypted)
	release, err := one.reserve(ctx, a.size)
	if err != nil {
		return refuse("not read: %v", err)
	}
	defer release() // the manifest of all needs its room when this is done
	one.obj, err = sink.CreateSized(ctx, c.opts.Sink, name, a.size)
	if err != nil {
		return refuse("not read: create %s: %v", name, err)
	}
	c.h.mark("swap %d: reading %q, %d bytes", n, x.Name, a.size)
	x.Begun = c.opts.Now().UTC()
	c.note(one.obj, known(name))
	st, err := openSwap(ctx, c.h, c.step.swapSource, a, x.Name)
	head := &headKeeper{r: st}
	if err == nil {
		one.flow(ctx, head, st, a.size, nil, fmt.Sprintf("swap %q", x.Name))
	}
	st.close() // further pieces may still come, and tell of bad pages, until then
	if err != nil {
		refuse("not read: %v", err)
	} else {
		st.mu.Lock()
		x.Header, x.Unreadable = ParseSwapHeader(head.kept), st.unreadable()
		st.mu.Unlock()
		stats := st.reader.Stats()
		x.Connections, x.Duration = &stats, one.duration
	}
	x.Ended = c.opts.Now().UTC()
	return one.swapEnd(ctx, st, a, x, name)
}

// swapEnd looks at the area again, judges what was read and stores it.
func (c *capture) swapEnd(ctx context.Context, st *swapStream, a swapArea, x *SwapImage, name string) *Cleanup {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opts.CleanupTimeout)
	defer cancel()
	var look *swapLook
	err := c.h.alive(after)
	if err == nil {
		look, err = lookAtSwap(after, c.h, []Swap{x.Swap}, st.mark, endGrace)
	}
	clean := new(Cleanup)
	switch {
	case err != nil:
		clean.Left = []string{fmt.Sprintf("not checked (%v): a shell and dd that read %q may wait until the target's SSH server notices that the connection is gone; they end then, and write nothing", err, x.Name)}
	case !look.searched:
		clean.Left = []string{"not checked (the target cannot look for processes): a shell and dd may wait for the connection to end; they write nothing"}
	case look.pids != "":
		clean.Left = []string{fmt.Sprintf("processes %q", look.pids)}
	}
	if clean.Clean = len(clean.Left) == 0; !clean.Clean {
		clean.Fix = sshCommand(c.h.conn.Info(), "sudo pkill -f "+st.mark)
	}
	if c.out.Received == 0 {
		if len(x.Reasons) == 0 {
			x.Reasons = []string{"not read: " + errors.Join(c.srcErr, c.sinkErr).Error()}
		}
		op, done := grace(ctx)
		defer done()
		if err := c.obj.Abort(op); err != nil {
			x.Reasons = append(x.Reasons, err.Error())
		}
		return clean
	}
	x.Reasons = c.swapReasons(a, x, look, err)
	m := &Manifest{Image: c.image(name, formatRaw), Reasons: x.Reasons, Complete: len(x.Reasons) == 0}
	_, receipt, _ := c.store(ctx, m) // its errors are reasons
	x.Image, x.Complete, x.Reasons = m.Image, m.Complete, m.Reasons
	if p := receipt.Pending; p != nil {
		x.Complete = false
		x.Reasons = append(x.Reasons, (&PendingError{*p}).Error())
	}
	return clean
}

// swapReasons are why what was read is not all of a swap area.
func (c *capture) swapReasons(a swapArea, x *SwapImage, look *swapLook, lookErr error) (why []string) {
	add := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	for _, err := range []error{c.srcErr, c.sinkErr} {
		if err != nil {
			add("%v", err)
		}
	}
	if u := x.Unreadable; u != nil && u.Pages > 0 {
		add("%d pages could not be read, and are zeros", u.Pages)
	}
	switch h := x.Header; {
	case h == nil:
		add("it does not begin as a swap area does: the kernel swaps to something else, or its first page was overwritten")
	case h.Bytes() > a.size+a.rest:
		add("its header speaks of %d bytes, and there are %d", h.Bytes(), a.size+a.rest)
	case h.Usable() != x.Bytes:
		add("by its header the kernel can swap %d bytes to it, and by /proc/swaps that is %d: another file or device has its name, or the kernel uses only a part of it", h.Usable(), x.Bytes)
	}
	if !a.direct {
		add("it was read through the target's page cache, which may be older than what the kernel swapped out: neither its dd nor its file system reads around that")
	}
	if lookErr != nil {
		add("whether the kernel still swapped to it afterwards is not known: %v", lookErr)
		return why
	}
	now, active := look.find(x.Name)
	switch {
	case look.boot != c.h.facts.BootID:
		add("the target was rebooted meanwhile")
	case !look.listed:
		add("whether the kernel still swapped to it afterwards is not known: %v", errUnlisted)
		return why
	case !active:
		add("it was switched off while it was read")
	case now.Bytes != x.Bytes || look.areas[0].size != a.size:
		add("its size changed while it was read")
	}
	x.UsedAfter = now.Used
	return why
}

// A headKeeper keeps the first bytes that are read through it.
type headKeeper struct {
	r    io.Reader
	kept []byte
}

func (k *headKeeper) Read(p []byte) (int, error) {
	n, err := k.r.Read(p)
	k.kept = append(k.kept, p[:min(n, MaxSwapPage-len(k.kept))]...)
	return n, err
}

// swapMissing says that of the swap areas that there were one is not there, or not all of it.
func (m *Manifest) swapMissing() bool {
	n := 0
	for _, x := range m.SwapImages {
		if x.Complete {
			n++
		}
	}
	return n < len(m.SwapImages) || n < len(m.Swap)
}

// A PlannedSwap is a swap area that is to be read.
type PlannedSwap struct {
	Swap
	File string `json:"file"` // its name in the sink
}

// planSwap plans how the swap areas that there are now will be read.
func (s *Step) planSwap() {
	if !s.opts.Swap {
		return
	}
	s.swapSource = new(kcoreSource)
	s.swapSource.connections(s.host)
	s.Swap = nil
	for i, a := range s.Facts.Swap {
		s.Swap = append(s.Swap, PlannedSwap{a, SwapName(s.Name, i+1, s.opts.Compression, len(s.opts.Recipients) > 0)})
	}
}

// swapSpan is how much of an area is read at most, of which /proc/swaps says so many bytes: they come
// without the first page, and without what a device has beyond the last.
func swapSpan(bytes int64) int64 { return bytes + 2*MaxSwapPage }

// swapRoom is what the swap areas need, at most.
func (s *Step) swapRoom() (total, largest int64) {
	for _, a := range s.Swap {
		n := swapSpan(a.Bytes)
		total, largest = total+n, max(largest, n)
	}
	return total, largest
}
