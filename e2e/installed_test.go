//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// installedModule: LiME that the distribution's DKMS package left on the guest, packed as Debian 13 packs it. By itself it is
// no reason to trust it; with its digest it is loaded, and stays where it was.
func installedModule(t *testing.T, r *rig) {
	path := "/lib/modules/" + parts.KernelRelease + "/updates/dkms/lime.ko.xz"
	pack := exec.Command("xz", "--check=crc32", "--lzma2=dict=1MiB", "--stdout", parts.Module)
	packed, err := pack.Output()
	if err != nil {
		t.Fatal(err)
	}
	r.push(packed, "/run/lime.ko.xz")
	r.ssh("mkdir -p " + path[:strings.LastIndexByte(path, '/')] + " && mv /run/lime.ko.xz " + path + " && depmod")
	before := r.ssh("sha256sum " + path + " && stat -c '%i %Y %Z' " + path)
	digest := strings.Fields(before)[0]

	flags := append([]string{"--method", "lime"}, r.target("ops")...)
	plan := func(more ...string) *run {
		return start(t, nil, append(append(append([]string{"plan"}, flags...), more...), "127.0.0.1")...)
	}
	plan().want(1, time.Minute, "no LiME module was given", "installed:"+path, "nobody vouches for it", "--module-sha256 "+digest)
	plan("--module-sha256", strings.Repeat("ab", 32)).want(1, time.Minute, "nobody vouches for it")
	// It comes in for a module that does not fit.
	p := plan("--module", parts.OtherModule, "--module-sha256", digest)
	p.want(0, time.Minute)
	if out := p.stdout.String(); !strings.Contains(out, "installed:"+path) || !strings.Contains(out, "pinned sha256") {
		t.Errorf("plan:\n%s", out)
	}
	auto := start(t, nil, append(append([]string{"plan", "--insecure-installed-module"}, r.target("ops")...), "127.0.0.1")...)
	auto.want(0, time.Minute)
	if out := auto.stdout.String(); !strings.Contains(out, "only the target vouches for installed:"+path) || !strings.Contains(out, "kcore can be used") {
		t.Errorf("plan:\n%s", out)
	}

	args := append(append([]string{"capture", "--module-sha256", digest}, flags...), "--output", r.dir, "--case", "e2e", "--sign-key", r.signKey(), "--progress", "lines", "127.0.0.1")
	start(t, nil, args...).want(0, 8*time.Minute)
	r.clean(30 * time.Second)
	m := r.manifest()
	if !m.Complete || m.Module == nil || m.Module.Signature != kernelmodules.Pinned || m.Module.Origin != "installed:"+path || m.Module.SHA256 != sha256File(t, parts.Module) {
		t.Fatalf("complete %t, module %+v", m.Complete, m.Module)
	}
	if in := m.Module.Installed; in == nil || in.Path != path || in.Checksum != digest || in.Size != int64(len(packed)) {
		t.Errorf("installed %+v", in)
	}
	if after := r.ssh("sha256sum " + path + " && stat -c '%i %Y %Z' " + path); after != before {
		t.Errorf("the installed module was %q, is %q", before, after)
	}
	if module, err := os.ReadFile(parts.Module); err != nil || bytes.Equal(module, packed) {
		t.Errorf("the module was not packed: %v", err)
	}
}
