package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
)

// TestEncryptedCommands: the stock tools that give back the memory, whatever way it is stored.
func TestEncryptedCommands(t *testing.T) {
	for _, c := range []struct{ encryption, compression, want string }{
		{"none", "zstd", "\nzstd -dc i.age | sha256sum"},
		{"age", "zstd", "\nage -d -i KEY i.age | zstd -dc - | sha256sum"},
		{"age", "s2", "\nage -d -i KEY i.age | s2d -c - | sha256sum"},
		{"age", "none", "\nage -d -i KEY i.age | sha256sum"},
		{"other", "zstd", "\n# encrypted"},
	} {
		x := &Capture{Manifest: &acquire.Manifest{}, Place: "/case", File: "i.age.json", ImageFile: "i.age"}
		x.Image.Name, x.Image.Encryption, x.Image.Compression = "i.age", c.encryption, c.compression
		if got := (&Case{}).commands(x); !strings.Contains(got, c.want) {
			t.Errorf("%s, %s: %s", c.encryption, c.compression, got)
		}
	}
}

// TestEncryptedReread: what was not decrypted is not called read in full.
func TestEncryptedReread(t *testing.T) {
	x := &Capture{Manifest: &acquire.Manifest{}, ImageFile: "i.age", Verified: &acquire.VerifyReport{Stored: 1000, Pieces: 2, Encryption: "age"}}
	x.Image.Recipients, x.Image.Raw = []string{"age1one"}, acquire.Digest{Bytes: 1000, SHA256: "00"}
	text := fmt.Sprint(x.imagePairs())
	if strings.Contains(text, "in full") || !strings.Contains(text, "the memory in it was not looked at") || !strings.Contains(text, "age1one") {
		t.Error(text)
	}
}
