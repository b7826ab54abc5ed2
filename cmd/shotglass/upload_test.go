package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// TestUploadOrder: what speaks for a file comes after it, and is held back with it.
func TestUploadOrder(t *testing.T) {
	want := []string{"x.lime", "x.lime.frames", "x.lime.segments", "x.lime.interim", "x.lime.json", "x.lime.interim.sig", "x.lime.json.sig"}
	got := slices.Sorted(slices.Values(want))
	slices.SortStableFunc(got, func(a, b string) int { return rank(a) - rank(b) })
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range append(want[2:], "x.lime.partial.json", "x.lime.partial.json.sig") {
		if paper := paperOf(name); paper != "x.lime" {
			t.Errorf("%s is about %q", name, paper)
		}
	}
}

// TestUploadHeld: what can never be finished holds back no paper that does not know of it.
func TestUploadHeld(t *testing.T) {
	for _, tt := range []struct {
		name, paper     string
		failed, cutHeld bool // paper waits where name has failed, and where its folder cannot be finished
	}{
		{"x-mem.lime", "x-mem.lime.interim", true, true},
		{"x-mem.lime.003", "x-mem.lime.segments", true, true},
		{"x-mem.lime.frames", "x-mem.lime.json", true, true},
		{"x-swap-1.raw", "x-mem.lime.interim", true, false},
		{"x-swap-1.raw.004", "x-mem.lime.interim.sig", true, false},
		{"x-swap-1.raw.004", "x-swap-1.raw.segments", true, true},
		{"x-swap-1.raw", "x-mem.lime.segments", false, false},
		{"x-mem.lime.live.tar.zst.000", "x-mem.lime.segments", false, false},
		{"x-mem.lime.live.tar.zst", "x-mem.lime.interim", true, false},
		{"x-mem.lime.live.tar.zst.000", "x-mem.lime.interim.sig", true, false},
		{"x-mem.lime.live.tar.zst.age", "x-mem.lime.interim", true, false},
		{"x-mem.lime.live.tar.zst", "x-mem.lime.json", true, true},
		{"x-mem.lime.live.tar.zst", "x-mem.lime.json.sig", true, true},
		{"y-mem.lime", "x-mem.lime.json", false, false},
	} {
		if got := (unstored{name: tt.name}).holds(tt.paper); got != tt.failed {
			t.Errorf("%s waits for %s, which failed: %t", tt.paper, tt.name, got)
		}
		m := unstored{tt.name, "dir/" + tt.name + ".spill"}
		if got := m.holds(tt.paper); got != tt.cutHeld {
			t.Errorf("%s waits for %s, which cannot be finished: %t", tt.paper, tt.name, got)
		}
		var h *hinted
		if err := m.err(tt.paper); !errors.As(err, &h) || !strings.Contains(h.hint, "move dir/") {
			t.Errorf("no way out: %v", err)
		}
	}
}

// signerKey makes a key, and a list that trusts it alone.
func signerKey(t *testing.T) (ssh.Signer, *signature.AllowedSigners) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	list, err := signature.ParseAllowedSigners(strings.NewReader("a@example.org "+string(ssh.MarshalAuthorizedKey(s.PublicKey()))), "signers")
	if err != nil {
		t.Fatal(err)
	}
	return s, list
}

// nowhere is a bucket that holds nothing.
func nowhere(context.Context, waiting, string, int64) ([]byte, error) { return nil, fs.ErrNotExist }

// TestUploadSigned: with signers nothing goes that no trusted key vouches for: image, swap, archive and side files by the
// manifest, wherever that lies, logs by their own signature. Without, what a manifest lists is held against it.
func TestUploadSigned(t *testing.T) {
	ours, trusted := signerKey(t)
	other, _ := signerKey(t)
	sum := func(data string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(data))) }
	pieces := func(name string) *acquire.Pieces {
		return &acquire.Pieces{Descriptions: []acquire.Reference{{Name: name + ".spill/pieces.json", SHA256: sum("description of " + name)}}}
	}
	m := &acquire.Manifest{Type: "shotglass-manifest", Version: 1}
	m.Image.Frames = &acquire.Frames{Name: "x-mem.lime.frames", Digest: acquire.Digest{SHA256: sum("x-mem.lime.frames")}}
	m.Live = &acquire.Live{Image: acquire.Image{Pieces: pieces("x-mem.lime.live.tar.zst")}}
	m.SwapImages = []acquire.SwapImage{{Image: acquire.Image{Pieces: pieces("x-swap-1.raw")}}}
	manifest, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := acquire.ParseManifest(manifest); err != nil {
		t.Fatal(err)
	}
	sign := func(space string, data []byte, key ssh.Signer) string {
		armored, err := signature.SignIn(space, data, key)
		if err != nil {
			t.Fatal(err)
		}
		return string(armored)
	}
	good, evil := sign(signature.Namespace, manifest, ours), sign(signature.Namespace, manifest, other)
	log := "run-audit.jsonl"
	for _, tt := range []struct {
		name    string
		signers *signature.AllowedSigners
		waits   map[string]string // content, by name
		bucket  map[string]string
		altered string // its description is not the manifest's
		refused map[string]error
	}{
		{"with its manifest", trusted, map[string]string{"x-mem.lime.live.tar.zst": "", "x-swap-1.raw": "", "x-mem.lime.frames": "x-mem.lime.frames", "x-mem.lime.json": string(manifest), "x-mem.lime.json.sig": good}, nil, "", nil},
		{"altered", nil, map[string]string{"x-mem.lime.live.tar.zst": "", "x-swap-1.raw": "", "x-mem.lime.json": string(manifest)}, nil, "x-swap-1.raw", map[string]error{"x-swap-1.raw": s3.ErrAltered}},
		{"altered archive", nil, map[string]string{"x-mem.lime.live.tar.zst": "", "x-swap-1.raw": "", "x-mem.lime.json": string(manifest)}, nil, "x-mem.lime.live.tar.zst", map[string]error{"x-mem.lime.live.tar.zst": s3.ErrAltered}},
		{"the manifest is in the bucket", trusted, map[string]string{"x-mem.lime.live.tar.zst": "", "x-swap-1.raw": "", "x-mem.lime.frames": "other"}, map[string]string{"x-mem.lime.json": string(manifest), "x-mem.lime.json.sig": good}, "", map[string]error{"x-mem.lime.frames": s3.ErrAltered}},
		{"somebody else's is in the bucket", trusted, map[string]string{"x-mem.lime.live.tar.zst": ""}, map[string]string{"x-mem.lime.json": string(manifest), "x-mem.lime.json.sig": evil}, "", map[string]error{"x-mem.lime.live.tar.zst": errUnsigned}},
		{"no manifest", trusted, map[string]string{"x-mem.lime": "", "x-mem.lime.live.tar.zst": "", log: "log"}, nil, "", map[string]error{"x-mem.lime": errUnsigned, "x-mem.lime.live.tar.zst": errUnsigned, log: errUnsigned}},
		{"nobody has to sign", nil, map[string]string{"x-mem.lime": "", "x-mem.lime.live.tar.zst": "", log: "log"}, nil, "", nil},
		{"not listed", trusted, map[string]string{"x-mem.lime": "", "x-mem.lime.json": string(manifest), "x-mem.lime.json.sig": good}, nil, "", map[string]error{"x-mem.lime": errUnsigned}},
		{"signature alone", trusted, map[string]string{"x-mem.lime.json.sig": good}, map[string]string{"x-mem.lime.json": string(manifest)}, "", nil},
		{"signature of something else", trusted, map[string]string{"x-mem.lime.json.sig": evil}, map[string]string{"x-mem.lime.json": string(manifest)}, "", map[string]error{"x-mem.lime.json.sig": s3.ErrAltered}},
		{"log", trusted, map[string]string{log: "log", log + ".sig": sign(signature.LogNamespace, []byte("log"), ours), "x.containment": "c", "x.containment.sig": sign(containmentNamespace, []byte("c"), ours)}, nil, "", nil},
		{"log of somebody else", trusted, map[string]string{log: "log", log + ".sig": sign(signature.LogNamespace, []byte("log"), other)}, nil, "", map[string]error{log: s3.ErrAltered, log + ".sig": s3.ErrAltered}},
	} {
		var list []waiting
		for name, data := range tt.waits {
			dir := filepath.Join(t.TempDir(), name+".spill")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "part-00001"), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			w := waiting{dir, &s3.Pieces{Name: name, Size: int64(len(data)), Parts: []s3.Piece{{Number: 1, File: "part-00001"}}}, sum("description of " + name)}
			if name == tt.altered {
				w.sum = sum("another")
			}
			list = append(list, w)
		}
		r := readRecords(list, tt.signers, func(_ context.Context, _ waiting, name string, _ int64) ([]byte, error) {
			if data, ok := tt.bucket[name]; ok {
				return []byte(data), nil
			}
			return nil, fs.ErrNotExist
		})
		slices.SortStableFunc(list, func(a, b waiting) int { return rank(a.Name) - rank(b.Name) })
		for _, w := range list {
			err := r.against(t.Context(), w)
			if want := tt.refused[w.Name]; !errors.Is(err, want) {
				t.Errorf("%s: %s: %v, want %v", tt.name, w.Name, err, want)
			}
			if err == nil { // it is uploaded, and its folder gone
				if err := os.RemoveAll(w.Folder); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestUploadTwice: a name that two wait for is nobody's with signers: the signature of one would let the other pass.
func TestUploadTwice(t *testing.T) {
	_, trusted := signerKey(t)
	var list []waiting
	for range 2 {
		list = append(list, waiting{t.TempDir(), &s3.Pieces{Name: "run-audit.jsonl"}, ""})
	}
	r := readRecords(list, trusted, nowhere)
	r.good["run-audit.jsonl"] = true
	if err := r.against(t.Context(), list[1]); !errors.Is(err, errUnsigned) {
		t.Errorf("%v", err)
	}
}

// TestUploadSignature: what waits with a manifest whose signature does not hold, or that nobody who is trusted has
// signed, does not go.
func TestUploadSignature(t *testing.T) {
	ours, trusted := signerKey(t)
	other, _ := signerKey(t)
	manifest := []byte(`{"type":"shotglass-manifest","v":1}` + "\n")
	sign := func(data []byte, key ssh.Signer) []byte {
		armored, err := signature.Sign(data, key)
		if err != nil {
			t.Fatal(err)
		}
		return armored
	}
	for _, tt := range []struct {
		name    string
		sig     []byte
		signers *signature.AllowedSigners
		want    string
	}{
		{"signed", sign(manifest, ours), nil, ""},
		{"signed by one who is trusted", sign(manifest, ours), trusted, ""},
		{"not signed", nil, nil, ""},
		{"not signed, and should be", nil, trusted, "no signature of x.lime.json waits"},
		{"altered", sign([]byte("{}\n"), ours), nil, "does not hold"},
		{"signed by somebody else", sign(manifest, other), trusted, "does not hold"},
		{"no signature", []byte("x"), nil, "does not hold"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var list []waiting
			for name, data := range map[string][]byte{"x.lime": []byte("x"), "x.lime.frames": []byte("x"), "x.lime.json": manifest, "x.lime.json.sig": tt.sig, "y.lime": []byte("y")} {
				if data == nil {
					continue
				}
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "part-00001"), data, 0o600); err != nil {
					t.Fatal(err)
				}
				list = append(list, waiting{dir, &s3.Pieces{Name: name, Size: int64(len(data)), Parts: []s3.Piece{{Number: 1, File: "part-00001"}}}, ""})
			}
			r := readRecords(list, tt.signers, nowhere)
			for _, w := range list {
				err := r.against(t.Context(), w)
				if tt.signers != nil && tt.want == "" && !strings.HasPrefix(w.Name, "x.lime.json") || tt.signers != nil && w.Name == "y.lime" { // no manifest lists it
					if !errors.Is(err, errUnsigned) {
						t.Errorf("%s: %v", w.Name, err)
					}
				} else if bad := tt.want != "" && w.Name != "y.lime"; bad != (err != nil) || bad && (!errors.Is(err, s3.ErrAltered) || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%s: %v, want %q", w.Name, err, tt.want)
				}
			}
		})
	}
}
