package acquire

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/wire"
)

//go:embed zip.sh
var zipScript string

// Values of Options.CompressOnTarget beside the names of the compressors.
const (
	ZipOff  = "off"
	ZipAuto = "auto"
)

// Zips are all values of Options.CompressOnTarget.
var Zips = append([]string{ZipOff, ZipAuto}, wire.Tools...)

// A zip is how bytes come from a target.
type zip struct {
	tool string // of package wire; empty: as they are
	way  string // what reads LiME's port there; empty: our SSH server, and bytes come as they are
}

// ticksPerSecond is how the kernel counts CPU time for user space, on x86 and arm64 alike
// (USER_HZ, include/asm-generic/param.h).
const ticksPerSecond = 100

// A WireUse says how memory was compressed on the target.
type WireUse struct {
	Command string `json:"command"`           // that ran there
	Through string `json:"through,omitempty"` // what read LiME's port there
	Raw     int64  `json:"raw_bytes"`         // that were unpacked, repeated ones too
	Wire    int64  `json:"wire_bytes"`        // that came
	// Processes is how many were started for it, reading included, and CPU the seconds that they
	// took, by the target's word; what was cut off is not in it.
	Processes int64   `json:"processes"`
	CPU       float64 `json:"cpu_seconds"`
}

// findZip looks what the target has, if compressing there is allowed. That it has nothing is a
// warning: bytes come as they are then.
func (s *Step) findZip(ctx context.Context) error {
	h, allowed := s.host, s.opts.CompressOnTarget
	if allowed == "" || allowed == ZipOff {
		return nil
	}
	nonce := newNonce()
	out, err := h.root(ctx, zipScript, nonce)
	if err != nil {
		return fmt.Errorf("look for a compressor: %w", err)
	}
	has, ways, whole := parseZip(string(out), nonce)
	if !whole {
		return fmt.Errorf("look for a compressor: the target's answer ended early")
	}
	for _, t := range wire.Tools {
		if (allowed == ZipAuto || allowed == t) && slices.Contains(has, t) {
			h.zip.tool = t
			break
		}
	}
	if h.zip.tool == "" {
		want := allowed
		if allowed == ZipAuto {
			want = strings.Join(wire.Tools, ", ")
		}
		s.Warnings = append(s.Warnings, fmt.Sprintf("the target has none of %s that works: memory comes as it is, not compressed", want))
		return nil
	}
	if len(ways) > 0 {
		h.zip.way = ways[0]
	}
	return nil
}

// parseZip reads what zip.sh says.
func parseZip(out, nonce string) (tools, ways []string, whole bool) {
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "@"+nonce {
			continue
		}
		switch words[1] {
		case "zip":
			tools = words[2:]
		case "way":
			for _, w := range words[2:] {
				if slices.Contains(portReaders, w) {
					ways = append(ways, w)
				}
			}
		case "end":
			return tools, ways, true
		}
	}
	return nil, nil, false
}

// portReaders are what limezip.sh can read a port with.
var portReaders = []string{"bash", "nc", "ncat", "socat", "busybox"}
