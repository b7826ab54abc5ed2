package image

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

const testFrame = 64 << 10

var testRAM = []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0x2fffff}, {Start: 0x800000, End: 0x812345}}

// testRaw is a LiME stream with some pages of zeros, and no two alike.
func testRaw() []byte {
	rnd := rand.New(rand.NewPCG(7, 1))
	var b []byte
	for _, r := range testRAM {
		mem := make([]byte, r.Size())
		for at := range mem {
			if at/4096%3 != 0 {
				mem[at] = byte(rnd.Uint32() & 63)
			}
		}
		b = append(lime.AppendHeader(b, r), mem...)
	}
	return b
}

// A stock is an image as the capture stores it, in a folder.
type stock struct {
	dir  *sink.Disk
	path string // of the image
	raw  []byte
	keys []age.Identity
}

const testName = "web1-mem.lime"

// store captures raw into a folder.
func store(t testing.TB, raw []byte, compression string, encrypt bool) *stock {
	t.Helper()
	folder := t.TempDir()
	dir, err := sink.NewDisk(folder)
	if err != nil {
		t.Fatal(err)
	}
	s := &stock{dir: dir, path: filepath.Join(folder, testName), raw: raw}
	o := pipeline.Options{Pool: frame.NewPool(frame.PoolOptions{}), Compression: compression, FrameSize: testFrame}
	defer o.Pool.Close()
	m := acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Reasons: []string{"a test"}}
	m.Image = acquire.Image{Name: testName, Format: "lime", Compression: compression, Encryption: "none"}
	if encrypt {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		to, err := agefile.ParseRecipient(id.Recipient().String())
		if err != nil {
			t.Fatal(err)
		}
		o.Recipients, s.keys, m.Image.Encryption = []agefile.Recipient{to}, []age.Identity{id}, "age"
	}
	var stored, side bytes.Buffer
	walker := lime.NewWalker(lime.WalkerOptions{})
	o.Walker = walker
	out, err := pipeline.Run(t.Context(), bytes.NewReader(raw), &stored, o)
	if err != nil {
		t.Fatal(err)
	}
	m.Stream, _ = walker.Finish()
	if _, err := out.Index.WriteTo(&side); err != nil {
		t.Fatal(err)
	}
	m.Image.Raw = acquire.Digest{Bytes: out.Raw.Bytes, SHA256: out.Raw.SHA256.String()}
	m.Image.Stored = acquire.Digest{Bytes: out.Stored.Bytes, SHA256: out.Stored.SHA256.String()}
	sum := sha256.Sum256(side.Bytes())
	m.Image.Frames = &acquire.Frames{Name: testName + acquire.FramesSuffix, Count: len(out.Index.Entries), FrameSize: out.FrameSize,
		Digest: acquire.Digest{Bytes: int64(side.Len()), SHA256: hex.EncodeToString(sum[:])}}
	paper, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signature.Sign(paper, testSigner)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, data := range map[string][]byte{"": stored.Bytes(), acquire.FramesSuffix: side.Bytes(), acquire.ManifestSuffix: paper, acquire.ManifestSuffix + acquire.SignatureSuffix: sig} {
		if err := os.WriteFile(s.path+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

var testSigner = func() ssh.Signer {
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)))
	if err != nil {
		panic(err)
	}
	return s
}()

// trusting trusts a key.
func trusting(t testing.TB, key ssh.PublicKey) *signature.AllowedSigners {
	t.Helper()
	s, err := signature.ParseAllowedSigners(strings.NewReader("alice "+string(ssh.MarshalAuthorizedKey(key))), "signers")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stock) open(t testing.TB, o Options) *Image {
	t.Helper()
	img, err := s.try(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	})
	return img
}

func (s *stock) try(ctx context.Context, o Options) (*Image, error) {
	if o.Identities == nil {
		o.Identities = s.keys
	}
	return Open(ctx, s.dir, testName, o)
}

// flip damages a byte of a file.
func flip(t testing.TB, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// jump reads n times somewhere, and compares with want.
func jump(t testing.TB, r io.ReaderAt, want []byte, seed uint64, n int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 2))
	buf := make([]byte, 300<<10)
	for range n {
		off := rnd.Int64N(int64(len(want)) + 1000)
		p := buf[:1+rnd.IntN([]int{10, 4096, 70 << 10, len(buf) - 1}[rnd.IntN(4)])]
		got, err := r.ReadAt(p, off)
		left := want[min(off, int64(len(want))):]
		full := min(len(p), len(left))
		if got != full || full < len(p) && err != io.EOF || full == len(p) && err != nil {
			t.Errorf("read of %d at %d: %d, %v; want %d", len(p), off, got, err, full)
			return
		}
		if !bytes.Equal(p[:got], left[:got]) {
			t.Errorf("read of %d at %d: other bytes", len(p), off)
			return
		}
	}
}

var errGone = errors.New("the server is gone")
