package live

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// What a Collection keeps in memory at most, compressed, in bytes. The kernel's own items have their part for
// themselves: kallsyms, BTF and System.map take 8 MiB together. Any user can fill items of state, the list
// of processes above all: one takes at most half of what the items before it left of MaxBefore, so that
// none leaves nothing to the next. The state of ten thousand processes takes 2 MiB.
const (
	MaxKept   = maxKernel + 2*MaxBefore
	MaxBefore = maxState + 1<<20 // of one stage: what is kept while memory streams

	maxKernel = 10 << 20
	maxState  = 4 << 20
	leastRoom = 64 << 10 // for each item, whatever was before it
)

// block is how much the encoder may hold back, in raw bytes.
const block = 128 << 10

// Memory is what a collection takes at most, in bytes, with the encoder and the decoder.
const Memory = MaxKept + 8<<20

// A Collection is what was taken from one host. It is not safe for concurrent use.
type Collection struct {
	Items []Item

	kept   [][]byte      // of each item, compressed; nil: nothing
	total  int           // bytes of kept
	kernel int           // of these, of what the kernel says of itself
	state  map[Stage]int // and of state
}

// room is what an item may take, in compressed bytes.
func (c *Collection) room(k Kind, s Stage) int {
	if !k.State {
		return maxKernel - c.kernel
	}
	return max((maxState-c.state[s])/2, leastRoom)
}

// maxLine bounds a marker, which holds a name and a path.
const maxLine = 4 << 10

// A Receiver takes the output of [Script] apart, as it comes, and puts it into a Collection. Write
// never fails: what is too much is dropped, and the item says so. Finish ends it.
type Receiver struct {
	c     *Collection
	stage Stage
	want  []Kind // not yet begun
	mark  []byte
	now   func() time.Time

	held  []byte // may be the start of a marker
	line  bool   // held begins after a marker
	kind  Kind   // of the item under way; no name: there is none
	begun time.Time
	n     int64
	sum   hash.Hash
	out   bytes.Buffer
	enc   *zstd.Encoder
	room  int    // of out
	over  string // why bytes are dropped
	ended bool
}

// NewReceiver receives kinds, in their order, at a stage. nonce is what the script was given; now is the
// examiner's clock.
func (c *Collection) NewReceiver(stage Stage, kinds []Kind, nonce string, now func() time.Time) *Receiver {
	r := &Receiver{c: c, stage: stage, want: kinds, mark: []byte("\n@@" + nonce + " "), now: now}
	// One goroutine's worth: this is some MB, and other hosts stream memory meanwhile.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic("live: internal error: " + err.Error())
	}
	r.enc = enc
	return r
}

// Write implements io.Writer.
func (r *Receiver) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 || len(r.held) > 0 {
		if r.ended {
			r.held = nil
			break
		}
		// Copied in parts, so that what is held stays small.
		part := p[:min(len(p), 64<<10)]
		p = p[len(part):]
		r.held = append(r.held, part...)
		for r.step() {
		}
		if len(p) == 0 {
			break
		}
	}
	return n, nil
}

// step takes a marker, or what lies before one, off held. It reports whether there may be more.
func (r *Receiver) step() bool {
	if r.ended || len(r.held) == 0 {
		return false
	}
	if r.line {
		line, rest, whole := bytes.Cut(r.held, []byte{'\n'})
		if !whole {
			if len(r.held) > maxLine { // nothing of ours
				r.line = false
				return true
			}
			return false
		}
		r.line, r.held = false, rest
		r.marker(string(line))
		return true
	}
	if i := bytes.Index(r.held, r.mark); i >= 0 {
		r.content(r.held[:i])
		r.held, r.line = r.held[i+len(r.mark):], true
		return true
	}
	keep := min(len(r.held), len(r.mark)-1)
	r.content(r.held[:len(r.held)-keep])
	r.held = append(r.held[:0:0], r.held[len(r.held)-keep:]...)
	return false
}

// marker ends an item, or begins one.
func (r *Receiver) marker(line string) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "+":
		r.end("the next one began before it ended")
		for i, k := range r.want {
			if k.Name == rest {
				r.skip(r.want[:i], "the host left it out")
				r.want = r.want[i+1:]
				r.begin(k)
				return
			}
		}
	case "-":
		if r.kind.Name != "" {
			r.finish(rest)
		}
	case "end":
		r.end("the script ended before it")
		r.ended = true
	}
}

func (r *Receiver) begin(k Kind) {
	r.kind, r.begun, r.n, r.sum, r.over = k, r.now().UTC(), 0, sha256.New(), ""
	r.out, r.room = bytes.Buffer{}, r.c.room(k, r.stage)
	r.enc.Reset(&r.out)
}

// content takes bytes of the item under way. Those of none are noise: a login script's greeting.
func (r *Receiver) content(p []byte) {
	if r.kind.Name == "" || r.over != "" || len(p) == 0 {
		return
	}
	if room := r.kind.Limit - r.n; int64(len(p)) > room {
		p, r.over = p[:room], fmt.Sprintf("cut: there are more than %d bytes", r.kind.Limit)
	}
	if room := r.room - r.out.Len() - int(r.n%block); len(p) > room {
		p, r.over = p[:max(room, 0)], fmt.Sprintf("cut: %d KiB, compressed, are kept of it at most, so that there is room for the other items", r.room>>10)
		if !r.kind.State {
			r.over = fmt.Sprintf("cut: %d MiB, compressed, are kept at most of what the kernel says of itself", maxKernel>>20)
		}
	}
	r.sum.Write(p)
	r.n += int64(len(p))
	if _, err := r.enc.Write(p); err != nil { // a bytes.Buffer takes all
		r.over = err.Error()
	}
}

// finish ends the item under way with what the script says of it: an exit status, and the file that was
// read; or "missing".
func (r *Receiver) finish(said string) {
	status, file, _ := strings.Cut(said, " ")
	why := r.over
	switch {
	case why != "":
	case status == "missing":
		why = "the host has none"
	case status != "0":
		why = fmt.Sprintf("reading it ended with status %.40q", status)
	case r.n == 0:
		why = "it is empty"
	}
	it := r.item(r.kind, why)
	if file != "" && strings.HasPrefix(file, "/") {
		it.How = fmt.Sprintf("%.300q", file)
		it.How = strings.Trim(it.How, `"`)
	}
	it.Begun, it.Took = r.begun, r.now().Sub(r.begun)
	var kept []byte
	if err := r.enc.Close(); err != nil {
		it.Error = err.Error()
	} else if r.n > 0 {
		it.File, it.Bytes, it.SHA256 = r.kind.path(r.stage), r.n, hex.EncodeToString(r.sum.Sum(nil))
		kept = bytes.Clone(r.out.Bytes())
	}
	r.c.add(it, kept)
	if !r.kind.State {
		r.c.kernel += len(kept)
	} else {
		if r.c.state == nil {
			r.c.state = map[Stage]int{}
		}
		r.c.state[r.stage] += len(kept)
	}
	r.kind = Kind{}
}

func (r *Receiver) item(k Kind, why string) Item {
	return Item{Name: k.Name, Stage: r.stage, How: k.How, Error: why}
}

// end ends the item under way, if there is one, which is not whole.
func (r *Receiver) end(why string) {
	if r.kind.Name == "" {
		return
	}
	if r.over == "" {
		r.over = "cut: " + why
	}
	r.finish("")
}

func (r *Receiver) skip(kinds []Kind, why string) {
	for _, k := range kinds {
		r.c.add(r.item(k, why), nil)
	}
}

// Finish ends what is under way, and lists what did not come; err is how the script ended, nil if it
// ended by itself. It returns why what is missing is.
func (r *Receiver) Finish(err error) error {
	if !r.ended {
		if err == nil {
			err = errors.New("the host's answer ended early")
		}
		if !r.line {
			r.content(r.held)
		}
		r.end(err.Error())
	} else {
		err = nil
	}
	why := "the host left it out"
	if err != nil {
		why = "not read: " + err.Error()
	}
	r.skip(r.want, why)
	r.want, r.ended, r.held = nil, true, nil
	r.enc.Close()
	return err
}

// Again takes the items from index from on that were not begun off the list, and returns their kinds, which can be
// tried again: what one item held up is not lost with it. If none was begun, all stay.
func (c *Collection) Again(from int, kinds []Kind) []Kind {
	begun := func(it Item) bool { return !it.Begun.IsZero() }
	if !slices.ContainsFunc(c.Items[from:], begun) {
		return nil
	}
	items, kept := c.Items[:from:from], c.kept[:from:from]
	for i := from; i < len(c.Items); i++ {
		if begun(c.Items[i]) {
			items, kept = append(items, c.Items[i]), append(kept, c.kept[i])
		}
	}
	c.Items, c.kept = items, kept
	return slices.DeleteFunc(slices.Clone(kinds), func(k Kind) bool {
		return slices.ContainsFunc(items[from:], func(it Item) bool { return it.Name == k.Name })
	})
}

// Skip lists kinds that are not read at a stage, and why.
func (c *Collection) Skip(stage Stage, kinds []Kind, why string) {
	for _, k := range kinds {
		c.add(Item{Name: k.Name, Stage: stage, How: k.How, Error: "not read: " + why}, nil)
	}
}

func (c *Collection) add(it Item, kept []byte) {
	c.Items, c.kept = append(c.Items, it), append(c.kept, kept)
	c.total += len(kept)
}

// Only returns a collection of the items whose files are wanted. What is kept of them is shared.
func (c *Collection) Only(want func(file string) bool) *Collection {
	some := new(Collection)
	for i, it := range c.Items {
		if it.File != "" && want(it.File) {
			some.add(it, c.kept[i])
		}
	}
	return some
}

// Content returns the bytes of an item; nil if there are none.
func (c *Collection) Content(i int) ([]byte, error) {
	if c.kept[i] == nil {
		return nil, nil
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(128<<20))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	return dec.DecodeAll(c.kept[i], nil)
}

// Replace puts other content in the place of an item's: what was made of what was read.
func (c *Collection) Replace(i int, content []byte) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	defer enc.Close()
	sum := sha256.Sum256(content)
	kept := enc.EncodeAll(content, nil)
	c.total += len(kept) - len(c.kept[i])
	c.kept[i] = kept
	it := &c.Items[i]
	it.Bytes, it.SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
	return nil
}

// Drop forgets the content of an item, and says why.
func (c *Collection) Drop(i int, why string) {
	c.total -= len(c.kept[i])
	c.kept[i] = nil
	it := &c.Items[i]
	it.File, it.Bytes, it.SHA256, it.Error = "", 0, "", why
}
