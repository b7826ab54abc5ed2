package acquire

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/sink"
)

// A neutralDisk cannot rename, as a bucket.
type neutralDisk struct{ *sink.Disk }

func (neutralDisk) Neutral() bool { return true }

// TestRescue: whatever start of an image is stored, its manifest fits it, says partial, and never anything else.
func TestRescue(t *testing.T) {
	to, id := ageKey(t)
	for _, c := range frame.Compressions {
		for _, sealed := range []bool{false, true} {
			vc, name := verifyCapture{compression: c}, "web1-mem.lime"+frame.Suffix(c)
			if sealed {
				vc.to, name = to, name+agefile.Suffix
			}
			s := newVerifySet(t, vc)
			whole := s.read(verifyName)
			for _, n := range []int{len(whole), len(whole) - 1, len(whole) / 2, 300, 5} {
				disk, err := sink.NewDisk(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				where := neutralDisk{disk}
				obj, err := where.Create(t.Context(), name)
				if err == nil {
					_, err = obj.Write(whole[:n])
				}
				if err != nil {
					t.Fatal(err)
				}
				kept, err := obj.Commit(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				r := Rescue{Operator: "me", Why: "killed", Signer: alice, Now: time.Now}
				done, err := r.Write(t.Context(), where, kept)
				if err != nil || filepath.Base(done.Location) != name+PartialManifestSuffix || !done.Recorded.IsZero() || done.Lost != nil {
					t.Fatalf("%s of %d bytes: %+v, %v", name, n, done, err)
				}
				paper := done.Location
				for _, ids := range [][]age.Identity{nil, {id}} {
					if sealed && len(ids) > 0 && n < 300 {
						continue // its header is cut: verify says so
					}
					rep, err := Verify(t.Context(), where, name, VerifyOptions{Signers: allowed(t, ""), Identities: ids})
					if err != nil || rep.Verdict != VerdictPartial || rep.Stored != int64(n) {
						t.Errorf("%s of %d bytes, %d identities: %+v, %v\n%s", name, n, len(ids), rep, err, problemText(rep))
					}
				}
				before, err := os.ReadFile(paper)
				if err != nil {
					t.Fatal(err)
				}
				if again, err := r.Write(t.Context(), where, kept); err != nil || again.Location != "" {
					t.Errorf("again: %+v, %v", again, err)
				}
				if now, err := os.ReadFile(paper); err != nil || string(now) != string(before) {
					t.Errorf("the manifest was changed: %v", err)
				}
			}
		}
	}
}

func TestRescuable(t *testing.T) {
	for name, want := range map[string]bool{
		"web1-20260131T101112Z-mem.lime": true, "x-mem.lime.zst.age": true, "x.lime.s2": true,
		"x-swap-1.raw.zst": false, "x-mem.lime.000": false, "x-mem.lime.segments": false, "x-mem.lime.zst.frames": false, "run-audit.jsonl": false,
		LiveName("x-mem.lime", false): false,
	} {
		if Rescuable(name, nil) != want {
			t.Errorf("%s: %t", name, !want)
		}
	}
}

// TestRescueUnread: what cannot be read back gets no manifest.
func TestRescueUnread(t *testing.T) {
	disk, err := sink.NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := Rescue{Now: time.Now}
	if done, err := r.Write(context.Background(), neutralDisk{disk}, sink.Receipt{Name: "x.lime"}); err == nil {
		t.Errorf("%+v", done)
	}
}
