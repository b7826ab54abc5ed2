package workstation_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/cmd/internal/workstation"
)

// What is measured is what CloudFormation hands over, and terms that do not fit are refused before anything is made.
func TestUserDataSize(t *testing.T) {
	terms := workstation.Terms{Case: "case-42", Bucket: "evidence", Prefix: "case-42/", ToolSums: strings.Repeat("x", 4096)}
	script := terms.UserData("eu-west-1")
	if d := cmp.Diff(newMachine(t).script(terms.ToolSums), script); d != "" {
		t.Error(d)
	}
	t.Logf("%d bytes without tools", len(script)-4096)
	if err := terms.Valid(); err != nil {
		t.Error(err)
	}
	terms.Bucket, terms.Prefix, terms.ToolSums = strings.Repeat("b", 63), strings.Repeat("p", 699)+"/", strings.Repeat("x", 1024)
	if err := terms.Valid(); err != nil {
		t.Error(err)
	}
	terms.ToolSums = strings.Repeat("x", 4096)
	if err := terms.Valid(); err == nil || !strings.Contains(err.Error(), "EC2 takes 16384") {
		t.Errorf("longer than EC2 takes: %v", err)
	}
}

// booted is a machine whose shotglass finds these images.
func booted(t *testing.T, images string) *machine {
	m := newMachine(t)
	m.write("bin/shotglass", "#!/bin/bash\necho \"$*\" > "+m.at("asked")+"\ncat "+m.at("images")+"\n[ ! -e "+m.at("unlisted")+" ] || { echo 'shotglass: warning: one is odd' >&2; exit 3; }\n")
	m.write("images", images)
	m.write("boot/loader/entries/a.conf", "title x\noptions root=UUID=abc ro console=ttyS0\n")
	m.write("etc/fstab", "UUID=abc / xfs defaults 1 1\nUUID=D-E /boot/efi vfat defaults 0 2\n")
	m.write("mounted", m.at("boot/efi")+"\n")
	m.boot("")
	m.must(os.Symlink(m.at("usr/bin/mount-evidence"), m.at("bin/mount-evidence")))
	return m
}

func TestPinned(t *testing.T) {
	m := booted(t, "")
	id := strings.TrimSpace(m.read("partuuid"))
	if len(id) != 36 || m.read("etc/fstab") != "PARTUUID="+id+" / xfs defaults,noatime 1 1\n" || !strings.Contains(m.read("etc/fstab.first"), "/boot/efi") {
		t.Errorf("%s: %s", id, m.read("etc/fstab"))
	}
	if e := m.read("boot/loader/entries/a.conf"); !strings.HasPrefix(e, "title x\noptions root=PARTUUID="+id+" rd.auto=0 ") || !strings.HasSuffix(e, " ro console=ttyS0 panic=0\n") {
		t.Error(e)
	}
	if s := m.read("opt/tools/BOOT"); !strings.HasPrefix(s, "boot: Linux finds its root by an identifier of its own") {
		t.Error(s)
	}
	if m.read("mounted") != "" || m.read("synced") != m.read("etc/fstab") {
		t.Errorf("mounted still: %s; flushed: %s", m.read("mounted"), m.read("synced"))
	}
	if s := m.read("sysctl"); s != "kernel.panic = 0\nkernel.panic_on_oops = 0\n" {
		t.Error(s)
	}
	for _, spoil := range []string{"nogpt", "lost"} {
		m := newMachine(t)
		m.write(spoil, "")
		m.write("boot/loader/entries/a.conf", "options root=UUID=abc ro\n")
		m.write("etc/fstab", "as it was\n")
		m.boot("")
		if s := m.read("opt/tools/BOOT"); !strings.HasPrefix(s, "boot: NOT PINNED") || m.read("etc/fstab") != "as it was\n" || m.read("boot/loader/entries/a.conf") != "options root=UUID=abc ro\n" {
			t.Errorf("%s: %s", spoil, s)
		}
	}
	m = newMachine(t) // no boot loader that is known
	m.boot("")
	if s := m.read("opt/tools/BOOT"); !strings.HasPrefix(s, "boot: NOT PINNED") || m.read("partuuid") != "" {
		t.Error(s)
	}
}

func TestCaseMounts(t *testing.T) {
	m := booted(t, "complete\tplain\tweb1.lime.zst\ts3://evidence/case-42/web1.lime.zst\npartial\tencrypted\tsub/db-1.lime.zst.age\ts3://evidence/case-42/sub/db-1.lime.zst.age\n")
	if s := m.read("systemctl"); !strings.Contains(s, "enable --now shotglass-case-mounts.timer") {
		t.Error(s)
	}
	if u := m.read("etc/systemd/system/shotglass-image@.service"); !strings.Contains(u, ` mount --allow-other "s3://evidence/case-42/%I" "`) {
		t.Error(u)
	}
	m.must(os.Remove(m.at("fs/nvme1n1p3"))) // LVM, which TestFirstBoot is about
	read := func(want bool) string {
		t.Helper()
		if out, ok := m.run(m.at("usr/bin/shotglass-case-mounts")); ok != want {
			t.Errorf("%v\n%s\n%s", ok, out, m.read("case/README"))
		}
		return m.read("case/README")
	}
	says := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, strings.ReplaceAll(w, "/case/", m.root+"/case/")) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}
	says(read(true), "/case/web1.lime.zst: complete\n", "tools: none were given\n", "boot: Linux finds", "/dev/nvme1n1p1 on ",
		"/case/sub/db-1.lime.zst.age is NOT mounted: partial, encrypted. With the identity in a file: sudo shotglass mount --allow-other --identity FILE s3://evidence/case-42/sub/db-1.lime.zst.age /case/sub/db-1.lime.zst.age\n")
	if s := m.read("systemctl"); strings.Count(s, "start shotglass-image@") != 1 || !strings.Contains(s, "start shotglass-image@web1.lime.zst.service\n") || strings.TrimSpace(m.read("asked")) != "workstation images s3://evidence/case-42/" {
		t.Error(s)
	}
	m.write("mounted", m.at("case/web1.lime.zst")+"\n"+m.at("case/sub/db-1.lime.zst.age")+"\n")
	m.write("systemctl", "")
	says(read(true), "/case/web1.lime.zst: complete\n", "/case/sub/db-1.lime.zst.age: mounted by hand; by its manifest now partial\n")
	if s := m.read("systemctl"); s != "" {
		t.Errorf("mounted already: %s", s)
	}
	m.write("images", strings.Replace(m.read("images"), "complete", "unvouched", 1))
	says(read(true), "/case/web1.lime.zst: mounted as complete; by its manifest now unvouched: sudo systemctl stop 'shotglass-image@web1.lime.zst.service'; sudo shotglass-case-mounts\n")
	m.must(os.Remove(m.at("mounted")))
	m.must(os.Remove(m.at("started")))
	says(read(true), "/case/web1.lime.zst: unvouched\n")
	m.write("mounted", m.at("case/web1.lime.zst")+"\n")
	says(read(true), "/case/web1.lime.zst: unvouched\n")
	m.must(os.Remove(m.at("mounted")))
	m.write("unmountable", "")
	m.write("unlisted", "")
	says(read(false), "/case/web1.lime.zst is NOT mounted: journalctl -u 'shotglass-image@web1.lime.zst.service'\n", "NOT ALL could be told:\nshotglass: warning: one is odd\n")
}

// The images are told while the volumes hang, and README is no folder of an image.
func TestCaseMountsHang(t *testing.T) {
	m := booted(t, "complete\tplain\tweb1.lime.zst\ts3://evidence/case-42/web1.lime.zst\n")
	if s := m.read("case/README"); !strings.HasPrefix(s, "The first boot goes on") {
		t.Errorf("before: %q", s)
	}
	m.write("hung", "")
	out, ok := m.run(m.at("usr/bin/shotglass-case-mounts"))
	if s := m.read("case/README"); ok || !strings.Contains(s, "web1.lime.zst: complete\nmount-evidence hangs, or") || !strings.HasSuffix(s, "not looked at yet\n") {
		t.Errorf("%v %s\n%s", ok, out, s)
	}
	m.must(os.Remove(m.at("hung")))
	if out, _ := m.run(m.at("usr/bin/shotglass-case-mounts")); !strings.Contains(m.read("case/README"), "/dev/nvme1n1p1 on ") {
		t.Errorf("%s\n%s", out, m.read("case/README"))
	}
}

// Two btrfs of one UUID are one to Linux, which may read either.
func TestTwins(t *testing.T) {
	m := newMachine(t)
	m.write("fs/nvme1n1p1", "btrfs abc\n")
	m.write("fs/nvme1n1p2", "btrfs abc\n")
	m.write("fs/nvme1n1p3", "ext2\n")
	m.boot("")
	out, ok := m.run(m.at("usr/bin/mount-evidence"))
	if ok || !strings.Contains(out, "/dev/nvme1n1p2 is btrfs with the UUID of another: not mounted") {
		t.Errorf("%v %s", ok, out)
	}
	if have := m.read("mounts"); strings.Count(have, "\n") != 2 || !strings.Contains(have, "-o ro,rescue=nologreplay,nodev,nosuid,noexec /dev/nvme1n1p1 ") || !strings.Contains(have, "-o ro,nodev,nosuid,noexec /dev/nvme1n1p3 ") {
		t.Error(have)
	}
}
