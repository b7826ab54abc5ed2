//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/convert"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// converted has an image of LiME in every form, opened by what it is for, and turned back.
func converted(t *testing.T, r *rig, image string, m *acquire.Manifest) {
	dir := t.TempDir()
	file := func(form string) string {
		name := form
		if form == "gzip" {
			name = "image.lime.gz" // Volatility goes by the name
		}
		return filepath.Join(dir, name)
	}
	made := func(form, from, to string) {
		t.Helper()
		p := start(t, nil, "convert", "--sign-key", r.signKey(), "--signers", r.signers(), "--form", form, "--output", dir, "--name", filepath.Base(to), from)
		p.want(0, 2*time.Minute)
		if want := fmt.Sprintf("%s\tcomplete\t%d\t", form, m.Image.Raw.Bytes); !strings.HasPrefix(p.stdout.String(), want) || !strings.Contains(p.stdout.String(), m.Image.Raw.SHA256) {
			t.Errorf("%q, want %q and %s", p.stdout.String(), want, m.Image.Raw.SHA256)
		}
	}
	banner := fmt.Sprintf("0x%x\tLinux version %s", m.Target.Facts.BannerAddress, parts.KernelRelease)
	from := image
	for _, form := range []string{"avml2", "gzip", "raw", "avml1", "elf"} { // each from the one before
		made(form, from, file(form))
		from = file(form)
		t.Run(form, func(t *testing.T) {
			out, err := exec.Command(parts.Volatility, "-q", "-f", file(form), "banners.Banners").CombinedOutput()
			if err != nil || !strings.Contains(string(out), banner) {
				t.Errorf("Volatility does not say %q: %v\n%s", banner, err, out)
			}
		})
	}
	made("lime", from, file("back"))
	if got := sha256File(t, file("back")); got != m.Image.Raw.SHA256 {
		t.Errorf("SHA-256 of the image that came back is %s, want %s", got, m.Image.Raw.SHA256)
	}
	start(t, nil, "verify", "--signers", r.signers(), file("elf"), file("avml2")).want(0, time.Minute)

	cache, err := lab.Cache()
	if err != nil {
		t.Fatal(err)
	}
	// By physical address, and by the kernel's page tables, which drgn finds by VMCOREINFO.
	script := fmt.Sprintf(`
import drgn
p = drgn.Program()
p.set_core_dump(%q)
info = dict(l.split("=", 1) for l in p["VMCOREINFO"].string_().decode().splitlines())
print(info["OSRELEASE"])
at = %#x
print(p.read(at, 60, True))
print(p.read(at + 0xffffffff80000000 - int(info["NUMBER(phys_base)"]), 60))
`, file("elf"), m.Target.Facts.BannerAddress)
	t.Run("drgn", func(t *testing.T) {
		out, err := exec.Command(filepath.Join(cache, "drgn-0.3.0", "bin", "python"), "-c", script).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), parts.KernelRelease+"\n") || strings.Count(string(out), "b'Linux version "+parts.KernelRelease) != 2 {
			t.Errorf("drgn: %v: %s", err, out)
		}
	})
	t.Run("gdb", func(t *testing.T) {
		data, err := os.ReadFile(file("elf") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		record, err := convert.ParseRecord(data)
		if err != nil || record.Core == nil || record.Core.DirectMap == 0 {
			t.Fatalf("where the kernel maps memory was not found: %v, %+v", err, record)
		}
		out, err := exec.Command("gdb", "-q", "-nx", "-batch", "-ex", fmt.Sprintf("x/s %#x", uint64(record.Core.DirectMap)+m.Target.Facts.BannerAddress), "-c", file("elf")).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"Linux version `+parts.KernelRelease) {
			t.Errorf("gdb: %v: %s", err, out)
		}
	})
}
