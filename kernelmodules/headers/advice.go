package headers

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// MachineOf returns the machine that a kernel's release names, in uname -m's words; empty: it names none. Debian's and
// Red Hat's do, Ubuntu's and SUSE's do not.
func MachineOf(release string) string {
	for _, m := range []struct{ part, machine string }{
		{"amd64", "x86_64"}, {"arm64", "aarch64"}, {"x86_64", "x86_64"}, {"aarch64", "aarch64"},
	} {
		for _, word := range strings.FieldsFunc(release, func(r rune) bool { return r == '-' || r == '.' || r == '+' }) {
			if word == m.part {
				return m.machine
			}
		}
	}
	return ""
}

// kinds are the distributions whose releases can be told apart.
var kinds = []struct {
	release *regexp.Regexp
	advice  func(k kernelmodules.Kernel, host string, m []string) string
}{
	{regexp.MustCompile(`\.amzn2\.`), func(k kernelmodules.Kernel, _ string, _ []string) string {
		return fmt.Sprintf("Amazon Linux 2: on such an instance, yumdownloader %s (of yum-utils)", rpmName("kernel-devel", k))
	}},
	{regexp.MustCompile(`\.amzn\d{4}\.`), func(k kernelmodules.Kernel, _ string, _ []string) string {
		return fmt.Sprintf("Amazon Linux: on such an instance, dnf download %s; kernels 6.12 and newer have it in kernel6.12-devel and so on", rpmName("kernel-devel", k))
	}},
	{regexp.MustCompile(`\.el(\d+)`), func(k kernelmodules.Kernel, _ string, m []string) string {
		return fmt.Sprintf("RHEL %s or a rebuild: there, dnf download %s (yumdownloader on 7); older ones are in the vault of the rebuild, or the customer portal", m[1], rpmName(develPackage(k.Release), k))
	}},
	{regexp.MustCompile(`\.fc\d+`), func(k kernelmodules.Kernel, _ string, _ []string) string {
		return fmt.Sprintf("Fedora: there, dnf download %s; older ones are on koji.fedoraproject.org", rpmName("kernel-devel", k))
	}},
	{regexp.MustCompile(`^(\d+\.\d+\.\d+-\d+)-(aws|azure|gcp|oracle|kvm|generic|lowlatency)(-64k)?$`), func(k kernelmodules.Kernel, _ string, m []string) string {
		all := "linux-headers-" + m[1]
		if m[2] != "generic" && m[2] != "lowlatency" {
			all = fmt.Sprintf("linux-%s-headers-%s (linux-%s-%s-headers-%s on an LTS with a newer kernel)", m[2], m[1], m[2], majorMinor(m[1]), m[1])
		}
		return fmt.Sprintf("Ubuntu: there, apt-get download linux-headers-%s:%s and %s; elsewhere with --apt-sources FILE, or from launchpad.net/ubuntu/+source/linux-%s",
			k.Release, debArch(k.Machine), all, m[2])
	}},
	{regexp.MustCompile(`^(\d+\.\d+\.\d+-\d{3,}\.[\d.]+)-(default|azure|rt)$`), func(k kernelmodules.Kernel, _ string, m []string) string {
		return fmt.Sprintf("SUSE: there, zypper --pkg-cache-dir DIR download kernel-%s-devel kernel-devel, both of the version %s (packages have one number more than uname -r), for %s", m[2], m[1], k.Machine)
	}},
	{regexp.MustCompile(`^\d+\.\d+\.\S*-(amd64|arm64)(-16k|-64k)?$`), func(k kernelmodules.Kernel, host string, _ []string) string {
		return fmt.Sprintf("Debian: apt-get download linux-headers-%s:%s, and of what it depends on linux-headers-...-common and linux-kbuild-...:%s; kernels that left the archive are in Debian's snapshot archive, under linux",
			k.Release, debArch(k.Machine), debArch(host))
	}},
}

// Advice says which packages hold the headers of a kernel, and how to get them, as far as its release tells.
func Advice(k kernelmodules.Kernel, host string) string {
	for _, kind := range kinds {
		if m := kind.release.FindStringSubmatch(k.Release); m != nil {
			return kind.advice(k, host, m) + ". Then: shotglass modules build --headers DIR"
		}
	}
	return "get the packages with the headers of this kernel from its distribution (linux-headers, kernel-devel), or the build folder of who compiled it. Then: shotglass modules build --headers DIR"
}

// rpmName is the package of a kernel whose release may end in the machine.
func rpmName(name string, k kernelmodules.Kernel) string {
	release, _, _ := strings.Cut(k.Release, "+")
	if k.Machine != "" && !strings.HasSuffix(release, "."+k.Machine) {
		release += "." + k.Machine
	}
	return name + "-" + release
}

// majorMinor is 6.5 of 6.5.0-1014.
func majorMinor(release string) string {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return release
	}
	return parts[0] + "." + parts[1]
}
