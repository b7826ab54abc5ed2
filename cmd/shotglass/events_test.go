package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
)

// eventKinds finds the events of package acquire: the structs that embed host.
func eventKinds(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob(root + "/acquire/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, eventsIn(file)...)
	}
	return names
}

// eventsIn finds those of one file.
func eventsIn(file *ast.File) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		s, ok := spec.Type.(*ast.StructType)
		if !ok || !spec.Name.IsExported() {
			return true
		}
		for _, f := range s.Fields.List {
			if id, ok := f.Type.(*ast.Ident); ok && len(f.Names) == 0 && id.Name == "host" {
				names = append(names, spec.Name.Name)
			}
		}
		return true
	})
	return names
}

// TestEveryEventIsShown fails when an event is added that some view does not know.
func TestEveryEventIsShown(t *testing.T) {
	failed := &acquire.Result{Host: "web1", State: acquire.StateFailed, Err: errors.New("it broke")}
	step := &acquire.Step{Host: "web1", Expected: 1 << 20, Source: "lime"}
	// What each event makes of a host: its words in the terminal, "" when it leaves them as they are,
	// and what the plain and the JSON view print.
	events := map[string]struct {
		e                  acquire.Event
		words, plain, json string
	}{
		"Connecting": {acquire.Connecting{}, "connecting", "web1: connecting", `"state":"connecting"`},
		"Connected":  {acquire.Connected{RTT: time.Second}, "planning", "web1: connected, round trip 1s", `"rtt_ns":1000000000`},
		"Planned":    {acquire.Planned{Step: step}, "planned", "web1: 1.0 MiB of memory through lime", `"message_type":"plan"`},
		"Waiting":    {acquire.Waiting{Why: "waiting for memory"}, "waiting for memory", "web1: waiting for memory", `"state":"waiting","what":"waiting for memory"`},
		"Rereading":  {acquire.Rereading{Prior: &acquire.Prior{Location: "/x"}}, "reading again", "web1: reading again the image", `"state":"reading again","what":"/x"`},
		"Preparing":  {acquire.Preparing{What: "loading LiME"}, "loading LiME", "web1: loading LiME", `"what":"loading LiME"`},
		"Streaming":  {acquire.Streaming{Expected: 1 << 20, Progress: new(pipeline.Progress)}, "streaming", "web1: streaming, 1.0 MiB expected", `"state":"streaming","expected_bytes":1048576`},
		"Stalled":    {acquire.Stalled{For: 10 * time.Second, GivesUp: time.Minute}, "stalled 10s (gives up in 50s)", "web1: no byte came for 10s", `"state":"stalled","for_ns":10000000000`},
		"Resumed":    {acquire.Resumed{After: 11 * time.Second}, "streaming", "web1: bytes flow again after 11s", `"state":"resumed","for_ns":11000000000`},
		"Cleaning":   {acquire.Cleaning{}, "cleaning the target", "web1: stream ended, cleaning the target", `"state":"cleaning"`},
		"Problem":    {acquire.Problem{Err: errors.New("disk slow")}, "", "error: web1: disk slow", `"state":"problem","error":"disk slow"`},
		"Rejected":   {acquire.Rejected{Result: &acquire.Result{State: acquire.StatePartial, Reasons: []string{"no banner"}}, Second: "b"}, "", "error: web1: the content of LiME's image is rejected", `"state":"rejected","what":"b","reasons":["no banner"]`},
		"Finished":   {acquire.Finished{Result: failed}, "failed: it broke", "error: web1: it broke", `"message_type":"result"`},
	}
	order := []string{"Connecting", "Connected", "Planned", "Waiting", "Rereading", "Preparing", "Streaming", "Stalled", "Resumed", "Cleaning", "Problem", "Rejected", "Finished"}
	kinds := eventKinds(t)
	if len(kinds) != len(order) || len(events) != len(order) {
		t.Errorf("package acquire has the events %q, this test %q", kinds, order)
	}
	for _, k := range kinds {
		if _, ok := events[k]; !ok {
			t.Errorf("no view was shown an acquire.%s", k)
		}
	}
	h, now := newHosts([]string{"web1"}), time.Now()
	words := ""
	for _, k := range order {
		ev := events[k]
		h.apply("web1", ev.e, now)
		if ev.words != "" {
			words = ev.words
		}
		if have := h.look(now)[0].words(now); have != words {
			t.Errorf("%s: the terminal says %q, want %q", k, have, words)
		}
		var plain, out strings.Builder
		(&plainView{c: newConsole(nil, nil, &plain)}).event("web1", ev.e, now)
		if !strings.Contains(plain.String(), ev.plain) {
			t.Errorf("%s: the plain view says %q, want %q", k, plain.String(), ev.plain)
		}
		c := newConsole(nil, &out, io.Discard)
		c.json = true
		newJSONView(c, true).event("web1", ev.e, now)
		if !strings.Contains(out.String(), ev.json) || !strings.Contains(out.String(), `"host":"web1"`) {
			t.Errorf("%s: the JSON view says %q, want %q", k, out.String(), ev.json)
		}
	}
}

// TestJSONIsDocumented fails when a message, a field of capture or a state is missing in docs/json.md.
func TestJSONIsDocumented(t *testing.T) {
	data, err := os.ReadFile(root + "/docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(data)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	message := regexp.MustCompile(`\.message\("(\w+)"`)
	state := regexp.MustCompile(`m\.State(?:, [\w., ]+)? = "([\w ]+)"`)
	found := 0
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		names := message.FindAllSubmatch(src, -1)
		if f == "observe_json.go" {
			names = append(names, state.FindAllSubmatch(src, -1)...)
		}
		for _, m := range names {
			found++
			if !strings.Contains(doc, "| `"+string(m[1])+"` |") {
				t.Errorf("%s: docs/json.md has no row for %q", f, m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d messages and states only", found)
	}
	for _, v := range []any{stateMessage{}, progressMessage{}, reading{}, planMessage{}, acquire.Step{}, resultMessage{}, acquire.Result{}, acquire.Totals{}, acquire.Space{}, summaryMessage{}, exitMessage{}, leftoverMessage{}} {
		for f := range reflect.TypeOf(v).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" && name != "-" && !strings.Contains(doc, "`"+name+"`") {
				t.Errorf("docs/json.md does not name %q of %T", name, v)
			}
		}
	}
}
