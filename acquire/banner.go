package acquire

import (
	"fmt"
	"slices"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// kernelImage returns where the kernel's own code and constants lie, of which linux_banner is one, as far as
// /proc/iomem says so.
func kernelImage(machine, iomem string) []lime.Range {
	code := lime.IOMemNamed(iomem, "Kernel code")
	constants := lime.IOMemNamed(iomem, "Kernel rodata")
	switch {
	case len(code) == 0:
		return nil
	case machine == "aarch64": // "Kernel code" goes up to __init_begin, arch/arm64/kernel/setup.c
		return code
	case machine != "x86_64":
		return nil
	case len(constants) == 0: // in older kernels they are part of "Kernel data", arch/x86/kernel/setup.c
		constants = lime.IOMemNamed(iomem, "Kernel data")
	}
	return constants
}

// needles are the texts that an image of this kernel must hold.
func needles(f *Facts) []lime.Needle {
	var n []lime.Needle
	if len(f.Version) > 1 && len(f.Version) < lime.MaxNeedle && f.Version[0] != 0 {
		// linux_banner ends with a newline and a zero byte, init/version.c
		banner := lime.Needle{Name: needleBanner, Text: []byte(f.Version + "\x00")}
		// Copies may lie below the kernel, as many as any user of the host likes.
		if at := f.BannerAddress; at != 0 {
			banner.In = []lime.Range{{Start: at, End: at}}
		} else {
			banner.In = f.KernelImage
		}
		n = append(n, banner)
	}
	if f.Kernel != "" && len(f.Kernel) < 256 {
		n = append(n, lime.Needle{Name: needleRelease, Text: []byte("OSRELEASE=" + f.Kernel + "\n")})
	}
	return n
}

func (j *judgement) banner() Check {
	var at []lime.Addr
	for _, f := range j.rep.Found {
		if f.Name == needleBanner {
			at = f.Addrs
		}
	}
	want, image := lime.Addr(j.facts.BannerAddress), j.facts.KernelImage
	inside := slices.DeleteFunc(slices.Clone(at), func(a lime.Addr) bool {
		return !slices.ContainsFunc(image, func(r lime.Range) bool { return uint64(a) >= r.Start && uint64(a) <= r.End })
	})
	switch {
	case j.facts.Version == "":
		return Check{checkBanner, Unknown, "the target did not show /proc/version"}
	case want != 0 && slices.Contains(at, want):
		return Check{checkBanner, Pass, fmt.Sprintf("linux_banner is at %s, where kallsyms and /proc/kcore place it", want)}
	case want != 0:
		return Check{checkBanner, Fail, fmt.Sprintf("linux_banner is not at %s, where kallsyms and /proc/kcore place it; found at %v", want, at)}
	case len(at) == 0:
		return Check{checkBanner, Fail, "the text of /proc/version is nowhere in the image"}
	case len(inside) > 0:
		return Check{checkBanner, Pass, fmt.Sprintf("linux_banner is at %v, among the kernel's constants as /proc/iomem places them; kallsyms and /proc/kcore do not tell its place", inside)}
	case len(image) > 0:
		return Check{checkBanner, Fail, fmt.Sprintf("linux_banner is not among the kernel's constants, which /proc/iomem places at %v; the text of /proc/version was found at %v", image, at)}
	default:
		return Check{checkBanner, Pass, fmt.Sprintf("the text of /proc/version is at %v; its place is not known, since the target hides kallsyms or /proc/kcore, or kallsyms does not list it", at)}
	}
}
