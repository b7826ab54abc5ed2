package acquire

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
)

func ageKey(t testing.TB) ([]agefile.Recipient, age.Identity) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	r, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	return []agefile.Recipient{r}, id
}

// verifyWith verifies with the given identities.
func (s verifySet) verifyWith(ids ...age.Identity) (*VerifyReport, error) {
	s.Helper()
	return Verify(s.Context(), s.disk(), verifyName, VerifyOptions{Signers: allowed(s, ""), Identities: ids})
}

func (s verifySet) wantWith(verdict, problems string, ids ...age.Identity) *VerifyReport {
	s.Helper()
	rep, err := s.verifyWith(ids...)
	if err != nil {
		s.Fatal(err)
	}
	if rep.Verdict != verdict || whats(rep) != problems {
		s.Errorf("%d identities: verdict %q with problems %q, want %q with %q:\n%s", len(ids), rep.Verdict, whats(rep), verdict, problems, problemText(rep))
	}
	if rep.Decoded != (len(rep.NotChecked) == 0) {
		s.Errorf("decoded %t, not checked: %q", rep.Decoded, rep.NotChecked)
	}
	return rep
}

func TestVerifyEncrypted(t *testing.T) {
	to, id := ageKey(t)
	_, other := ageKey(t)
	eachCompression(t, verifyCapture{to: to}, func(t *testing.T, s verifySet) {
		raw := int64(len(verifyRaw(7)))
		if !agefile.Is(s.read(verifyName)) {
			t.Fatal("not encrypted")
		}
		rep := s.wantWith(VerdictIntact, "")
		if rep.Decoded || rep.Raw != 0 || rep.Frames != 0 || rep.Pieces < 2 || rep.Stored != int64(len(s.read(verifyName))) || rep.Encryption != "age" {
			t.Errorf("without the key: %+v", rep)
		}
		if m := rep.Manifest.Image; m.Encryption != "age" || len(m.Recipients) != 1 || m.Recipients[0] != to[0].String() || m.Raw.Bytes != raw {
			t.Errorf("manifest: %+v", m)
		}
		rep = s.wantWith(VerdictOK, "", other, id)
		if n := int((raw + verifyFrame - 1) / verifyFrame); rep.Manifest.Image.Compression != frame.None && rep.Frames != n {
			t.Errorf("%d frames, want %d", rep.Frames, n)
		}
		if !rep.Decoded || rep.Raw != raw || rep.Frames == 0 {
			t.Errorf("with the key: %+v", rep)
		}
		rep, err := s.verifyWith(other)
		var locked *IdentityError
		if !errors.As(err, &locked) || !errors.Is(err, agefile.ErrNoMatch) || !strings.Contains(err.Error(), to[0].String()) {
			t.Fatalf("wrong key: %v", err)
		}
		if rep == nil || rep.Verdict != VerdictIntact || rep.Decoded || len(rep.NotChecked) == 0 {
			t.Errorf("wrong key: %+v", rep)
		}
		// An identity that is not needed does no harm.
		plain := newVerifySet(t, verifyCapture{compression: rep.Manifest.Image.Compression})
		if rep := plain.wantWith(VerdictOK, "", id); rep.Encryption != "" || rep.Pieces != 0 {
			t.Errorf("not encrypted: %+v", rep)
		}
	})
}

// TestVerifyEncryptedPartial: an image that ended early is a well-formed age file; of one
// that the disk cut off is checked what is there.
func TestVerifyEncryptedPartial(t *testing.T) {
	raw := verifyRaw(7)
	to, id := ageKey(t)
	for name, vc := range map[string]verifyCapture{
		"source failed":       {raw: raw[:len(raw)/2], srcErr: errors.New("connection lost")},
		"source ended early":  {raw: raw[:len(raw)-1]},
		"one byte":            {raw: raw[:1]},
		"sink full":           {full: 2*65552 + 1000},
		"sink full in chunk":  {full: 65552},
		"sink full in header": {full: 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vc.to = to
			eachCompression(t, vc, func(t *testing.T, s verifySet) {
				rep := s.wantWith(VerdictPartial, "")
				stored := s.read(vPartial)
				if vc.full > 0 && int64(len(stored)) != vc.full {
					t.Fatalf("%d bytes stored", len(stored))
				}
				if vc.full == 100 { // nothing to decrypt
					s.wantWith(VerdictPartial, "", id)
					return
				}
				with := s.wantWith(VerdictPartial, "", id)
				if !with.Decoded || with.Raw != rep.Manifest.Image.Raw.Bytes {
					t.Errorf("%d raw bytes, manifest %d", with.Raw, rep.Manifest.Image.Raw.Bytes)
				}
				r, err := age.Decrypt(bytes.NewReader(stored), id)
				if err != nil {
					t.Fatal(err)
				}
				plain, err := io.ReadAll(r)
				if (err == nil) != (vc.full == 0) {
					t.Errorf("age: %v", err)
				}
				if vc.full > 65552 && with.Raw == 0 && len(plain) > 0 && rep.Manifest.Image.Compression == frame.None {
					t.Error("nothing that can be read is in the raw digest")
				}
				if n := rep.Manifest.Image.Raw.Bytes; rep.Manifest.Image.Compression == frame.None {
					if got := digestOf(plain[:n]); got != rep.Manifest.Image.Raw {
						t.Errorf("age gives %v, the manifest says %v", got, rep.Manifest.Image.Raw)
					}
				}
				s.flip(vPartial, len(stored)/2)
				s.wantDamage(t, id)
			})
		})
	}
}

// wantDamage wants a mismatch with and without the key.
func (s verifySet) wantDamage(t *testing.T, id age.Identity) {
	t.Helper()
	for _, ids := range [][]age.Identity{nil, {id}} {
		rep, err := s.verifyWith(ids...)
		if err != nil || rep.Verdict != VerdictMismatch {
			t.Errorf("%d identities: %v, %v", len(ids), rep, err)
		}
	}
}

func TestVerifyEncryptedDamage(t *testing.T) {
	to, id := ageKey(t)
	eachCompression(t, verifyCapture{to: to}, func(t *testing.T, good verifySet) {
		stored := good.read(verifyName)
		head, err := agefile.Header(bytes.NewReader(stored), int64(len(stored)))
		if err != nil {
			t.Fatal(err)
		}
		first := int(head) + 65552 // the second chunk
		mac := bytes.Index(stored, []byte("\n--- ")) + 6
		for bytes.IndexByte([]byte("+/zZaA"), stored[mac]) >= 0 {
			mac++ // flipped, it would be no base64
		}
		for _, c := range []struct {
			name          string
			damage        func(s verifySet)
			without, with string
			detail        string // of some problem, with the key
		}{
			{"byte flipped", func(s verifySet) { s.flip(verifyName, first+5) }, "piece, stored digest", "frame, piece, raw digest, stored digest", "does not decrypt"},
			{"header flipped", func(s verifySet) { s.flip(verifyName, mac) }, "piece, stored digest", "piece, stored digest, structure", "header"},
			{"stanza gone", func(s verifySet) { s.flip(verifyName, 23) }, "piece, stored digest, structure", "piece, stored digest, structure", "bad age header"},
			{"nonce flipped", func(s verifySet) { s.flip(verifyName, int(head)-1) }, "piece, stored digest", "", "the header, without which"},
			{"last byte flipped", func(s verifySet) { s.flip(verifyName, len(stored)-1) }, "piece, stored digest", "", "do not decrypt"},
			{"cut by a byte", func(s verifySet) { s.write(verifyName, stored[:len(stored)-1]) }, "piece, stored digest", "", "cut short"},
			{"cut at a chunk", func(s verifySet) { s.write(verifyName, stored[:first]) }, "piece, stored digest", "", "without its last chunk"},
			{"cut in the header", func(s verifySet) { s.write(verifyName, stored[:100]) }, "piece, stored digest, structure", "piece, stored digest, structure", "the header, without which"},
			{"appended", func(s verifySet) { s.write(verifyName, append(bytes.Clone(stored), 1, 2, 3)) }, "appended, stored digest", "appended, stored digest", "3 bytes follow"},
			{"no index", func(s verifySet) { s.remove(vFrames) }, "frames", "frames", "there is no"},
			{"no index, flipped", func(s verifySet) { s.remove(vFrames); s.flip(verifyName, first+5) }, "frames, stored digest", "frame, frames, raw digest, stored digest", "does not decrypt"},
			{"index of something else", func(s verifySet) { s.flip(vFrames, 200) }, "frames", "frames", ""},
			{"not encrypted", func(s verifySet) { s.write(verifyName, verifyRaw(7)) }, "", "", "bad age header"},
			{"called not encrypted", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Image.Encryption = "none" }) }, "", "", ""},
			{"raw digest edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Raw.SHA256 = strings.Repeat("0", 64) })
			}, "-", "raw digest", "decodes to"},
			{"raw size edited", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Image.Raw.Bytes++ }) }, "frames, manifest", "", ""},
			{"record left out", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Stream.Ranges = m.Stream.Ranges[:1] }) }, "ranges", "structure", ""},
			{"record cut", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Stream.Ranges[1].Bytes-- }) }, "manifest", "structure", ""},
			{"records not whole", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Stream.Complete = false }) }, "manifest", "structure", ""},
			{"System RAM edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.RAM = append(m.RAM, lime.Range{Start: 0x200000, End: 0x2fffff}) })
			}, "ranges", "ranges", "0x200000-0x2fffff"},
			{"record backwards", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Stream.Ranges[0].Range.Start = m.Stream.Ranges[0].Range.End + 9 })
			}, "manifest", "structure", ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := good.copy(t)
				c.damage(s)
				without, err := s.verifyWith()
				if err != nil {
					t.Fatal(err)
				}
				with, err := s.verifyWith(id)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range []struct {
					rep  *VerifyReport
					want string
				}{{without, c.without}, {with, c.with}} {
					want := VerdictMismatch
					switch r.want {
					case "-": // it takes the key to see that
						want = VerdictIntact
					case "":
					default:
						for _, what := range strings.Split(r.want, ", ") { // damage has more than one effect
							if !slices.Contains(strings.Split(whats(r.rep), ", "), what) {
								t.Errorf("problems %q, want %q\n%s", whats(r.rep), r.want, problemText(r.rep))
							}
						}
						if r.rep == without && whats(r.rep) != r.want {
							t.Errorf("without the key: problems %q, want %q", whats(r.rep), r.want)
						}
					}
					if r.rep.Verdict != want {
						t.Errorf("verdict %q, want %q\n%s", r.rep.Verdict, want, problemText(r.rep))
					}
				}
				if !strings.Contains(problemText(with), c.detail) {
					t.Errorf("no problem says %q:\n%s", c.detail, problemText(with))
				}
				for _, p := range append(with.Problems, without.Problems...) {
					if p.Detail == "" || (p.Frame >= 0) != (p.What == "frame" || p.What == "piece") {
						t.Errorf("%+v", p)
					}
				}
			})
		}
	})
}

// TestVerifyEncryptedPlace: damage is located without the key, and the frame that the key shows
// as damaged lies in what was located.
func TestVerifyEncryptedPlace(t *testing.T) {
	to, id := ageKey(t)
	s := newVerifySet(t, verifyCapture{compression: frame.None, to: to})
	stored := s.read(verifyName)
	for at := 300; at < len(stored); at += 60_000 {
		c := s.copy(t)
		c.flip(verifyName, at)
		rep, err := c.verifyWith(id)
		if err != nil {
			t.Fatal(err)
		}
		var piece, frames []Mismatch
		for _, p := range rep.Problems {
			switch p.What {
			case mismatchPiece:
				piece = append(piece, p)
			case mismatchFrame:
				frames = append(frames, p)
			}
		}
		if len(piece) != 1 || piece[0].StoredOffset > int64(at) || int64(at)-piece[0].StoredOffset >= verifyFrame+16 {
			t.Fatalf("byte %d: %+v", at, piece)
		}
		last := at >= len(stored)-65552 // then the file has no end, and the frame is not there
		if !last && (len(frames) != 1 || frames[0].StoredOffset > int64(at)) {
			t.Errorf("byte %d: piece %+v, frames %+v", at, piece, frames)
		}
		if piece[0].Address == "" && piece[0].RawOffset > 0 {
			t.Errorf("byte %d: no address: %+v", at, piece)
		}
	}
}

// TestRestateEncrypted: a sink that lost the end of what it took leaves a partial image whose
// digests hold, without the key and with it.
func TestRestateEncrypted(t *testing.T) {
	to, id := ageKey(t)
	raw := verifyRaw(7)
	for _, keep := range []int64{100, 300, 70_000, 200_000} {
		s := verifySet{t, t.TempDir()}
		res := verifyCapture{compression: frame.None, raw: raw, to: to, lose: keep}.take(t, s.dir)
		if res.State != StatePartial {
			t.Fatalf("%s: %v", res.State, res.Err)
		}
		if got := digestOf(raw[:res.Image.Raw.Bytes]); got != res.Image.Raw || res.Image.Raw.Bytes > keep || keep > 70_000 && res.Image.Raw.Bytes == 0 {
			t.Errorf("kept %d: raw %+v", keep, res.Image.Raw)
		}
		if got := digestOf(s.read(vPartial)); got != res.Image.Stored || got.Bytes != keep {
			t.Errorf("kept %d: stored %+v, manifest %+v", keep, got, res.Image.Stored)
		}
		s.wantWith(VerdictPartial, "")
		s.wantWith(VerdictPartial, "", id)
	}
}

// TestLeash: neither reader gets far ahead, both get through, and when one ends the other goes on.
func TestLeash(t *testing.T) {
	const size, step = 4 * leashLength, leashLength / 8
	file := io.NewSectionReader(zeroReader{}, 0, size)
	l := newLeash()
	a, b := l.reader(0, file, func(n int64) int64 { return n }), l.reader(1, file, func(n int64) int64 { return n })
	done := make(chan int64, 1)
	go func() {
		defer l.end(0)
		p := make([]byte, 16)
		for at := int64(0); at < size; at += step {
			a.ReadAt(p, at)
			l.mu.Lock()
			ahead, alone := l.at[0]-l.at[1], l.done[1]
			l.mu.Unlock()
			if ahead > leashLength && !alone {
				t.Errorf("%d bytes ahead", ahead)
			}
		}
		done <- 1
	}()
	p := make([]byte, 16)
	for at := int64(0); at < size/2; at += step {
		b.ReadAt(p, at)
	}
	select {
	case <-done:
		t.Error("the first reader did not wait")
	default:
	}
	l.end(1)
	<-done
	if err := iotest.TestReader(io.NewSectionReader(l.reader(0, file, func(n int64) int64 { return n }), 0, 64), make([]byte, 64)); err != nil {
		t.Error(err)
	}
}

type zeroReader struct{}

func (zeroReader) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// FuzzVerifyEncrypted: whatever lies under the name of an encrypted image, a trusted manifest
// of another one does not vouch for it, with the key or without.
func FuzzVerifyEncrypted(f *testing.F) {
	id, err := age.ParseX25519Identity("AGE-SECRET-KEY-1EQ2DVALFSDMQH0723XDX30VC7RKWFSX7QWMGK2FEEJRHGKC709NQQW0M86")
	if err != nil {
		f.Fatal(err)
	}
	r, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		f.Fatal(err)
	}
	small := append(lime.AppendHeader(nil, verifyRAM[0]), make([]byte, 5000)...)
	s := newVerifySet(f, verifyCapture{compression: frame.Zstd, raw: small, to: []agefile.Recipient{r}})
	files := memoryOpener{}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != sink.PartialSuffix {
			files[e.Name()] = s.read(e.Name())
		}
	}
	good := s.read(vPartial)
	f.Add(good, files[vFrames])
	f.Add(good[:len(good)-1], files[vFrames])
	f.Add(append(bytes.Clone(good), 0), []byte("shotglass-frames\t1\tage\n"))
	signers := allowed(f, "")
	f.Fuzz(func(t *testing.T, image, frames []byte) {
		where := memoryOpener{vPartial: image}
		for name, b := range files {
			where[name] = b
		}
		where[vFrames] = frames
		same := sha256.Sum256(image) == sha256.Sum256(good) && bytes.Equal(frames, files[vFrames])
		for _, ids := range [][]age.Identity{nil, {id}} {
			rep, err := Verify(t.Context(), where, verifyName, VerifyOptions{Signers: signers, Workers: 1, Identities: ids})
			if errors.As(err, new(*IdentityError)) {
				err = nil
			}
			if err != nil {
				t.Fatal(err)
			}
			if (rep.Verdict == VerdictPartial) != same || !same && rep.Verdict != VerdictMismatch {
				t.Fatalf("verdict %q", rep.Verdict)
			}
		}
	})
}
