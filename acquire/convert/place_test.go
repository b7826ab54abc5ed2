package convert

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
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

// A place is a folder of evidence, and a key.
type place struct {
	t       *testing.T
	dir     string
	disk    *sink.Disk
	signer  ssh.Signer
	signers *signature.AllowedSigners
}

func newPlace(t *testing.T) *place {
	dir := t.TempDir()
	disk, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	list, err := signature.ParseAllowedSigners(strings.NewReader("me "+string(ssh.MarshalAuthorizedKey(s.PublicKey()))), "signers")
	if err != nil {
		t.Fatal(err)
	}
	return &place{t, dir, disk, s, list}
}

var ranges = []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0x2fffff}, {Start: 0x2000000, End: 0x21fffff}}

const info = "OSRELEASE=6.1.0-test\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82615200\n"

// stream is a LiME stream with VMCOREINFO in it.
func stream() []byte {
	var b bytes.Buffer
	w := lime.NewWriter(&b)
	r := rand.New(rand.NewPCG(1, 2))
	for i, x := range ranges {
		w.Begin(x)
		data := make([]byte, x.Size())
		if i < 2 {
			for j := range data {
				data[j] = byte(r.IntN(4)) * 'a'
			}
		} else {
			copy(data[1<<20:], info)
		}
		w.Write(data)
	}
	return b.Bytes()
}

// image stores a stream as a capture does, with manifest, signature and frame index.
func (p *place) image(name, compression string, raw []byte, to ...agefile.Recipient) {
	p.t.Helper()
	pool := frame.NewPool(frame.PoolOptions{})
	defer pool.Close()
	var out bytes.Buffer
	walker := lime.NewWalker(lime.WalkerOptions{})
	res, err := pipeline.Run(p.t.Context(), bytes.NewReader(raw), &out, pipeline.Options{Pool: pool, Compression: compression, Walker: walker, Recipients: to})
	if err != nil {
		p.t.Fatal(err)
	}
	rep, werr := walker.Finish()
	m := &acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Complete: werr == nil, Stream: rep, RAM: ranges}
	if werr != nil {
		m.Reasons = []string{"cut"}
	}
	m.Image = acquire.Image{
		Name: name, Format: "lime", Compression: compression, Encryption: encryptionNone,
		Raw: acquire.Digest{Bytes: res.Raw.Bytes, SHA256: res.Raw.SHA256.String()}, Stored: acquire.Digest{Bytes: res.Stored.Bytes, SHA256: res.Stored.SHA256.String()},
	}
	if len(to) > 0 {
		m.Image.Encryption = encryptionAge
	}
	var index bytes.Buffer
	if _, err := res.Index.WriteTo(&index); err != nil {
		p.t.Fatal(err)
	}
	sum := sha256.Sum256(index.Bytes())
	m.Image.Frames = &acquire.Frames{Name: name + acquire.FramesSuffix, Digest: acquire.Digest{Bytes: int64(index.Len()), SHA256: hex.EncodeToString(sum[:])}}
	data, err := m.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	sig, err := signature.Sign(data, p.signer)
	if err != nil {
		p.t.Fatal(err)
	}
	file := name
	if !m.Complete {
		file += sink.PartialSuffix
	}
	for name, b := range map[string][]byte{file: out.Bytes(), name + ".frames": index.Bytes(), name + ".json": data, name + ".json.sig": sig} {
		p.put(name, b)
	}
}

func (p *place) put(name string, b []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), b, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) get(name string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *place) run(name string, o Options) (*Result, error) {
	o.Sink, o.Signer, o.Signers = p.disk, p.signer, p.signers
	return Run(p.t.Context(), p.disk, name, o)
}

func (p *place) verify(name string, want string, ids ...age.Identity) *Verification {
	p.t.Helper()
	v, err := Verify(p.t.Context(), p.disk, name, acquire.VerifyOptions{Signers: p.signers, Identities: ids})
	if err != nil {
		p.t.Fatal(err)
	}
	if v.Verdict != want {
		p.t.Errorf("%s is %s, want %s: %+v", name, v.Verdict, want, v)
	}
	return v
}
