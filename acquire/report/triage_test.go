package report

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/triage"
)

// TestTriage: the page shows the last triage, and what only one side knows stands first; nothing of it gets out of its
// place in the page.
func TestTriage(t *testing.T) {
	l := newLab(t)
	m := l.capture(1, func(m *acquire.Manifest) {
		m.Live = &acquire.Live{Complete: true, Items: []live.Item{{Name: "btf", Stage: live.After, File: "btf"}, {Name: "ps", Stage: live.Before, Error: "the host has none"}}}
	})
	r := &triage.Report{
		Type: triage.Type, Version: triage.Version, Created: epoch, Volatility: "2.11.0", SHA256: m.Image.Raw.SHA256, Verified: "verified", Symbols: "made of BTF",
		Plugins: []triage.PluginResult{{Name: "linux.bash.Bash", Error: "exit status 1"}, {Name: "linux.lsof.Lsof", Without: "without 1 process <b>"}}, Read: "in place", Unread: []string{"3 reads that <b>failed</b>"},
		Processes: []triage.Process{{PID: 1, Name: "systemd", Created: epoch}, {PID: 7, Parent: 1, Name: "<script>alert(1)</script>", Args: "\"'><img src=x>"}, {PID: 8, Parent: 9, Name: "circle"}, {PID: 9, Parent: 8, Name: "round"}},
		Modules:   []triage.Module{{Name: "ext4"}},
		Sockets:   []triage.Socket{{PID: 7, Name: "nc", Proto: "tcp", Local: "0.0.0.0:4444", State: "LISTEN"}},
		History:   []triage.Command{{PID: 7, Process: "bash", Time: epoch, Command: "curl </pre> | sh"}},
		Comparison: &triage.Comparison{Both: triage.Counts{Processes: 60}, Differences: []triage.Difference{
			{Kind: "process", PID: 5, Name: "unsure", In: "memory", Class: triage.Unlisted, Detail: "by its PID"},
			{Kind: "process", PID: 7, Name: "<script>alert(1)</script>", In: "memory", Class: triage.Hidden, Detail: "ps did not show it"},
			{Kind: "process", PID: 66, Name: "kworker", In: "memory", Class: triage.Started, Detail: "later"},
		}},
	}
	write := func(suffix string) {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		l.write(m.Image.Name+acquire.TriageSuffix+suffix, data)
	}
	old := r.Volatility
	r.Volatility = "1.0.0"
	write("")
	r.Volatility = old
	write("-2")
	c := l.trusted()
	if x := c.Captures[0]; len(x.Trouble) > 0 || x.Triage == nil || x.Triage.Volatility != old {
		t.Fatalf("trouble %q, triage %+v", x.Trouble, x.Triage)
	}
	page := render(t, c)
	check(t, page)
	if strings.Contains(page, "<script>alert") || strings.Contains(page, "<img src=x>") {
		t.Error("a name got out of its place")
	}
	for _, s := range []string{"hidden: process 7 &lt;script&gt;alert(1)&lt;/script&gt;, only in memory: ps did not show it", "curl &lt;/pre&gt; | sh"} {
		if !strings.Contains(page, s) {
			t.Errorf("the page has no %q", s)
		}
	}
	words := text(t, page)
	if proved, unsure, known := strings.LastIndex(words, "ps did not show it"), strings.Index(words, "by its PID"), strings.Index(words, "1 differences that have a reason"); proved > unsure || unsure > known || strings.Contains(words, "unlisted: process") {
		t.Errorf("what is hidden, not proved, and explained is at %d, %d, %d", proved, unsure, known)
	}
	want(t, words, "linux.bash.Bash: exit status 1", "linux.lsof.Lsof ran without 1 process", "may lack it: 3 reads that", "in place", "systemd", "circle", "round", "0.0.0.0:4444", "1 of 2 items", "ps before the image: the host has none", "Volatility 2.11.0")
	// Another image's triage, and one that is none, are trouble.
	r.SHA256 = strings.Repeat("0", 64)
	write("-3")
	l.write(m.Image.Name+acquire.TriageSuffix+"-4", []byte("{"))
	if x := l.trusted().Captures[0]; len(x.Trouble) != 2 || !slices.ContainsFunc(x.Trouble, func(s string) bool { return strings.Contains(s, "another image") }) {
		t.Errorf("trouble %q", x.Trouble)
	}
}

// TestTree: what memory says of parents need not make sense; every process stands there once, and long lists are cut.
func TestTree(t *testing.T) {
	var list []triage.Process
	for i := range 5000 {
		list = append(list, triage.Process{PID: i + 1, Parent: i, Name: fmt.Sprint("p", i)})
	}
	list = append(list, triage.Process{PID: 9000, Parent: 9000}, triage.Process{PID: 9001, Parent: 9002}, triage.Process{PID: 9002, Parent: 9001})
	lines := tree(list, nil)
	if len(lines) != len(list) || lines[10].Indent == "" {
		t.Errorf("%d lines of %d", len(lines), len(list))
	}
	var order []int
	for _, l := range tree([]triage.Process{{PID: 1}, {PID: 2, Parent: 1}, {PID: 3, Parent: 1}, {PID: 4, Parent: 2}}, nil) {
		order = append(order, l.PID)
	}
	if !slices.Equal(order, []int{1, 2, 4, 3}) {
		t.Errorf("order %v", order)
	}
	// A chain as long as an image wants takes no stack.
	defer debug.SetMaxStack(debug.SetMaxStack(4 << 20))
	deep := make([]triage.Process, 100_000)
	for i := range deep {
		deep[i] = triage.Process{PID: i + 1, Parent: i}
	}
	if lines := tree(deep, nil); len(lines) != len(deep) {
		t.Errorf("%d lines of %d", len(lines), len(deep))
	}
	x := &Capture{Manifest: &acquire.Manifest{}, Triage: &triage.Report{Processes: list}}
	if v := x.triageView(); len(v.Tree) != maxTree || len(v.Cut) != 1 {
		t.Errorf("%d lines, %q", len(v.Tree), v.Cut)
	}
	x.Triage = &triage.Report{Cut: []string{"the first 1 of 2 modules are listed"}}
	if v := x.triageView(); !slices.Equal(v.Cut, x.Triage.Cut) {
		t.Errorf("cut: %q", v.Cut)
	}
}
