package live

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const nonce = "0123456789abcdef"

func clock() func() time.Time {
	t := time.Unix(1e9, 0)
	return func() time.Time { t = t.Add(time.Second); return t }
}

// say is what a script prints for an item.
func say(name, content, end string) string {
	return fmt.Sprintf("\n@@%s + %s\n%s\n@@%s - %s\n", nonce, name, content, nonce, end)
}

func parse(t *testing.T, words ...string) []Kind {
	t.Helper()
	k, err := Parse(words)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// receive gives out in pieces of so many bytes to a receiver.
func receive(t *testing.T, out string, piece int, kinds []Kind, err error) (*Collection, error) {
	t.Helper()
	c := new(Collection)
	r := c.NewReceiver(After, kinds, nonce, clock())
	for b := []byte(out); len(b) > 0; {
		n, werr := r.Write(b[:min(piece, len(b))])
		if werr != nil {
			t.Fatal(werr)
		}
		b = b[n:]
	}
	return c, r.Finish(err)
}

// TestReceiver: every item has its own bytes, wherever the stream was cut, and says what it lacks.
func TestReceiver(t *testing.T) {
	kinds := parse(t, "version", "cmdline", "iomem", "btf", "config", "kallsyms")
	odd := "\n@@" + nonce[:8] + "\n\x00@@\n"
	out := "Welcome to this host!\n" + say("version", odd, "0 /proc/version") + "noise" + say("cmdline", "", "0 /proc/cmdline") +
		say("iomem", "", "missing") + say("btf", strings.Repeat("b", 200<<10), "1 /x") + say("kallsyms", "end\n", "0 /proc/kallsyms\x1b[31m") + "\n@@" + nonce + " end\ntrailing"
	for _, piece := range []int{1, 7, 4096, 1 << 20} {
		c, err := receive(t, out, piece, kinds, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := []struct{ name, content, why string }{
			{"version", odd, ""}, {"cmdline", "", "empty"}, {"iomem", "", "has none"}, {"config", "", "left it out"},
			{"btf", strings.Repeat("b", 200<<10), "status"}, {"kallsyms", "end\n", ""},
		}
		if len(c.Items) != len(want) {
			t.Fatalf("%d items: %+v", len(c.Items), c.Items)
		}
		for i, w := range want {
			it := c.Items[i]
			got, err := c.Content(i)
			sum := sha256.Sum256([]byte(w.content))
			if err != nil || it.Name != w.name || string(got) != w.content || it.Bytes != int64(len(w.content)) ||
				(w.content != "") != (it.SHA256 == hex.EncodeToString(sum[:])) || (w.why == "") != (it.Error == "") || !strings.Contains(it.Error, w.why) {
				t.Errorf("pieces of %d: %d bytes, %+v, want %q", piece, len(got), it, w.why)
			}
		}
		if how := c.Items[5].How; strings.Contains(how, "\x1b") {
			t.Errorf("how is %q", how)
		}
	}
}

// TestReceiverCut: a stream that ends anywhere leaves what came before, marked.
func TestReceiverCut(t *testing.T) {
	kinds := parse(t, "version", "cmdline", "iomem")
	out := say("version", "Linux", "0") + say("cmdline", "root=/dev/vda", "0") + say("iomem", "0-1", "0") + "\n@@" + nonce + " end\n"
	for cut := range len(out) {
		c, err := receive(t, out[:cut], 64, kinds, errors.New("link lost"))
		if err == nil || len(c.Items) != 3 {
			t.Fatalf("cut at %d: %v, %+v", cut, err, c.Items)
		}
		for i, full := range []string{"Linux", "root=/dev/vda", "0-1"} {
			got, _ := c.Content(i)
			if it := c.Items[i]; it.Error == "" && string(got) != full || it.Error != "" && !strings.Contains(it.Error, "link lost") {
				t.Fatalf("cut at %d: %q, %+v", cut, got, it)
			}
		}
	}
}

// TestLimits: an endless item, and a host that sends what does not compress, take no more than is allowed.
func TestLimits(t *testing.T) {
	kinds := parse(t, "version", "btf", "kallsyms", "system-map")
	junk := make([]byte, 40<<20)
	rand.NewChaCha8([32]byte{}).Read(junk)
	c, err := receive(t, say("version", strings.Repeat("v", 10<<10), "0")+say("system-map", string(junk), "0")+say("btf", string(junk), "0")+say("kallsyms", string(junk), "0")+"\n@@"+nonce+" end\n", 1<<20, kinds, nil)
	if err != nil {
		t.Fatal(err)
	}
	if it := c.Items[0]; it.Bytes != 4096 || !strings.Contains(it.Error, "more than 4096") {
		t.Errorf("%+v", it)
	}
	total := 0
	for i, it := range c.Items {
		total += len(c.kept[i])
		if i > 0 && !strings.Contains(it.Error, "10 MiB, compressed") {
			t.Errorf("%s: %+v", it.Name, it)
		}
	}
	if total > MaxKept || c.total != total {
		t.Errorf("%d bytes are kept (%d)", total, c.total)
	}
}

// TestRoom: whoever fills items of state on a host, as any user of it can, does not keep the others from being
// collected, nor what the kernel says of itself.
func TestRoom(t *testing.T) {
	junk := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{}).Read(junk)
	c := new(Collection)
	now := clock()
	for _, stage := range []Stage{Before, After} {
		kinds := At(parse(t, "all"), stage)
		out := ""
		for _, k := range kinds {
			content := k.Name
			switch k.Name {
			case "processes", "executables", "sockets", "ps":
				content = string(junk)
			case "modules":
				content = string(junk[:100<<10])
			case "kallsyms":
				content = string(junk[:7<<20])
			}
			out += say(k.Name, content, "0")
		}
		r := c.NewReceiver(stage, kinds, nonce, now)
		io.WriteString(r, out+"\n@@"+nonce+" end\n")
		if err := r.Finish(nil); err != nil {
			t.Fatal(err)
		}
		if most := MaxBefore; stage == Before && c.total > most {
			t.Errorf("%d bytes are kept while memory streams, %d are reckoned with", c.total, most)
		}
	}
	for _, it := range c.Items {
		flooded := slices.Contains([]string{"processes", "executables", "sockets", "ps"}, it.Name)
		if it.Bytes == 0 || flooded != strings.Contains(it.Error, "room for the other items") || !flooded && it.Error != "" {
			t.Errorf("%+v", it)
		}
	}
	if c.total > MaxKept {
		t.Errorf("%d bytes are kept", c.total)
	}
}

// TestArchive: what was collected comes out of the archive, and a changed byte does not go unseen.
func TestArchive(t *testing.T) {
	c, err := receive(t, say("version", "Linux", "0 /proc/version")+say("cmdline", "", "missing")+say("iomem", "0-1", "0")+"\n@@"+nonce+" end\n", 100, parse(t, "version", "cmdline", "iomem"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.WriteTar(&b); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	items, err := ReadArchive(bytes.NewReader(b.Bytes()), func(it Item, r io.Reader) error {
		if r != nil {
			data, err := io.ReadAll(r)
			got[it.File] = string(data)
			return err
		}
		return nil
	})
	if err != nil || len(items) != 3 || got["proc/version"] != "Linux" || got["proc/iomem"] != "0-1" || len(got) != 2 {
		t.Fatalf("%v, %+v, %v", err, items, got)
	}
	for _, content := range []string{"Linux", "0-1", "proc/version\x00"} {
		data := bytes.Clone(b.Bytes())
		data[bytes.Index(data, []byte(content))] ^= 1
		if _, err := ReadArchive(bytes.NewReader(data), func(Item, io.Reader) error { return nil }); err == nil {
			t.Errorf("a byte of %q is another, and nothing was noticed", content)
		}
	}
	for n := range bytes.LastIndex(b.Bytes(), []byte("0-1")) {
		if _, err := ReadArchive(bytes.NewReader(b.Bytes()[:n]), func(Item, io.Reader) error { return nil }); err == nil {
			t.Fatalf("an archive of %d bytes of %d is whole", n, b.Len())
		}
	}
}

// TestCheck: no list leads out of its folder.
func TestCheck(t *testing.T) {
	for _, files := range [][]string{{"../x"}, {"/etc/passwd"}, {"a/../../b"}, {"a", "a"}, {"a", "A"}, {"a", "a/b"}, {ListName}, {"a//b"}, {".ssh/x"}, {"a\nb"}, {`a\b`}, {"a/"}, {"CON:"}} {
		var items []Item
		for _, f := range files {
			items = append(items, Item{Name: "x", Stage: After, File: f})
		}
		if Check(items) == nil {
			t.Errorf("%q passes", files)
		}
	}
	var items []Item
	for _, k := range Kinds() {
		for _, s := range k.Stages {
			items = append(items, Item{Name: k.Name, Stage: s, File: k.path(s)})
		}
	}
	if err := Check(items); err != nil {
		t.Errorf("what a capture collects: %v", err)
	}
	for _, stage := range []Stage{"", "after\x1b[2J", "AFTER"} {
		if Check([]Item{{Name: "x", Stage: stage}}) == nil {
			t.Errorf("the stage %q passes", stage)
		}
	}
}

func TestParse(t *testing.T) {
	for words, want := range map[string]int{"all": len(kinds) - 1, "all,ss": len(kinds), "none": 0, "btf,processes,btf": 2, "state": 12, "kernel": 11} {
		k, err := Parse(strings.Split(words, ","))
		if err != nil || len(k) != want {
			t.Errorf("%s: %d kinds, %v", words, len(k), err)
		}
	}
	for _, words := range []string{"nothing", "none,btf", "", "all,"} {
		if k, err := Parse(strings.Split(words, ",")); err == nil {
			t.Errorf("%q is taken for %d kinds", words, len(k))
		}
	}
}

func FuzzReceiver(f *testing.F) {
	f.Add([]byte(say("version", "Linux", "0 /proc/version")+say("iomem", "", "missing")+"\n@@"+nonce+" end\n"), 3)
	f.Add([]byte("\n@@"+nonce+" + version\n\n@@"+nonce+" + version\n\n@@"+nonce+" -\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		if piece < 1 {
			piece = 1
		}
		kinds := parse(t, "version", "cmdline", "iomem")
		c, _ := receive(t, string(data), piece, kinds, nil)
		if len(c.Items) != len(kinds) {
			t.Fatalf("%d items: %+v", len(c.Items), c.Items)
		}
		var b bytes.Buffer
		if err := c.WriteTar(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadArchive(&b, func(Item, io.Reader) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzReadArchive(f *testing.F) {
	c := &Collection{}
	r := c.NewReceiver(After, kinds[13:15], nonce, clock())
	io.WriteString(r, say("version", "Linux", "0")+say("cmdline", "x", "0")+"\n@@"+nonce+" end\n")
	r.Finish(nil)
	var b bytes.Buffer
	if err := c.WriteTar(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := ReadArchive(bytes.NewReader(data), func(_ Item, r io.Reader) error { return nil })
		if err == nil && Check(items) != nil {
			t.Error("a list that leads elsewhere passes")
		}
	})
}

func FuzzVMCoreInfo(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01"))
	f.Fuzz(func(t *testing.T, data []byte) { VMCoreInfo(data) })
}
