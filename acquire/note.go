package acquire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
)

// A Rescued says of a manifest that its capture was killed, and that another run wrote it.
type Rescued struct {
	Tool     Tool   `json:"tool"`
	Operator string `json:"operator"`
	// Recorded is when the capture wrote down what the manifest says of case, host, method and options, before a byte of the file
	// that was cut short had come: nobody had signed that. Zero: nothing was written down.
	Recorded time.Time `json:"recorded,omitzero"`
}

// Text says so for people.
func (r *Rescued) Text() string {
	known := "nothing of the host was recorded"
	if !r.Recorded.IsZero() {
		known = "what is said of the host was recorded at " + r.Recorded.UTC().Format(time.RFC3339) + ", before, and not signed"
	}
	return fmt.Sprintf("the capture was killed; %s; %s wrote the manifest", known, r.Operator)
}

// note gives an object that is about to be filled what m says of the capture, for who finishes it should this process be killed.
// Without a note it can be finished all the same.
func (c *capture) note(obj sink.Object, m *Manifest) {
	to, ok := obj.(sink.Noter)
	if !ok {
		return
	}
	now := *m
	now.Timeline = c.h.moments()
	data, err := now.compact()
	if err == nil && len(data) > sink.MaxNote { // a large host's: it is in the interim manifest too
		now.Reads, now.Stream = nil, nil
		data, err = now.compact()
	}
	if err == nil {
		err = to.Note(data)
	}
	if err != nil {
		c.h.mark("should this capture be killed, nothing will say of what host it was: %v", err)
	}
}

// noteOfImage is the manifest as it is before the first byte of memory is read.
func (c *capture) noteOfImage() *Manifest {
	m := c.manifest()
	m.Image = Image{Name: m.Image.Name, Format: m.Image.Format, Recipients: m.Image.Recipients}
	m.Reads, m.Unreadable, m.Method.Wire = nil, nil, nil // these count what has come
	if len(c.opts.Collect) > 0 {
		m.Live = &Live{Reasons: []string{"the capture was killed before it was stored"}}
	}
	if c.opts.Swap {
		m.SwapImages = unread(c.h.facts.Swap)
	}
	return m
}

// unread are swap areas whose turn did not come.
func unread(areas []Swap) (list []SwapImage) {
	for _, s := range areas[:min(len(areas), maxActive)] {
		list = append(list, SwapImage{Swap: s, Reasons: []string{"not read: the capture was killed before"}})
	}
	return list
}

// noteOfSwap is what the manifest m says before the first byte of a swap area is read, which is the next of its list, and is
// stored as file. rest are to follow.
func noteOfSwap(m *Manifest, x SwapImage, file string, rest []Swap) *Manifest {
	now := *m
	now.Created, x.Image = x.Begun, Image{Name: file, Format: formatRaw}
	now.SwapImages = append(append(slices.Clip(m.SwapImages), x), unread(rest)...)
	return &now
}

func (m *Manifest) compact() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("encode what is known: %w", err)
	}
	return b.Bytes(), nil
}

// parseNote reads what note gave the file called name. It returns where in SwapImages the file is; -1: it is the image. A note without a host or a
// time is none: every capture knows both.
func parseNote(note []byte, name string) (m *Manifest, swap int, err error) {
	if len(note) > sink.MaxNote {
		return nil, 0, fmt.Errorf("it has %d bytes, more than %d", len(note), sink.MaxNote)
	}
	if m, err = ParseManifest(note); err != nil {
		return nil, 0, err
	}
	switch {
	case m.Target.Facts == nil || m.Created.IsZero():
		return nil, 0, errors.New("it names no host, or no time")
	case m.Interim != "" || m.Rescued != nil:
		return nil, 0, errors.New("it is a manifest that was written later")
	}
	if is, _ := IsSwap(name); m.Image.Name == name && !is {
		return m, -1, nil
	}
	swap = slices.IndexFunc(m.SwapImages, func(x SwapImage) bool { return x.Image.Name == name })
	if swap < 0 || sink.ValidName(m.Image.Name) != nil {
		return nil, 0, fmt.Errorf("it is about %q", m.Image.Name)
	}
	return m, swap, nil
}
