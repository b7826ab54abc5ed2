//go:build unix

package acquire

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
)

// A notedDisk keeps the notes that its objects are given, by their names.
type notedDisk struct {
	neutralDisk
	notes map[string][]byte
}

type notedObject struct {
	sink.Object
	take func([]byte) error
}

func (o notedObject) Note(note []byte) error { return o.take(note) }

func (d notedDisk) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := d.neutralDisk.Create(ctx, name)
	return notedObject{o, func(note []byte) error {
		if d.notes[name] != nil {
			panic("a second note of " + name)
		}
		d.notes[name] = bytes.Clone(note)
		return nil
	}}, err
}

// cut stores the first n bytes of a file of one place in another.
func cutTo(t *testing.T, from, to sink.Sink, name string, n int64) sink.Receipt {
	t.Helper()
	data, err := sink.ReadAll(t.Context(), from.(sink.Opener), name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := to.Create(t.Context(), name)
	if err == nil {
		_, err = obj.Write(data[:min(n, int64(len(data)))])
	}
	if err != nil {
		t.Fatal(err)
	}
	kept, err := obj.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func neutral(t *testing.T) neutralDisk {
	t.Helper()
	d, err := sink.NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return neutralDisk{d}
}

// TestNote: of a capture that is killed while its image, or a swap area, comes, the manifest of what is left names host, kernel, method and case, and
// calls nothing complete.
func TestNote(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	f.dd = withDirect
	f.addSwap("swap1", 2<<20, swapHead(4096, 512, binary.LittleEndian, ""))
	f.addSwap("swap2", 1<<20, swapHead(4096, 256, binary.LittleEndian, ""))
	place := notedDisk{neutral(t), map[string][]byte{}}
	res := f.capture(t.Context(), t.TempDir(), func(o *Options) {
		asksSwap(o)
		collects(t, "version")(o)
		o.Sink, o.Signer, o.Case, o.Compression, o.testOnlyInterimDelay = place, alice, "case-42", "none", time.Hour
	})
	if res.State != StateComplete || res.Err != nil {
		t.Fatalf("%+v", res)
	}
	last, err := ManifestOf(t.Context(), place, res.Image.Name)
	if err != nil {
		t.Fatal(err)
	}
	image, swap := res.Image.Name, res.Swap[0].Image.Name
	if len(place.notes) != 3 || place.notes[image] == nil || place.notes[swap] == nil {
		t.Fatalf("%d notes", len(place.notes))
	}
	write := func(where neutralDisk, kept sink.Receipt, note []byte) *RescuedManifest {
		t.Helper()
		r := Rescue{Tool: Tool{Name: "later"}, Operator: "me", Why: "killed", Note: note, Signer: alice, Now: time.Now}
		done, err := r.Write(t.Context(), where, kept)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	verify := func(where neutralDisk) *Manifest {
		t.Helper()
		rep, err := Verify(t.Context(), where, image, VerifyOptions{Signers: allowed(t, "")})
		if err != nil || rep.Verdict != VerdictPartial || len(rep.Problems) > 0 {
			t.Fatalf("%+v, %v\n%s", rep, err, problemText(rep))
		}
		m := rep.Manifest
		if m.Target.Host != "fake" || m.Target.Facts.Version != last.Target.Facts.Version || m.Method.Source != MethodKcore || m.Method.Privilege == "" || m.Case != "case-42" ||
			m.Target.Connection.HostKey != last.Target.Connection.HostKey || len(m.Timeline) == 0 || len(m.RAM) == 0 {
			t.Errorf("it does not say whose memory it is: %+v", m)
		}
		if m.Complete || m.Rescued == nil || m.Rescued.Operator != "me" || m.Rescued.Recorded.IsZero() || m.Tool.Name == "later" || m.Footprint.Clean || len(m.Footprint.Left) == 0 || len(m.Checks)+len(m.Reasons) == 0 {
			t.Errorf("it does not say that it was killed: %+v", m)
		}
		return m
	}

	where := neutral(t)
	done := write(where, cutTo(t, place, where, image, 1<<20+7), place.notes[image])
	if done.Host != "fake" || done.Recorded.IsZero() || filepath.Base(done.Location) != image+PartialManifestSuffix {
		t.Errorf("%+v", done)
	}
	m := verify(where)
	if m.Image.Stored.Bytes != 1<<20+7 || !m.Image.Partial || m.Unreadable != nil || len(m.Reads)+len(m.Checks) > 0 || m.Live == nil || m.Live.Complete ||
		len(m.SwapImages) != 2 || !strings.Contains(m.SwapImages[0].Reasons[0], "killed before") || !strings.Contains(strings.Join(m.Reasons, " "), "unsigned") {
		t.Errorf("of the image: %+v", m)
	}

	// A swap area has its place in a manifest of the image, which is there by then, and what was collected.
	where = neutral(t)
	r := Rescue{Why: "killed", Note: place.notes[swap], Now: time.Now}
	if done, err := r.Write(t.Context(), where, cutTo(t, place, where, swap, 4096+7)); err == nil {
		t.Errorf("without its image: %+v", done)
	}
	cutTo(t, place, where, image, 1<<30)
	cutTo(t, place, where, image+FramesSuffix, 1<<30)
	cutTo(t, place, where, LiveName(image, false), 1<<30)
	for _, s := range []string{"", SignatureSuffix} {
		cutTo(t, place, where, image+InterimSuffix+s, 1<<30)
	}
	write(where, sink.Receipt{Name: swap, Size: 4096 + 7, Location: "there"}, place.notes[swap])
	m = verify(where)
	if x := m.SwapImages; len(x) != 2 || x[0].Complete || x[0].Image.Stored.Bytes != 4096+7 || x[0].Image.Raw != x[0].Image.Stored || x[0].Reasons[0] != "killed" ||
		x[1].Complete || !strings.Contains(x[1].Reasons[0], "not read") || m.Image.Stored != last.Image.Stored || !strings.Contains(m.Reasons[0], image+InterimSuffix) {
		t.Errorf("of the swap area: %+v", m)
	}
	if at := m.Rescued.Recorded; !at.Equal(last.SwapImages[0].Begun) || !at.After(last.Created) {
		t.Errorf("what it says was recorded at %s, and swap begun at %s", at, last.SwapImages[0].Begun)
	}
	if m.Live == nil || !m.Live.Complete || len(m.Reads) == 0 {
		t.Errorf("what was known is lost: %+v", m.Live)
	}
	if !Rescuable(swap, place.notes[swap]) || Rescuable(swap, place.notes[image]) || Rescuable(swap, nil) {
		t.Error("a swap area is rescued by the note about it alone")
	}

	// What is no note of this file, or is damaged, is told, and not believed.
	for name, note := range map[string][]byte{"another's": place.notes[swap], "torn": place.notes[image][:100], "no host": []byte(`{"type":"shotglass-manifest","v":1,"created":"2026-01-31T10:11:12Z"}`), "no time": []byte(`{"type":"shotglass-manifest","v":1,"target":{"facts":{}}}`)} {
		if name == "another's" {
			note = bytes.ReplaceAll(note, []byte(image), []byte("web9-mem.lime"))
		}
		where := neutral(t)
		done := write(where, cutTo(t, place, where, image, 1<<20), note)
		rep, err := Verify(t.Context(), where, image, VerifyOptions{Signers: allowed(t, "")})
		if done.Lost == nil || err != nil || rep.Verdict != VerdictPartial || len(rep.Problems) > 0 || rep.Manifest.Target.Facts != nil || !strings.Contains(strings.Join(rep.Manifest.Reasons, " "), "cannot be used") {
			t.Errorf("%s: %+v, %+v, %v", name, done, rep, err)
		}
	}
}

// TestNoteBounded: what is known of a host with much memory is cut to what a sink keeps, and is whole otherwise.
func TestNoteBounded(t *testing.T) {
	m := &Manifest{Type: ManifestType, Version: ManifestVersion, Target: TargetRecord{Facts: &Facts{Version: "<a&b>"}}, Image: Image{Name: "x.lime"}}
	var got []byte
	c := &capture{h: &remote{opts: &Options{Now: time.Now}}, opts: &Options{Now: time.Now}}
	obj := notedObject{take: func(note []byte) error { got = note; return nil }}
	c.note(obj, m)
	if !json.Valid(got) || bytes.Contains(got, []byte(`\u003c`)) {
		t.Errorf("note %.200s", got)
	}
	small := len(got)
	m.Reads = make([]ReadTime, 1<<16)
	c.note(obj, m)
	if len(got) != small || len(m.Reads) == 0 {
		t.Errorf("a note of %d bytes, %d without the times", len(got), small)
	}
}

// TestNoteWhileFrozen: a note is taken while the watchdog on the target talks, and what it says then changes nothing in it.
func TestNoteWhileFrozen(t *testing.T) {
	o := &Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	h := &remote{opts: o, facts: &Facts{}}
	f := &freezer{h: h, index: map[string]int{"a": 0, "b": 1}}
	f.use.Cgroups = []FrozenCgroup{{State: stateFrozen}, {State: stateFrozen}}
	c := &capture{h: h, opts: o, freezer: f, step: &Step{host: h, Facts: h.facts}}
	before := c.noteOfImage()
	talked := make(chan struct{})
	go func() {
		defer close(talked)
		for range 100 {
			f.note(report{word: "warm", rest: "b"})
			f.note(report{word: "left", rest: "a"})
			f.note(report{word: "unguarded"})
		}
	}()
	for range 100 { // of use under the race detector
		c.note(notedObject{take: func([]byte) error { return nil }}, c.noteOfImage())
	}
	<-talked
	if g := before.Freeze; g.Cgroups[1].State != stateFrozen || len(g.Left) > 0 {
		t.Errorf("it was changed later: %+v", g)
	}
	if after := c.noteOfImage().Freeze; after.Cgroups[1].State != stateWarm || len(after.Left) != 100 || len(h.moments()) != 100 {
		t.Errorf("%+v, %d moments", after, len(h.moments()))
	}
}

func FuzzNote(f *testing.F) {
	f.Add([]byte(`{"type":"shotglass-manifest","v":1,"created":"2026-01-31T10:11:12Z","target":{"facts":{}},"image":{"name":"x-mem.lime"},"swap_images":[{"image":{"name":"x-swap-1.raw"}}]}`), "x-swap-1.raw")
	for _, later := range []string{`"interim":"x"`, `"rescued":{"recorded":"2026-01-31T10:11:12Z"}`} {
		f.Add([]byte(`{"type":"shotglass-manifest","v":1,"created":"2026-01-31T10:11:12Z","target":{"facts":{}},"image":{"name":"x-mem.lime"},`+later+`}`), "x-mem.lime")
	}
	f.Fuzz(func(t *testing.T, note []byte, name string) {
		m, swap, err := parseNote(note, name)
		if err == nil && (m.Target.Facts == nil || m.Created.IsZero() || m.Interim != "" || m.Rescued != nil || swap < 0 && m.Image.Name != name || swap >= 0 && m.SwapImages[swap].Image.Name != name) {
			t.Errorf("it is taken for that of %q: %+v, %d", name, m, swap)
		}
	})
}

// TestNoteSources: what each way of reading memory has to say of itself is in the note, and what it counts is not: nothing has come yet.
func TestNoteSources(t *testing.T) {
	t.Parallel()
	avml, options, _ := avmlTarget(t, goodAvml)
	for _, tt := range []struct {
		source  string
		capture func(edit func(*Options)) Result
		says    func(m *Manifest) bool
	}{
		{MethodLime, func(edit func(*Options)) Result { return newFake(t).capture(t.Context(), t.TempDir(), edit) }, func(m *Manifest) bool {
			return m.Module != nil && m.Module.SHA256 != "" && m.Method.Peer != nil && m.Footprint.BytesPushed > 0
		}},
		{MethodAvml, func(edit func(*Options)) Result {
			return avml.capture(t.Context(), t.TempDir(), func(o *Options) { options(o); edit(o) })
		}, func(m *Manifest) bool {
			return m.Method.Avml != nil && m.Method.Avml.SHA256 != "" && m.Method.Avml.ExitCode == "" && m.Footprint.PushedTo != ""
		}},
	} {
		place := notedDisk{neutral(t), map[string][]byte{}}
		res := tt.capture(func(o *Options) { o.Sink = place })
		m, swap, err := parseNote(place.notes[res.Image.Name], res.Image.Name)
		if err != nil || swap >= 0 {
			t.Fatalf("%s: %+v: %v", tt.source, res, err)
		}
		if m.Method.Source != tt.source || !tt.says(m) || m.Complete || m.Stream != nil || m.Unreadable != nil || len(m.Reads)+len(m.Checks)+len(m.SwapImages) > 0 || m.Live != nil {
			t.Errorf("%s: %+v", tt.source, m)
		}
	}
}
