package acquire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// A SwapHeader is the first page of a swap area, as mkswap(8) writes it and as the kernel's
// include/linux/swap.h lays it out.
type SwapHeader struct {
	Magic    string `json:"magic"` // SWAPSPACE2; SWAP-SPACE before Linux 2.2; S1SUSPEND and others: a hibernated system
	PageSize int    `json:"page_size"`
	Version  uint32 `json:"version"`
	Pages    uint64 `json:"pages"` // the header's included
	BadPages uint32 `json:"bad_pages,omitempty"`
	UUID     string `json:"uuid,omitempty"`
	Label    string `json:"label,omitempty"`
}

// Bytes is how large an area the header speaks of.
func (h *SwapHeader) Bytes() int64 { return int64(h.Pages) * int64(h.PageSize) }

// Usable is how many bytes the kernel can swap to an area with such a header, as /proc/swaps says them:
// neither to the header nor to bad pages. 0 if the header says no size.
func (h *SwapHeader) Usable() int64 {
	return max(0, int64(h.Pages)-1-int64(h.BadPages)) * int64(h.PageSize)
}

// MaxSwapPage is the largest page of a kernel that Linux has, so that a header lies in as many
// first bytes of an area.
const MaxSwapPage = 64 << 10

// swapMagics end the first page. The last ones take the first's place while the system
// is hibernated.
var swapMagics = []string{"SWAPSPACE2", "SWAP-SPACE", "S1SUSPEND\x00", "S2SUSPEND\x00", "LINHIB0001"}

// ParseSwapHeader finds the header in the first bytes of an area, of which there should be
// MaxSwapPage; nil if there is none. Pages may be of any size, and of either byte order.
func ParseSwapHeader(head []byte) *SwapHeader {
	for size := 4096; size <= min(MaxSwapPage, len(head)); size *= 2 {
		for _, magic := range swapMagics {
			if !bytes.Equal(head[size-len(magic):size], []byte(magic)) {
				continue
			}
			h := &SwapHeader{Magic: strings.TrimRight(magic, "\x00"), PageSize: size}
			if magic == "SWAP-SPACE" { // its bits, one for each page, say no more than that
				return h
			}
			var order binary.ByteOrder = binary.LittleEndian
			if h.Version = order.Uint32(head[1024:]); h.Version == 1<<24 {
				order, h.Version = binary.BigEndian, 1
			}
			h.Pages = uint64(order.Uint32(head[1028:])) + 1
			h.BadPages = order.Uint32(head[1032:])
			if u := head[1036:1052]; !bytes.Equal(u, make([]byte, 16)) {
				x := hex.EncodeToString(u)
				h.UUID = strings.Join([]string{x[:8], x[8:12], x[12:16], x[16:20], x[20:]}, "-")
			}
			label, _, _ := bytes.Cut(head[1052:1068], []byte{0})
			h.Label = strings.ToValidUTF8(string(label), "?")
			return h
		}
	}
	return nil
}
