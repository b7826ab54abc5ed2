package main

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

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

// TestUploadSignature: what waits with a manifest whose signature does not hold, or that nobody who is trusted has
// signed, does not go.
func TestUploadSignature(t *testing.T) {
	newKey := func() ssh.Signer {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ours, other := newKey(), newKey()
	trusted, err := signature.ParseAllowedSigners(strings.NewReader("a@example.org "+string(ssh.MarshalAuthorizedKey(ours.PublicKey()))), "signers")
	if err != nil {
		t.Fatal(err)
	}
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
			r := readRecords(list, tt.signers)
			for _, w := range list {
				err := r.against(w)
				if bad := tt.want != "" && w.Name != "y.lime"; bad != (err != nil) || bad && (!errors.Is(err, s3.ErrAltered) || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%s: %v, want %q", w.Name, err, tt.want)
				}
			}
		})
	}
}
