//go:build unix

package acquire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/sink"
)

// interimEnv makes a test capture a target with swap into this folder, and stop while swap is read.
const interimEnv = "SHOTGLASS_TEST_INTERIM"

// TestInterimCapture is the program that TestInterim kills.
func TestInterimCapture(t *testing.T) {
	dir := os.Getenv(interimEnv)
	if dir == "" {
		return // TestInterim has more
	}
	f := newKcore(t)
	f.dd = withDirect
	f.addSwap("swap1", 2<<20, swapHead(4096, 512, binary.LittleEndian, ""))
	f.exec = func(script string) {
		if script == "read" && f.scripts["swap"] > 0 {
			fmt.Println("reading swap")
			select {}
		}
	}
	res := f.capture(t.Context(), dir, func(o *Options) {
		asksSwap(o)
		o.Signer = alice
	})
	t.Fatalf("it ended: %+v", res)
}

// TestInterim: a run that is killed while swap is read leaves an image with a manifest, which speaks
// for it until there is the last one.
func TestInterim(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestInterimCapture$")
	cmd.Env = append(os.Environ(), interimEnv+"="+dir, "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for sc := bufio.NewScanner(out); sc.Scan(); {
		if said += sc.Text() + "\n"; sc.Text() == "reading swap" {
			break
		}
	}
	cmd.Process.Kill()
	if err := cmd.Wait(); err == nil || !strings.Contains(said, "reading swap") {
		t.Fatalf("%v: %s", err, said)
	}

	files, _ := filepath.Glob(filepath.Join(dir, "*"+InterimSuffix))
	if len(files) != 1 {
		all, _ := filepath.Glob(filepath.Join(dir, "*"))
		t.Fatalf("left %q", all)
	}
	d, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(filepath.Base(files[0]), InterimSuffix)
	verify := func(name string) *VerifyReport {
		t.Helper()
		rep, err := Verify(t.Context(), d, name, VerifyOptions{Signers: allowed(t, "")})
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	for _, n := range []string{name, name + InterimSuffix, name + InterimSuffix + SignatureSuffix} {
		rep := verify(n)
		if rep.Verdict != VerdictOK || !rep.Manifest.Complete || !strings.Contains(rep.Manifest.Interim, name+ManifestSuffix) ||
			len(rep.Swap) != 1 || rep.Swap[0].Verdict != VerdictPartial || !strings.Contains(rep.Swap[0].Reasons[0], "not known") {
			t.Errorf("%s: %+v", n, rep)
		}
	}

	// An archive may have been stored after it was written: it says nothing of it, for or against.
	archive := filepath.Join(dir, LiveName(name, false))
	if err := os.WriteFile(archive, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := verify(name); rep.Verdict != VerdictOK || rep.Live != nil || !strings.Contains(strings.Join(rep.NotChecked, " "), LiveSuffix) {
		t.Errorf("beside an archive: %+v", rep)
	}
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}

	// It is not the last one under another name, and not used where that is.
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	last := filepath.Join(dir, name+ManifestSuffix)
	if err := os.WriteFile(last, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := verify(name); rep.Verdict != VerdictMismatch || rep.Problems[0].What != mismatchName {
		t.Errorf("as the last one: %+v", rep)
	}
	if err := os.WriteFile(last, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := verify(name); rep.Verdict != VerdictMismatch || rep.Problems[len(rep.Problems)-1].What != mismatchManifest {
		t.Errorf("beside another: %+v", rep)
	}
}
