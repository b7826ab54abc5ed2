//go:build unix

package acquire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		collects(t, "version")(o)
		o.Signer, o.testOnlyInterimDelay = alice, time.Hour
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
		if rep.Verdict != VerdictPartial || len(rep.Problems) > 0 || !rep.Manifest.Complete || !strings.Contains(rep.Manifest.Interim, name+ManifestSuffix) ||
			rep.Live == nil || rep.Live.Verdict != VerdictOK || // it is stored by then
			len(rep.Swap) != 1 || rep.Swap[0].Verdict != VerdictPartial || !strings.Contains(rep.Swap[0].Reasons[0], "not known") {
			t.Errorf("%s: %+v", n, rep)
		}
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

// TestInterimCollect: what is collected beside an image takes its time; meanwhile the image has a manifest,
// and an image whose collection is quick has no other than the last.
func TestInterimCollect(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]bool{"slow": true, "quick": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newKcore(t)
			dir := t.TempDir()
			d, err := sink.NewDisk(dir)
			if err != nil {
				t.Fatal(err)
			}
			var meanwhile *VerifyReport
			f.stdout = func(name string, w io.Writer) io.Writer {
				if name != "?" || !slow {
					return w
				}
				for { // the script ends when the image can be verified
					files, _ := filepath.Glob(filepath.Join(dir, "*"+InterimSuffix+SignatureSuffix))
					if len(files) == 1 {
						meanwhile, err = Verify(t.Context(), d, filepath.Base(files[0]), VerifyOptions{Signers: allowed(t, "")})
						return w
					}
					if t.Context().Err() != nil {
						return w
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			res := f.capture(t.Context(), dir, func(o *Options) {
				collects(t, "version")(o)
				o.Signer = alice
				if slow {
					o.testOnlyInterimDelay = time.Millisecond
				} else {
					o.testOnlyInterimDelay = time.Hour
				}
			})
			if res.State != StateComplete || res.Err != nil {
				t.Fatalf("%+v", res)
			}
			if files, _ := filepath.Glob(filepath.Join(dir, "*"+InterimSuffix)); (len(files) == 1) != slow {
				t.Errorf("interim manifests %q", files)
			}
			if slow && (err != nil || meanwhile.Verdict != VerdictPartial || len(meanwhile.Problems) > 0 || meanwhile.Live == nil || meanwhile.Live.Verdict != VerdictPartial) {
				t.Errorf("meanwhile: %v, %+v", err, meanwhile)
			}
			rep, err := Verify(t.Context(), d, res.Image.Name, VerifyOptions{Signers: allowed(t, "")})
			if err != nil || rep.Verdict != VerdictOK || rep.Live.Verdict != VerdictOK || rep.Manifest.Interim != "" {
				t.Errorf("at last: %v, %+v", err, rep)
			}
			if !slow {
				return
			}
			// Without the last manifest the archive is one that the interim one says nothing of, for or against.
			if err := os.Remove(filepath.Join(dir, res.Image.Name+ManifestSuffix)); err != nil {
				t.Fatal(err)
			}
			rep, err = Verify(t.Context(), d, res.Image.Name, VerifyOptions{Signers: allowed(t, "")})
			if err != nil || rep.Verdict != VerdictPartial || len(rep.Problems) > 0 || !strings.Contains(strings.Join(rep.NotChecked, " "), LiveSuffix) {
				t.Errorf("by the interim manifest, beside an archive: %v, %+v", err, rep)
			}
		})
	}
}
