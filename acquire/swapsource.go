package acquire

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/kcore"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/stripe"
)

//go:embed swaplook.sh
var swapLookScript string

// A swapLook is what swaplook.sh saw.
type swapLook struct {
	boot     string
	listed   bool // active are all that there are
	active   []Swap
	zswap    bool // pages may lie in its pool, and not on the areas
	areas    []swapArea
	searched bool   // processes were looked for, and the search is known to work
	pids     string // of our processes
}

// A swapArea is the device or the file that a swap area lies on.
type swapArea struct {
	kind   string // device, file; empty: there is none of that name
	size   int64  // bytes to read
	rest   int64  // bytes after those: the kernel does not swap to them
	direct bool   // it can be read around the page cache
	// Of a device of the device mapper, its name there and its UUID, which begins with the kind.
	mapping string
}

// maxArea bounds what a target may say of the size of an area: the kernel's limit is 2^50 bytes with
// pages of 4 KiB (32 bits of page numbers are less, on x86-64).
const maxArea = 1 << 50

// lookAtSwap runs swaplook.sh for areas. mark finds the processes that have read, which get patience to
// end by themselves.
func lookAtSwap(ctx context.Context, h *remote, areas []Swap, mark string, patience time.Duration) (*swapLook, error) {
	nonce := newNonce()
	args := []string{nonce, mark, strconv.Itoa(int(patience.Seconds()))}
	for _, a := range areas {
		args = append(args, a.Name)
	}
	out, err := h.root(ctx, processesScript+swapLookScript, args...)
	if err != nil {
		return nil, fmt.Errorf("look at the swap areas: %w", err)
	}
	sec, err := sections(out, nonce)
	if err != nil {
		return nil, errors.New("look at the swap areas: the target's answer ended early")
	}
	l := &swapLook{
		boot: strings.TrimSpace(sec["boot"]), listed: swapsListed(sec["swaps"]), active: parseSwaps(sec["swaps"]), zswap: strings.TrimSpace(sec["zswap"]) == "Y",
		searched: strings.TrimSpace(sec["search"]) == "works", pids: strings.TrimSpace(sec["pids"]),
	}
	for i, s := range areas {
		a := parseArea(sec["area"+strconv.Itoa(i+1)])
		if now, ok := l.find(s.Name); ok { // a small area may lie on a large device
			size := min(a.size, swapSpan(now.Bytes)/page*page)
			a.size, a.rest = size, a.size-size
		}
		l.areas = append(l.areas, a)
	}
	return l, nil
}

// swapsListed reports whether text is /proc/swaps, which has a first line even where there is no
// area, or says that the kernel has no such file.
func swapsListed(text string) bool {
	text = strings.TrimSpace(text)
	return text == "none" || strings.HasPrefix(text, "Filename")
}

func parseArea(text string) (a swapArea) {
	var name, uuid string
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch k {
		case "kind":
			a.kind = v
		case "bytes", "sectors":
			n, err := strconv.ParseInt(v, 10, 53)
			if k == "sectors" { // of 512 bytes, whatever the device's own are
				n *= 512
			}
			if err == nil && n > 0 && n <= maxArea {
				a.size = n / page * page // to a part of a page no kernel swaps
			}
		case "direct":
			a.direct = v == "yes"
		case "name":
			name = v
		case "uuid":
			uuid = v
		}
	}
	if name != "" {
		a.mapping = name + " (" + uuid + ")"
	}
	return a
}

// find returns the active area called name.
func (l *swapLook) find(name string) (s Swap, ok bool) {
	i := slices.IndexFunc(l.active, func(s Swap) bool { return s.Name == name })
	if i < 0 {
		return Swap{}, false
	}
	return l.active[i], true
}

// flatLayout cuts a file of size bytes into pieces: what is physical memory elsewhere is the
// offset here. size is a number of whole pages.
func flatLayout(size int64, piece int) *layout {
	return &layout{
		stretches: []stretch{{kcore.Extent{Size: uint64(size)}, 0}},
		size:      piece,
		pieces:    (size + int64(piece) - 1) / int64(piece),
	}
}

// A swapStream reads one area, as memory is read through /proc/kcore: with dd, over one
// or more connections, in large pieces around the page cache.
type swapStream struct {
	*kcoreStream
	from    pieces
	pending []byte // of the piece that is held
	next    int64  // piece
}

// piecesPerLane is what a further connection, which is a login, must have to do to be made.
const piecesPerLane = 4

// openSwap returns once the first connection is ready to read.
func openSwap(ctx context.Context, h *remote, src *kcoreSource, a swapArea, name string) (*swapStream, error) {
	l := flatLayout(a.size, src.piece)
	lanes := int(max(1, min(l.pieces/piecesPerLane, int64(src.most))))
	src = &kcoreSource{path: name, piece: src.piece, first: min(src.first, lanes), most: lanes}
	if a.direct {
		src.direct = "direct"
	}
	st := &swapStream{kcoreStream: &kcoreStream{
		h: h, src: src, mark: newNonce(), bad: map[int64][]lime.Range{}, reads: map[uint64]*ReadTime{}, layout: l,
	}}
	first, err := startLane(ctx, st.kcoreStream, h.conn, false)
	if err != nil {
		st.runs.Wait()
		return st, fmt.Errorf("start to read: %w", err)
	}
	st.spare = first
	st.reader = stripe.Start(context.WithoutCancel(ctx), stripe.Options{
		Pieces: st.layout.pieces, Size: st.layout.sizeOf, Max: src.piece, Open: st.connect,
		Lanes: src.first, Most: src.most, RoundTrip: h.conn.Info().RTT, Quiet: h.opts.testOnlyQuiet,
		Event: func(s string) { h.mark("%s", s) },
	})
	st.from = st.reader
	return st, nil
}

// Read implements Stream.
func (st *swapStream) Read(p []byte) (int, error) {
	for len(st.pending) == 0 {
		i, b, err := st.from.Next()
		if err == io.EOF && st.next != st.layout.pieces {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		if i != st.next || len(b) != st.layout.sizeOf(i) {
			return 0, fmt.Errorf("piece %d of %d bytes does not belong where piece %d does", i, len(b), st.next)
		}
		st.next++
		st.pending = b
	}
	n := copy(p, st.pending)
	if st.pending = st.pending[n:]; len(st.pending) == 0 {
		st.from.Done()
	}
	return n, nil
}

// close ends all connections of its own.
func (st *swapStream) close() {
	if st.reader != nil {
		st.reader.Close()
	}
	if st.spare != nil {
		st.spare.Close()
	}
	st.runs.Wait()
}
