package acquire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

func TestVerifyGood(t *testing.T) {
	eachCompression(t, verifyCapture{}, func(t *testing.T, s verifySet) {
		raw := int64(len(verifyRaw(7)))
		for _, name := range []string{verifyName, vPartial, vManifest, vFrames, vSig, verifyName + SignatureSuffix} {
			var done, total int64
			rep, err := Verify(t.Context(), s.disk(), name, VerifyOptions{
				Signers: allowed(t, ""), Workers: 2, Progress: func(d, n int64) { done, total = d, n },
			})
			if err != nil {
				t.Fatal(err)
			}
			if rep.Verdict != VerdictOK || len(rep.Problems) > 0 {
				t.Errorf("%s: %s\n%s", name, rep.Verdict, problemText(rep))
			}
			stored := int64(len(s.read(verifyName)))
			if rep.Raw != raw || rep.Stored != stored || rep.Frames != int((raw+verifyFrame-1)/verifyFrame) || rep.Duration <= 0 {
				t.Errorf("%s: raw %d, stored %d, frames %d, in %s", name, rep.Raw, rep.Stored, rep.Frames, rep.Duration)
			}
			if done != stored || total != stored {
				t.Errorf("%s: progress ended with %d of %d", name, done, total)
			}
			if want := s.path(verifyName); filepath.Clean(rep.Image) != want {
				t.Errorf("%s: image %q, want %q", name, rep.Image, want)
			}
			sig := rep.Signature
			if !sig.Present || !sig.Valid || !sig.Trusted || sig.Principal != "alice@example.org" ||
				sig.Fingerprint != ssh.FingerprintSHA256(alice.PublicKey()) || sig.Source != "allowed_signers:1" {
				t.Errorf("%s: signature %+v", name, sig)
			}
			if rep.Manifest == nil || !rep.Manifest.Complete {
				t.Errorf("%s: no complete manifest", name)
			}
		}
	})
}

func TestVerifyGoodPartial(t *testing.T) {
	raw := verifyRaw(7)
	for name, vc := range map[string]verifyCapture{
		"source failed":         {raw: raw[:len(raw)/2], srcErr: errors.New("connection lost")},
		"source ended early":    {raw: raw[:len(raw)-1]},
		"ended in a header":     {raw: raw[:lime.HeaderSize+verifyRAM[0].Size()+7]},
		"whole records missing": {raw: raw[:lime.HeaderSize+verifyRAM[0].Size()]},
		"no image at all":       {raw: []byte("insmod: out of luck")},
		"sink full":             {full: 3*verifyFrame/8 + 1000},
		"sink full in frame 0":  {full: 100},
		"sink full at byte 2":   {full: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachCompression(t, vc, func(t *testing.T, s verifySet) {
				rep := s.want(VerdictPartial, "")
				if filepath.Base(rep.Image) != vPartial {
					t.Errorf("image %q", rep.Image)
				}
				if t.Failed() {
					return
				}
				t.Run("flipped", func(t *testing.T) {
					s := s.copy(t)
					s.flip(vPartial, len(s.read(vPartial))/2)
					if rep := s.verify(); rep.Verdict != VerdictMismatch {
						t.Error(rep.Verdict)
					}
				})
				t.Run("truncated", func(t *testing.T) {
					s := s.copy(t)
					s.write(vPartial, s.read(vPartial)[:1])
					if rep := s.verify(); rep.Verdict != VerdictMismatch {
						t.Error(rep.Verdict)
					}
				})
				t.Run("no index", func(t *testing.T) {
					s := s.copy(t)
					if os.Remove(s.path(vFrames)) == nil {
						s.want(VerdictMismatch, "frames")
					}
				})
				t.Run("called complete by its name", func(t *testing.T) {
					s := s.copy(t)
					s.rename(vPartial, verifyName)
					s.want(VerdictMismatch, "name")
				})
			})
		})
	}
}

// Every byte of every file matters, and the frame that it lies in is named.
func TestVerifyFlippedByte(t *testing.T) {
	eachCompression(t, verifyCapture{}, func(t *testing.T, good verifySet) {
		s := good.copy(t)
		f, err := os.Open(good.path(vFrames))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		x, err := frame.ParseIndex(f)
		if err != nil {
			t.Fatal(err)
		}
		walked := good.verify().Manifest.Stream.Ranges
		image := good.read(verifyName)
		step := len(image)/40 + 1
		for at := 0; at < len(image); at += step {
			s.write(verifyName, image)
			s.flip(verifyName, at)
			rep := s.verify()
			if rep.Verdict != VerdictMismatch || !strings.Contains(whats(rep), "stored digest") {
				t.Fatalf("byte %d: %s, %s", at, rep.Verdict, whats(rep))
			}
			i := slices.IndexFunc(rep.Problems, func(m Mismatch) bool { return m.What == "frame" })
			want := slices.IndexFunc(x.Entries, func(e frame.Entry) bool { return int64(at) < e.StoredOffset+e.StoredSize })
			switch {
			case want < 0:
				if !strings.Contains(whats(rep), "seek table") {
					t.Errorf("byte %d, in the seek table: %s", at, whats(rep))
				}
			case i < 0:
				t.Errorf("byte %d: no frame named, %s", at, whats(rep))
			default:
				p, e := rep.Problems[i], x.Entries[want]
				addr := addressAt(walked, e.RawOffset)
				if p.Frame != want || p.StoredOffset != e.StoredOffset || p.RawOffset != e.RawOffset || p.Address != addr || addr == "" {
					t.Errorf("byte %d: %+v, want frame %d, %+v, address %s", at, p, want, e, addr)
				}
			}
		}
		s.write(verifyName, image)
		s.want(VerdictOK, "")

		for name, want := range map[string]string{vFrames: "frames", vManifest: "signature", vSig: "signature"} {
			b := good.read(name)
			for at := 0; at < len(b); at += len(b)/25 + 1 {
				s.flip(name, at)
				rep := s.verify()
				if rep.Verdict != VerdictMismatch || !strings.Contains(whats(rep), want) {
					t.Errorf("%s, byte %d: %s, %s", name, at, rep.Verdict, whats(rep))
				}
				if rep.Signature.Trusted != (name == vFrames) || !rep.Signature.Present {
					t.Errorf("%s, byte %d: signature %+v", name, at, rep.Signature)
				}
				if name != vManifest && whats(rep) != want {
					t.Errorf("%s, byte %d: %s", name, at, whats(rep))
				}
				s.write(name, b)
			}
		}
	})
}

func TestVerifyAddress(t *testing.T) {
	first := int64(lime.HeaderSize + verifyRAM[0].Size())
	var ranges []lime.RangeReport
	for off, i := int64(0), 0; i < len(verifyRAM); i++ {
		ranges = append(ranges, lime.RangeReport{Range: verifyRAM[i], Offset: off, Bytes: verifyRAM[i].Size()})
		off += lime.HeaderSize + int64(verifyRAM[i].Size())
	}
	for off, want := range map[int64]string{
		-1: "", 0: "0x1000", 31: "0x1000", 32: "0x1000", 33: "0x1001", first - 1: "0x9fbff",
		first: "0x100000", first + 32 + 4096: "0x101000", int64(len(verifyRaw(7))) - 1: "0x17ffff", int64(len(verifyRaw(7))): "",
	} {
		if got := addressAt(ranges, off); got != want {
			t.Errorf("addressAt(%d) = %q, want %q", off, got, want)
		}
	}
}

func TestVerifyDamage(t *testing.T) {
	other := verifyRaw(8)
	type tests []struct {
		name     string
		damage   func(s verifySet)
		verdict  string
		problems string // by compression none; "zstd|none" when they differ
		detail   string // in some problem
	}
	raw := verifyRaw(7)
	eachCompression(t, verifyCapture{}, func(t *testing.T, good verifySet) {
		o := newVerifySet(t, verifyCapture{compression: good.verify().Manifest.Image.Compression, raw: other})
		swap := func(s verifySet) { s.write(verifyName, o.read(verifyName)) }
		for _, c := range (tests{
			{"truncated", func(s verifySet) { b := s.read(verifyName); s.write(verifyName, b[:len(b)/2]) },
				VerdictMismatch, "banner, complete, frame, ranges, raw digest, seek table, stored digest, structure|banner, complete, frame, ranges, raw digest, stored digest, structure", "file ends before the end of the frame"},
			{"last byte gone", func(s verifySet) { b := s.read(verifyName); s.write(verifyName, b[:len(b)-1]) },
				VerdictMismatch, "seek table, stored digest|complete, frame, ranges, raw digest, stored digest, structure", ""},
			{"emptied", func(s verifySet) { s.write(verifyName, nil) },
				VerdictMismatch, "banner, complete, frame, ranges, raw digest, seek table, stored digest, structure|banner, complete, frame, ranges, raw digest, stored digest, structure", ""},
			{"byte appended", func(s verifySet) { s.write(verifyName, append(s.read(verifyName), 0)) },
				VerdictMismatch, "appended, stored digest", "1 bytes follow"},
			{"image swapped", swap,
				VerdictMismatch, "appended, banner, complete, frame, ranges, raw digest, seek table, stored digest, structure|frame, raw digest, stored digest", "SHA-256 of the stored bytes differs"},
			{"image and index swapped", func(s verifySet) {
				swap(s)
				s.write(vFrames, o.read(vFrames))
			}, VerdictMismatch, "frames, raw digest, stored digest", ""},
			{"set swapped, signed by another", func(s verifySet) {
				swap(s)
				s.edit(mallory, func(m *Manifest) {
					b := s.read(verifyName)
					m.Image.Stored = digestOf(b)
					m.Image.Raw = digestOf(other)
					m.Image.Frames = nil
				})
			}, VerdictUntrusted, "", ""},
			{"index missing", func(s verifySet) { s.remove(vFrames) },
				VerdictMismatch, "frames", "there is no " + vFrames},
			{"index missing, image damaged", func(s verifySet) { s.remove(vFrames); s.flip(verifyName, len(s.read(verifyName))*2/3) },
				VerdictMismatch, "frame, frames, raw digest, stored digest|frames, raw digest, stored digest", ""},
			{"index truncated", func(s verifySet) { b := s.read(vFrames); s.write(vFrames, b[:len(b)-10]) },
				VerdictMismatch, "frames", ""},
			{"index without digests of the manifest's size", func(s verifySet) {
				s.write(vFrames, bytes.Repeat([]byte{'x'}, len(s.read(vFrames))))
			}, VerdictMismatch, "frames", ""},
			{"seek table cut, index gone", func(s verifySet) {
				b := s.read(verifyName)
				s.write(verifyName, b[:len(b)-9])
				s.remove(vFrames)
			}, VerdictMismatch, "frames, seek table, stored digest|complete, frames, ranges, raw digest, stored digest, structure", ""},
			{"signature missing", func(s verifySet) { s.remove(vSig) }, VerdictUntrusted, "", ""},
			{"signature empty", func(s verifySet) { s.write(vSig, nil) }, VerdictMismatch, "signature", ""},
			{"signature too large", func(s verifySet) { s.write(vSig, make([]byte, MaxSignature+1)) }, VerdictMismatch, "signature", "too large"},
			{"signature by another", func(s verifySet) { s.edit(mallory, func(*Manifest) {}) }, VerdictUntrusted, "", ""},
			{"edited, signed by another", func(s verifySet) { s.edit(mallory, func(m *Manifest) { m.Case = "another" }) }, VerdictUntrusted, "", ""},
			{"edited, not signed again", func(s verifySet) { s.edit(nil, func(m *Manifest) { m.Case = "another" }) }, VerdictMismatch, "signature", ""},
			{"digests edited, signed by another", func(s verifySet) {
				s.edit(mallory, func(m *Manifest) {
					m.Image.Raw.SHA256, m.Image.Stored.SHA256 = strings.Repeat("0", 64), strings.Repeat("1", 64)
				})
			}, VerdictMismatch, "raw digest, stored digest", strings.Repeat("1", 64)},
			{"digest in capitals", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Raw.SHA256 = strings.ToUpper(m.Image.Raw.SHA256) })
			}, VerdictMismatch, "raw digest", ""},
			{"sizes edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Raw.Bytes++; m.Image.Stored.Bytes = -1 })
			}, VerdictMismatch, "frames, raw digest, stored digest", ""},
			{"manifest of another image", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Name = "web2-mem.lime"; m.Image.Frames.Name = "web2-mem.lime.frames" })
			}, VerdictMismatch, "name", `"web2-mem.lime"`},
			{"manifest not JSON", func(s verifySet) { s.write(vManifest, []byte("{\n \"type\": }")) },
				VerdictMismatch, "manifest, signature", "line 2"},
			{"manifest of a later version", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Version = 2 }) },
				VerdictMismatch, "manifest", "version 2"},
			{"manifest too large", func(s verifySet) {
				if err := os.Truncate(s.path(vManifest), MaxManifest+1); err != nil {
					s.Fatal(err)
				}
			}, VerdictMismatch, "manifest", "too large"},
			{"both forms", func(s verifySet) { s.write(vPartial, raw) },
				VerdictMismatch, "name", "both"},
			{"only the partial form", func(s verifySet) { s.rename(verifyName, vPartial) },
				VerdictMismatch, "name", "only " + vPartial + " is there"},
			{"contradicts itself", func(s verifySet) {
				s.edit(alice, func(m *Manifest) {
					m.Image.Partial = true
					m.Reasons = []string{"stream: lost"}
					m.Checks[0].Result = Fail
				})
			}, VerdictMismatch, "manifest", "stream: lost"},
			{"compression unknown", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Compression = "lz4"; m.Image.Frames = nil })
			},
				VerdictMismatch, "banner, complete, manifest, ranges, raw digest, structure", `"lz4"`},
			{"compression, encryption and format edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Compression, m.Image.Encryption, m.Image.Format = "gzip", "aes", "raw" })
			}, VerdictMismatch, "frames, manifest", `"aes"`},
			{"records edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Stream.Ranges[1].Range.Start += 4096 })
			}, VerdictMismatch, "structure", "record 1 is 0x100000-0x17ffff"},
			{"record left out", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Stream.Ranges = m.Stream.Ranges[:1] })
			}, VerdictMismatch, "structure", ""},
			{"no records", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Stream = nil }) },
				VerdictMismatch, "manifest", ""},
			{"System RAM edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.RAM = append(m.RAM, lime.Range{Start: 0x200000, End: 0x2fffff}) })
			}, VerdictMismatch, "ranges", "0x200000-0x2fffff"},
			{"banner moved", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Stream.Found[0].Addrs[0] += 16 })
			}, VerdictMismatch, "banner", "0x123466"},
			{"banner of another kernel", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Target.Facts.BannerAddress += 16 })
			}, VerdictMismatch, "banner", "is not at 0x123466"},
			{"version that starts with a zero byte", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Target.Facts.Version = "\x00" + verifyBanner })
			}, VerdictMismatch, "banner", ""},
			{"no facts", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Target.Facts = nil }) },
				VerdictMismatch, "manifest", ""},
		}) {
			t.Run(c.name, func(t *testing.T) {
				s := good.copy(t)
				c.damage(s)
				zstd, none, ok := strings.Cut(c.problems, "|")
				if ok && strings.HasSuffix(filepath.Dir(t.Name()), frame.None) {
					zstd = none
				}
				rep := s.want(c.verdict, zstd)
				if !strings.Contains(problemText(rep), c.detail) {
					t.Errorf("no problem says %q:\n%s", c.detail, problemText(rep))
				}
				for _, p := range rep.Problems {
					if p.Detail == "" || (p.Frame >= 0) != (p.What == "frame") {
						t.Errorf("%+v", p)
					}
				}
			})
		}
	})
}

func digestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest{int64(len(b)), hex.EncodeToString(sum[:])}
}
