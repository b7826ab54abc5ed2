package acquire

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
)

// swapStem is what the names of an image and of its swap areas begin with.
func swapStem(image string) string {
	s := strings.TrimSuffix(image, agefile.Suffix)
	for _, c := range frame.Compressions {
		if suffix := frame.Suffix(c); suffix != "" && strings.HasSuffix(s, suffix) {
			s = strings.TrimSuffix(s, suffix)
			break
		}
	}
	return strings.TrimSuffix(strings.TrimSuffix(s, ".lime"), "-mem")
}

// SwapName is the name of the file with the n-th swap area, from 1, beside an image: of
// HOST-TIME-mem.lime.zst it is HOST-TIME-swap-1.raw.zst.
func SwapName(image string, n int, compression string, encrypted bool) string {
	name := fmt.Sprintf("%s-swap-%d.raw%s", swapStem(image), n, frame.Suffix(compression))
	if encrypted {
		name += agefile.Suffix
	}
	return name
}

// swapFile is what SwapName makes.
var swapFile = regexp.MustCompile(`^(.+)-swap-([1-9][0-9]{0,2})\.raw((?:\.zst|\.s2)?(?:\.age)?)$`)

// maxActive is how many swap areas a kernel has at most.
const maxActive = 32

// maxSwaps is how many a manifest can list: all may be others than at the plan.
const maxSwaps = 2 * maxActive

// IsSwap reports whether a file that a capture wrote holds a swap area, by its name, and whether
// it holds it as it was.
func IsSwap(name string) (is, plain bool) {
	m := swapFile.FindStringSubmatch(name)
	return m != nil, m != nil && strings.TrimSuffix(m[3], agefile.Suffix) == ""
}

// swapOwner is the image that a swap area lies beside, if that has the name which it gets
// by itself.
func swapOwner(name string) (image string, ok bool) {
	m := swapFile.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	return m[1] + "-mem.lime" + m[3], true
}
