package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/shotglass-ir/shotglass/acquire"
)

// mixed are the results of n hosts, of which two failed alike and one is partial with leftovers.
func mixed(n int) (results []acquire.Result) {
	for i := range n {
		h := hostName(i)
		r := *completeResult(h, int64(i+1)<<30)
		switch i {
		case 0, 2:
			r = acquire.Result{Host: h, State: acquire.StateFailed, Err: withHint(errors.New("connection refused"), "start sshd")}
		case 3:
			r.State, r.Reasons = acquire.StatePartial, []string{"stream: it ended early", "ranges: short"}
			r.Err = &acquire.PartialError{Reasons: r.Reasons}
			r.Left, r.Fix = []string{"module lime"}, "ssh web003 'sudo rmmod lime'"
			r.Image.Location += ".partial"
		}
		results = append(results, r)
	}
	return results
}

func summaryText(s summary, quiet bool) string {
	var errs strings.Builder
	c := newConsole(nil, nil, &errs)
	c.quiet = quiet
	s.print(c)
	return errs.String()
}

func TestSummary(t *testing.T) {
	s := summary{results: mixed(6), took: 3 * time.Minute, resumable: true}
	want := `HOST    STATE      MEMORY   STORED  RATIO       RATE   TIME  SHA256        PLACE
web001  complete  2.0 GiB  512 MiB   4.0x  21.5 MB/s  1m40s  abababababab  web001-mem.lime.zst
web004  complete  5.0 GiB  1.2 GiB   4.0x  53.7 MB/s  1m40s  abababababab  web004-mem.lime.zst
web005  complete  6.0 GiB  1.5 GiB   4.0x  64.4 MB/s  1m40s  abababababab  web005-mem.lime.zst
web003  partial   4.0 GiB  1.0 GiB   4.0x  42.9 MB/s  1m40s  abababababab  web003-mem.lime.zst.partial
web000  failed          -        -      -          -      -  -             -
web002  failed          -        -      -          -      -  -             -
6 hosts: 2 failed, 1 partial, 3 complete; 17.0 GiB of memory, 4.2 GiB stored (4.0x), in 3m0s; in /evidence/
Not as they should be:
  web000, web002: failed: connection refused
  web003: partial: stream: it ended early (and 1 more reasons)
  hint: start sshd
Left on the targets, with what removes it:
  web003: module lime
    ssh web003 'sudo rmmod lime'
verify: shotglass verify --signers FILE /evidence/web001-mem.lime.zst /evidence/web004-mem.lime.zst /evidence/web005-mem.lime.zst
take the rest: the same command with --resume, which keeps the complete images
`
	if have := summaryText(s, false); have != want {
		t.Errorf("have\n%swant\n%s", have, want)
	}
	_, problems, _ := strings.Cut(want, "Not as")
	problems, _, _ = strings.Cut("Not as"+problems, "verify:")
	if have := summaryText(s, true); have != problems {
		t.Errorf("quiet: have\n%swant\n%s", have, problems)
	}
}

// On a terminal no row wraps, the sound hosts become a line when there are too many, and the problems
// stay on the screen.
func TestSummaryOnTerminal(t *testing.T) {
	for _, width := range []int{40, 79, 199} {
		s := summary{results: mixed(200), width: width, height: 24, signers: "/my signers"}
		text := summaryText(s, false)
		table, rest, _ := strings.Cut(text, "200 hosts: ")
		for l := range strings.Lines(table) {
			if n := runewidth.StringWidth(strings.TrimSuffix(l, "\n")); n > width {
				t.Errorf("%d columns in a terminal of %d: %q", n, width, l)
			}
		}
		if n := strings.Count(text, "\n"); n > 24 {
			t.Errorf("%d lines:\n%s", n, text)
		}
		wantLines(t, text, "HOST ", "web003", "partial", "web000", "failed", "197 hosts are complete: 19.")
		wantLines(t, rest, "web000, web002: failed", "verify: shotglass verify --signers '/my signers' /evidence/*-mem.lime.zst\n")
		if width == 199 && !strings.Contains(table, "web003-mem.lime.zst.partial") || width == 79 && strings.Contains(table, "PLACE") {
			t.Errorf("%d columns:\n%s", width, table)
		}
	}
	// Off the terminal everybody has a row.
	if n := strings.Count(summaryText(summary{results: mixed(200)}, false), "abababababab  web"); n != 198 {
		t.Errorf("%d rows with an image, want 198", n)
	}
}

func TestSummaryOneHost(t *testing.T) {
	s := summary{results: []acquire.Result{*completeResult("web1", 1<<30)}, resumable: true}
	if have := summaryText(s, false); have != "verify: shotglass verify --signers FILE /evidence/web1-mem.lime.zst\n" {
		t.Errorf("%q", have)
	}
	s.results = []acquire.Result{{Host: "web1", State: acquire.StateFailed, Err: errors.New("no")}}
	if have := summaryText(s, false); have != "" {
		t.Errorf("%q", have)
	}
}

func TestSummaryNext(t *testing.T) {
	var results []acquire.Result
	for i := range 5 {
		r := *completeResult(hostName(i), 1<<30)
		r.Image.Location = "s3://bucket/case/" + r.Image.Name
		results = append(results, r)
	}
	s := summary{results: results}
	if have := fmt.Sprint(s.next()); !strings.Contains(have, "sixth column") {
		t.Error(have)
	}
	for i := range results {
		results[i].Image.Location = fmt.Sprintf("/evidence/%d/x", i)
	}
	if have := fmt.Sprint(s.next()); s.folder() != "" || !strings.Contains(have, "sixth column") {
		t.Error(have)
	}
}

// A hostile host cannot forge lines of the summary.
func TestSummaryIsPrintable(t *testing.T) {
	results := mixed(3)
	results[0].Err = errors.New("gone\x1b[2J\rverify: rm -rf /")
	results[1].Host = "a\nb"
	for _, r := range summaryText(summary{results: results}, false) {
		if r < ' ' && r != '\n' {
			t.Fatalf("a control character %q", r)
		}
	}
	if strings.Contains(summaryText(summary{results: results}, false), "\nb ") {
		t.Error("a name makes a line")
	}
}

// Hosts that fail alike make one line, although each error names its host.
func TestSummaryGroups(t *testing.T) {
	var results []acquire.Result
	for i := range 12 {
		ip := fmt.Sprintf("10.0.0.%d", 10+i)
		results = append(results, acquire.Result{Host: "ops@" + ip + ":2222", State: acquire.StateFailed, Err: errors.New("dial tcp " + ip + ":2222: connection refused")})
	}
	lines := summary{results: results}.problems()
	if len(lines) != 2 || !strings.HasPrefix(lines[1], "  ops@10.0.0.10:2222, ops@10.0.0.11:2222, ") || !strings.HasSuffix(lines[1], ", and 5 more: failed: dial tcp HOST:2222: connection refused") {
		t.Errorf("%q", lines)
	}
	if lines := (summary{results: results[:1]}).problems(); !strings.HasSuffix(lines[1], "dial tcp 10.0.0.10:2222: connection refused") {
		t.Errorf("%q", lines)
	}
	for i, h := range []string{"a", "b"} { // no letter of a word is taken for a host
		results[i] = acquire.Result{Host: h, State: acquire.StateFailed, Err: fmt.Errorf("%s was rebooted again", h)}
	}
	if lines := (summary{results: results[:2]}).problems(); len(lines) != 2 || lines[1] != "  a, b: failed: HOST was rebooted again" {
		t.Errorf("%q", lines)
	}
	for in, want := range map[string]string{"a": "a", "me@a": "a", "a:22": "a", "[::1]:22": "::1", "::1": "::1"} {
		if have := bareHost(in); have != want {
			t.Errorf("bareHost(%q) = %q, want %q", in, have, want)
		}
	}
}

func TestPlanOfMany(t *testing.T) {
	var steps []*acquire.Step
	for i := range 20 {
		s := &acquire.Step{Host: hostName(i), Expected: int64(i+1) << 30, Source: "lime", Warnings: []string{"swap is not captured"}, Facts: &acquire.Facts{Kernel: "6.1\x1b"}}
		if i == 3 {
			s = &acquire.Step{Host: hostName(i), Err: errors.New("connection\trefused\nmore")}
		}
		steps = append(steps, s)
	}
	var out strings.Builder
	printSteps(&out, steps, nil)
	wantLines(t, out.String(), "HOST    MEMORY    SOURCE  ROUND TRIP  WARNINGS  KERNEL     VERDICT\n",
		`web000  1.0 GiB   lime    -           1         "6.1\x1b"  can be captured`+"\n", "web019  20.0 GiB",
		"web003  -         -       -           0         -          cannot be captured: connection refused\n", "or --json")
	if n := strings.Count(out.String(), "\n"); n != 23 {
		t.Errorf("%d lines", n)
	}
}

// TestPlanSummaryCode: the summary has the code with which the program ends, whatever ends it.
func TestPlanSummaryCode(t *testing.T) {
	for _, tt := range []struct {
		ferr error
		want string
	}{{nil, `"code":0,`}, {usagef("its containment cannot be planned"), `"code":64,`}, {errors.New("the page cannot be written"), `"code":1,`}} {
		var out strings.Builder
		c := newConsole(nil, &out, io.Discard)
		c.json = true
		steps := []*acquire.Step{{Host: "web1", Source: "lime", Facts: &acquire.Facts{}}}
		if err := printPlan(c, &acquire.Plan{Steps: steps}, &captureOptions{}, &drill{}, nil, tt.ferr); err != nil {
			t.Error(err)
		}
		if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); !strings.Contains(lines[len(lines)-1], tt.want) {
			t.Errorf("%v: %s", tt.ferr, lines[len(lines)-1])
		}
	}
}
