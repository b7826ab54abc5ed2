package acquire

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
)

// A manifest that calls a short image complete is caught, whoever signed it and
// however well its digests fit.
func TestVerifyLyingManifest(t *testing.T) {
	raw := verifyRaw(7)
	one := lime.HeaderSize + int(verifyRAM[0].Size())
	for _, c := range []struct {
		name     string
		raw      []byte
		lie      func(*Manifest)
		problems string
	}{
		{"cut short", raw[:len(raw)-4096], func(*Manifest) {}, "complete, ranges"},
		{"cut short, RAM too", raw[:len(raw)-4096], func(m *Manifest) {
			m.RAM = slices.Clone(m.RAM)
			m.RAM[1].End -= 4096
		}, "complete"},
		{"cut short, records too", raw[:len(raw)-4096], func(m *Manifest) {
			m.Stream.Complete, m.Stream.Problems = true, nil
		}, "complete, ranges, structure"},
		{"a record left out", raw[:one], func(*Manifest) {}, "banner, ranges"},
		{"bytes at the end", append(slices.Clone(raw), 1, 2, 3), func(*Manifest) {}, "complete"},
		{"no record", []byte("LiME, honestly"), func(*Manifest) {}, "banner, complete, ranges"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			eachCompression(t, verifyCapture{raw: c.raw}, func(t *testing.T, s verifySet) {
				s.want(VerdictPartial, "")
				s.edit(alice, func(m *Manifest) {
					m.Complete, m.Reasons, m.Image.Partial = true, nil, false
					m.Image.Location = strings.TrimSuffix(m.Image.Location, sink.PartialSuffix)
					for i := range m.Checks {
						m.Checks[i].Result = Pass
					}
					c.lie(m)
				})
				s.rename(vPartial, verifyName)
				s.want(VerdictMismatch, c.problems)
			})
		})
	}
}

func TestVerifyErrors(t *testing.T) {
	good := newVerifySet(t, verifyCapture{compression: frame.Zstd})
	o := VerifyOptions{Signers: allowed(t, "")}
	t.Run("no manifest", func(t *testing.T) {
		s := good.copy(t)
		s.remove(vManifest)
		rep, err := Verify(t.Context(), s.disk(), verifyName, o)
		if rep != nil || !errors.Is(err, fs.ErrNotExist) ||
			!strings.Contains(err.Error(), "no manifest, no evidence") || !strings.Contains(err.Error(), vManifest) {
			t.Errorf("%v, %v", rep, err)
		}
	})
	t.Run("no image", func(t *testing.T) {
		s := good.copy(t)
		s.remove(verifyName)
		rep, err := Verify(t.Context(), s.disk(), vManifest, o)
		if rep != nil || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no image") {
			t.Errorf("%v, %v", rep, err)
		}
	})
	t.Run("image is a folder", func(t *testing.T) {
		s := good.copy(t)
		s.remove(verifyName)
		if err := os.Mkdir(s.path(verifyName), 0o700); err != nil {
			t.Fatal(err)
		}
		if rep, err := Verify(t.Context(), s.disk(), verifyName, o); rep != nil || err == nil {
			t.Errorf("%v, %v", rep, err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if rep, err := Verify(ctx, good.disk(), verifyName, o); rep != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("before: %v, %v", rep, err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		o := o
		o.Progress = func(int64, int64) { cancel() }
		if rep, err := Verify(ctx, good.disk(), verifyName, o); rep != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("midway: %v, %v", rep, err)
		}
	})
}

// A watchingOpener knows which files were asked for.
type watchingOpener struct {
	sink.Opener
	names map[string]bool
}

func (o watchingOpener) Open(ctx context.Context, name string) (sink.Reader, error) {
	o.names[name] = true
	return o.Opener.Open(ctx, name)
}

func TestVerifyTraversal(t *testing.T) {
	good := newVerifySet(t, verifyCapture{compression: frame.None})
	for _, name := range []string{
		"", ".", "..", ".json", ".partial", ".json.sig", "../" + verifyName, "/etc/passwd", "a/" + verifyName, `..\` + verifyName, "x\x00", "-x",
		"../" + vManifest, strings.Repeat("x", sink.MaxName+1),
	} {
		w := watchingOpener{good.disk(), map[string]bool{}}
		if rep, err := Verify(t.Context(), w, name, VerifyOptions{}); rep != nil || err == nil || len(w.names) > 0 {
			t.Errorf("%q: %v, %v, opened %v", name, rep, err, w.names)
		}
	}
	for _, name := range []string{"../../etc/passwd", "/etc/passwd", "other", ""} {
		s := good.copy(t)
		s.edit(alice, func(m *Manifest) {
			m.Image.Name, m.Image.Location, m.Image.Frames.Name = name, name+sink.PartialSuffix, name+"/frames"
		})
		w := watchingOpener{s.disk(), map[string]bool{}}
		rep, err := Verify(t.Context(), w, verifyName, VerifyOptions{Signers: allowed(t, "")})
		if err != nil {
			t.Fatal(err)
		}
		if rep.Verdict != VerdictMismatch || whats(rep) != "name" {
			t.Errorf("%q: %s, %s", name, rep.Verdict, whats(rep))
		}
		for opened := range w.names {
			if !strings.HasPrefix(opened, verifyName) {
				t.Errorf("%q: opened %q", name, opened)
			}
		}
	}
}

func TestVerifyTime(t *testing.T) {
	s := newVerifySet(t, verifyCapture{compression: frame.Zstd})
	for _, c := range []struct {
		options string
		at      time.Time
		want    string
	}{
		{"", time.Time{}, VerdictOK},
		{`valid-before="20200101Z" `, time.Time{}, VerdictUntrusted}, // now, whatever the manifest says
		{`valid-before="20270101Z" `, verifyTime, VerdictOK},
		{`valid-before="20270101Z" `, verifyTime.AddDate(1, 0, 0), VerdictUntrusted},
		{`valid-after="20270101Z" `, verifyTime, VerdictUntrusted},
		{`namespaces="file" `, verifyTime, VerdictUntrusted},
	} {
		rep, err := Verify(t.Context(), s.disk(), verifyName, VerifyOptions{Signers: allowed(t, c.options), At: c.at})
		if err != nil {
			t.Fatal(err)
		}
		if rep.Verdict != c.want || !rep.Signature.Valid || rep.Signature.Trusted != (c.want == VerdictOK) {
			t.Errorf("%q at %v: %s, %+v", c.options, c.at, rep.Verdict, rep.Signature)
		}
	}
	rep, err := Verify(t.Context(), s.disk(), verifyName, VerifyOptions{})
	if err != nil || rep.Verdict != VerdictUntrusted || !rep.Signature.Valid || rep.Signature.Fingerprint == "" {
		t.Errorf("no signers: %+v, %v", rep, err)
	}
}

// Where nothing can be renamed, a partial image lies under its final name.
func TestVerifyPartialUnderFinalName(t *testing.T) {
	raw := verifyRaw(7)
	s := newVerifySet(t, verifyCapture{compression: frame.Zstd, raw: raw[:len(raw)/3]})
	s.rename(vPartial, verifyName)
	s.edit(alice, func(m *Manifest) { m.Image.Location = "s3://evidence/" + verifyName })
	s.want(VerdictPartial, "")
}

// TestVerifyPartialManifest: a sink that cannot rename tells a partial image by the name of
// its manifest.
func TestVerifyPartialManifest(t *testing.T) {
	raw := verifyRaw(7)
	good := newVerifySet(t, verifyCapture{compression: frame.Zstd, raw: raw[:len(raw)/3]})
	good.rename(vPartial, verifyName)
	good.edit(alice, func(m *Manifest) { m.Image.Location = "s3://evidence/" + verifyName })
	good.rename(verifyName+ManifestSuffix, verifyName+PartialManifestSuffix)
	good.rename(verifyName+ManifestSuffix+SignatureSuffix, verifyName+PartialManifestSuffix+SignatureSuffix)
	good.want(VerdictPartial, "")
	for _, name := range []string{verifyName + PartialManifestSuffix, verifyName + PartialManifestSuffix + SignatureSuffix} {
		if r, err := Verify(t.Context(), good.disk(), name, VerifyOptions{Signers: allowed(t, "")}); err != nil || r.Verdict != VerdictPartial {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}

	both := good.copy(t)
	both.write(verifyName+ManifestSuffix, both.read(verifyName+PartialManifestSuffix))
	both.write(verifyName+ManifestSuffix+SignatureSuffix, both.read(verifyName+PartialManifestSuffix+SignatureSuffix))
	both.want(VerdictMismatch, mismatchName)

	whole := newVerifySet(t, verifyCapture{compression: frame.Zstd})
	whole.rename(verifyName+ManifestSuffix, verifyName+PartialManifestSuffix)
	whole.rename(verifyName+ManifestSuffix+SignatureSuffix, verifyName+PartialManifestSuffix+SignatureSuffix)
	whole.want(VerdictMismatch, mismatchName)
}

// memoryOpener holds files for fuzzing.
type memoryOpener map[string][]byte

func (o memoryOpener) Open(_ context.Context, name string) (sink.Reader, error) {
	b, ok := o[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return memoryReader{bytes.NewReader(b)}, nil
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

// manifests returns manifests to start from.
func manifests(f *testing.F) (memoryOpener, [][]byte) {
	raw := verifyRaw(7)
	files := memoryOpener{}
	var seeds [][]byte
	for _, vc := range []verifyCapture{
		{compression: frame.Zstd}, {compression: frame.None}, {compression: frame.None, raw: raw[:9999]}, {compression: frame.Zstd, full: 5000},
	} {
		s := newVerifySet(f, vc)
		seeds = append(seeds, s.read(vManifest))
		if len(files) == 0 {
			files[verifyName], files[vFrames], files[vSig] = s.read(verifyName), s.read(vFrames), s.read(vSig)
		}
	}
	seeds = append(seeds, []byte(`{"type":"shotglass-manifest","v":1}`),
		[]byte(`{"type":"shotglass-manifest","v":1,"complete":true,"image":{"name":"web1-mem.lime","compression":"zstd","frames":{}},"target":{"facts":{"version":"\u0000x"}},"stream":{"ranges":[{"offset":-9223372036854775808,"bytes":18446744073709551615,"range":{"start":"0xffffffffffffffff","end":"0x0"}}]},"ram":[{"start":"0x0","end":"0xffffffffffffffff"}]}`))
	return files, seeds
}

func FuzzParseManifest(f *testing.F) {
	_, seeds := manifests(f)
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			if m != nil || err.Error() == "" {
				t.Fatalf("%v with an error: %v", m, err)
			}
			return
		}
		if m.Type != ManifestType || m.Version != ManifestVersion {
			t.Fatalf("type %q, version %d", m.Type, m.Version)
		}
		first, err := m.Marshal()
		if err != nil {
			t.Skip(err) // such as a year of five digits
		}
		again, err := ParseManifest(first)
		if err != nil {
			t.Fatalf("%v, after Marshal:\n%s", err, first)
		}
		if second, err := again.Marshal(); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("Marshal is not stable (%v):\n%s\n%s", err, first, second)
		}
	})
}

// Whatever a manifest says that nobody signed, it verifies nothing.
func FuzzVerifyManifest(f *testing.F) {
	files, seeds := manifests(f)
	for _, s := range seeds {
		f.Add(s)
	}
	signers := allowed(f, "")
	signed := seeds[0]
	f.Fuzz(func(t *testing.T, data []byte) {
		where := memoryOpener{vManifest: data}
		for name, b := range files {
			where[name] = b
		}
		rep, err := Verify(t.Context(), where, verifyName, VerifyOptions{Signers: signers, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		want := VerdictMismatch
		if bytes.Equal(data, signed) {
			want = VerdictOK
		}
		if rep.Verdict != want {
			t.Fatalf("verdict %q, want %q", rep.Verdict, want)
		}
		if !slices.IsSortedFunc(rep.Problems, func(a, b Mismatch) int {
			if a.What != "frame" || b.What != "frame" {
				return 0
			}
			return cmp.Compare(a.Frame, b.Frame)
		}) {
			t.Fatal("frames out of order")
		}
	})
}
