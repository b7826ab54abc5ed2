package pipeline

import "github.com/shotglass-ir/shotglass/acquire/lime"

const banner = "Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, " +
	"GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-10-11)\n\x00"

func newWalker() *lime.Walker {
	return lime.NewWalker(lime.WalkerOptions{Needles: []lime.Needle{
		{Name: "banner", Text: []byte(banner)},
		{Name: "vmcoreinfo", Text: []byte("OSRELEASE=6.1.0-56-cloud-amd64\n")},
	}})
}
