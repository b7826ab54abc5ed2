//go:build unix

package repository_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

var errDead = errors.New("dead")

// dying is the depot of a publisher that dies at its nth call: neither that nor a later one takes place. done says
// that a Put that dies takes place all the same, and its answer is lost.
func dying(m *memory, n int, done bool) (d *memory, calls *int) {
	calls = new(int)
	d = shadow{of: m}.memory()
	d.on = func(op string) error {
		*calls++
		switch {
		case *calls == n && done && strings.HasPrefix(op, "put "):
			return nil
		case *calls >= n:
			return errDead
		}
		return nil
	}
	d.after = func(string) error {
		if *calls >= n {
			return errDead
		}
		return nil
	}
	return d, calls
}

// A shadow is another publisher's view of one depot.
type shadow struct {
	of        *memory
	on, after func(string) error
}

func (s shadow) memory() *memory {
	return &memory{files: s.of.files, on: s.on, after: s.after}
}

// TestPublishCutOff: cut off at any call, before it or after it took place, the repository can be read, with the old
// modules or the new, and published again.
func TestPublishCutOff(t *testing.T) {
	t.Parallel()
	key := repositorytest.NewKey(t, nil)
	fpr := repositorytest.Fingerprint(key)
	o := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}}
	one, two, three := module(t, "6.1.0-1", "a"), module(t, "6.1.0-2", "a"), module(t, "6.1.0-3", "a")
	for _, first := range []bool{true, false} {
		for _, done := range []bool{false, true} {
			for n := 1; ; n++ {
				if n > 500 {
					t.Fatal("it has no end")
				}
				base := newMemory()
				old := map[string]string{}
				if !first {
					mustPublish(t, base, o, one)
					old["6.1.0-1"] = one.SHA256
				}
				want := maps.Clone(old)
				want["6.1.0-2"] = two.SHA256
				d, calls := dying(base, n, done)
				_, err := repository.Publish(t.Context(), d, []*kernelmodules.Module{two}, o)
				_, sums, rerr := readAll(t, base, fpr)
				committed := maps.Equal(sums, want)
				switch {
				case first && base.files["repodata/repomd.xml"] == nil: // nothing is there yet
				case rerr != nil:
					t.Fatalf("first %t, done %t, died at call %d of %d: %v", first, done, n, *calls, rerr)
				case !committed && !maps.Equal(sums, old):
					t.Fatalf("first %t, done %t, died at call %d: %v", first, done, n, sums)
				}
				if err == nil && !committed {
					t.Fatalf("died at call %d: success, but %v", n, sums)
				}
				mustPublish(t, base, o, three)
				if _, sums, err := readAll(t, base, fpr); err != nil || sums["6.1.0-3"] != three.SHA256 || !first && sums["6.1.0-1"] == "" || committed && sums["6.1.0-2"] == "" {
					t.Fatalf("died at call %d, then published: %v, %v", n, sums, err)
				}
				if *calls < n {
					break // it has not died any more
				}
			}
		}
	}
}

// TestPublishCutOffOften: signatures of publications that were cut off do not add up for ever.
func TestPublishCutOffOften(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	o := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}}
	d := newMemory()
	mustPublish(t, d, o, module(t, "6.1.0-1", "a"))
	one := len(d.files["repodata/repomd.xml.sig"])
	for range 40 {
		cut := shadow{of: d, on: func(op string) error {
			if op == "put repodata/repomd.xml" {
				return errDead
			}
			return nil
		}}.memory()
		if _, err := repository.Publish(t.Context(), cut, nil, o); !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		if _, _, err := readAll(t, d, repositorytest.Fingerprint(key)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.files["repodata/repomd.xml.sig"]); n < 10*one || n > 17*one {
		t.Errorf("the signature file has %d bytes, one signature %d", n, one)
	}
	mustPublish(t, d, o)
	if n := len(d.files["repodata/repomd.xml.sig"]); n > one+10 {
		t.Errorf("the signature file still has %d bytes", n)
	}
}

// TestPublishTogether: a second publisher does all of its work, or dies before any of its writes, at any call of the
// first; at each moment the repository can be read, nothing that a publisher reported is lost, and who loses says so.
func TestPublishTogether(t *testing.T) {
	t.Parallel()
	key := repositorytest.NewKey(t, nil)
	fpr := repositorytest.Fingerprint(key)
	o := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}}
	base, a, b := module(t, "6.1.0-1", "a"), module(t, "6.1.0-2", "a"), module(t, "6.1.0-3", "a")
	both, lost := 0, 0
	for i := 1; ; i++ {
		ended := false
		for j := 1; ; j++ {
			if i > 500 || j > 500 {
				t.Fatal("it has no end")
			}
			d := newMemory()
			mustPublish(t, d, o, base)
			where := fmt.Sprintf("the second began at call %d of the first and ended at its write %d", i, j)
			check := func(string) error {
				if _, sums, err := readAll(t, d.keep(), fpr); err != nil || sums["6.1.0-1"] == "" {
					t.Fatalf("%s: %v, %v", where, sums, err)
				}
				return nil
			}
			calls, bCalls := 0, 0
			var bErr error
			first := shadow{of: d, after: check}.memory()
			first.on = func(string) error {
				if calls++; calls == i {
					second := shadow{of: d, after: check}.memory()
					second.on = func(op string) error {
						if strings.HasPrefix(op, "put ") {
							bCalls++
						}
						if bCalls >= j {
							return errDead
						}
						return nil
					}
					_, bErr = repository.Publish(t.Context(), second, []*kernelmodules.Module{b}, o)
				}
				return nil
			}
			_, aErr := repository.Publish(t.Context(), first, []*kernelmodules.Module{a}, o)
			_, sums, err := readAll(t, d, fpr)
			switch {
			case err != nil:
				t.Fatalf("%s: %v", where, err)
			case aErr != nil && !errors.Is(aErr, repository.ErrChanged):
				t.Fatalf("%s: the first: %v", where, aErr)
			case aErr == nil && sums["6.1.0-2"] == "", bCalls > 0 && bErr == nil && sums["6.1.0-3"] == "":
				t.Fatalf("%s: %v, %v; lost: %v", where, aErr, bErr, sums)
			}
			if aErr != nil {
				lost++
			} else if bErr == nil {
				both++
			}
			mustPublish(t, d, o, module(t, "6.1.0-4", "a"))
			ended = calls < i
			if bCalls < j || ended {
				break
			}
		}
		if ended {
			break
		}
	}
	if both == 0 || lost == 0 {
		t.Errorf("both got through %d times, one lost %d times", both, lost)
	}
}

// TestPublishUnderReaders: somebody reads while it is published. Between any two of the files that he reads, all may change.
func TestPublishUnderReaders(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	o := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}}
	for n := 1; n < 12; n++ {
		d := newMemory()
		mustPublish(t, d, o, module(t, "6.1.0-1", "a"))
		reader, calls := shadow{of: d}.memory(), 0
		reader.on = func(string) error {
			if calls++; calls == n {
				mustPublish(t, d, o, module(t, "6.1.0-2", "a"))
				o := o
				o.Withdraw = []string{"6.1.0-1"}
				mustPublish(t, d, o, module(t, "6.1.0-3", "a"))
			}
			return nil
		}
		if _, sums, err := readAll(t, reader, repositorytest.Fingerprint(key)); err != nil || len(sums) == 0 {
			t.Errorf("published before call %d: %v, %v", n, sums, err)
		}
	}
}

// TestPublishKilled kills a publisher before each change that it makes to the disk, with SIGKILL.
func TestPublishKilled(t *testing.T) {
	t.Parallel()
	if at := os.Getenv("SHOTGLASS_TEST_KILL_AT"); at != "" {
		publishAndDie(t, os.Getenv("SHOTGLASS_TEST_DEPOT"), at)
		return
	}
	key := repositorytest.NewKey(t, nil)
	fpr := repositorytest.Fingerprint(key)
	o := repository.PublishOptions{Signer: repositorytest.Signer{Private: key}}
	one := module(t, "6.1.0-1", "a")
	var secret bytes.Buffer
	if err := key.SerializePrivate(&secret, nil); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "repo")
	if err := os.WriteFile(dir+".key", secret.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var steps []string
	for n := 1; ; n++ {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		mustPublish(t, folderDepot(t, dir), o, one)
		cmd := exec.Command(os.Args[0], "-test.run=^TestPublishKilled$", "-test.v")
		cmd.Env = append(os.Environ(), "SHOTGLASS_TEST_DEPOT="+dir, "SHOTGLASS_TEST_KILL_AT="+strconv.Itoa(n))
		out, err := cmd.CombinedOutput()
		exit, ended := errors.AsType[*exec.ExitError](err)
		killed := ended && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if err != nil && !killed {
			t.Fatalf("step %d: %v\n%s", n, err, out)
		}
		f, ferr := repository.NewFolder(dir)
		if ferr != nil {
			t.Fatal(ferr)
		}
		_, sums, rerr := readAll(t, f, fpr)
		if rerr != nil || sums["6.1.0-1"] != one.SHA256 {
			t.Fatalf("killed at step %d: %v, %v\n%s", n, sums, rerr, out)
		}
		if !killed {
			if sums["6.1.0-2"] == "" {
				t.Errorf("it was not killed, and published %v", sums)
			}
			break
		}
		_, step, _ := strings.Cut(string(out), "STEP ")
		step, _, _ = strings.Cut(step, "\n")
		steps = append(steps, step)
		committed := sums["6.1.0-2"] != ""
		mustPublish(t, folderDepot(t, dir), o, module(t, "6.1.0-3", "a"))
		if _, sums, err := readAll(t, f, fpr); err != nil || sums["6.1.0-3"] == "" || committed != (sums["6.1.0-2"] != "") {
			t.Fatalf("killed at step %d, then published: %v, %v", n, sums, err)
		}
	}
	for _, want := range []string{"create modules/lime-6.1.0-2.ko", "write repodata/repomd.xml", "sync repodata/repomd.xml.sig", "rename repodata/repomd.xml"} {
		if !strings.Contains(strings.Join(steps, "\n"), want) {
			t.Errorf("it was never killed at %q, but at %q", want, steps)
		}
	}
	// Nothing unfinished is left.
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), ".new-") {
			t.Errorf("left: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// publishAndDie publishes, and dies before change n.
func publishAndDie(t *testing.T, dir, at string) {
	n, err := strconv.Atoi(at)
	if err != nil {
		t.Fatal(err)
	}
	s, err := repository.OpenKey(dir+".key", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := folderDepot(t, dir)
	steps := 0
	d.OnStep(func(what string) error {
		if steps++; steps == n {
			fmt.Printf("STEP %s\n", what)
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			select {}
		}
		return nil
	})
	if _, err := repository.Publish(context.Background(), d, []*kernelmodules.Module{module(t, "6.1.0-2", "a")}, repository.PublishOptions{Signer: s}); err != nil {
		t.Fatal(err)
	}
}
