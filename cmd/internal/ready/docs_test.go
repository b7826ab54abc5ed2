package ready_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

var update = flag.Bool("update", false, "write the parts of docs that are made of the table of checks")

// free are calls that need no permission, and search what any audit of all regions makes.
const free, search = "sts:GetCallerIdentity", "ec2:DescribeRegions"

// Each check needs what it says, no more and no less.
func TestActions(t *testing.T) {
	for _, c := range ready.Checks {
		w := newWorld(t)
		w.run(w.auditor(c))
		var used []string
		for _, call := range w.cloud.Calls() {
			if call.Action != free && call.Action != search {
				used = append(used, call.Action)
			}
			if call.Writes {
				t.Errorf("%s: %s writes", c.ID, call.Action)
			}
		}
		slices.Sort(used)
		if diff := cmp.Diff(slices.Compact(used), slices.Sorted(slices.Values(c.Actions))); diff != "" {
			t.Errorf("%s: used (-) and named (+):\n%s", c.ID, diff)
		}
	}
}

// policy is what all checks need.
func policy(t *testing.T) []byte {
	actions := []string{search}
	for _, c := range ready.Checks {
		actions = append(actions, c.Actions...)
	}
	slices.Sort(actions)
	b, err := json.MarshalIndent(awsfake.Policy{Version: "2012-10-17", Statement: []awsfake.Statement{
		{Sid: "ShotglassReady", Effect: "Allow", Action: slices.Compact(actions), Resource: awsfake.Strings{"*"}},
	}}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// With docs/ready-policy.json and nothing else, nothing is unknown.
func TestPolicy(t *testing.T) {
	const file = "../../../docs/ready-policy.json"
	want := policy(t)
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(doc, want) {
		t.Errorf("%s is not what the checks need: go test -update", file)
	}
	w := newWorld(t)
	for who, checks := range map[string][]*ready.Check{responder: w.most(), theirRole: {w.check("evidence-bucket")}} {
		a := w.auditor(checks...)
		if err := w.cloud.Restrict(who, doc); err != nil {
			t.Fatal(err)
		}
		if r := w.run(a); r.Count(ready.Unknown) > 0 || len(r.Gaps) > 0 {
			t.Errorf("%v\n%s", r.Gaps, describe(r))
		}
	}
}

// docs/ready.md has all checks, as the table has them.
func TestDocs(t *testing.T) {
	const file, begin, end = "../../../docs/ready.md", "<!-- checks: made by go test -update -->\n", "<!-- end of checks -->\n"
	var b strings.Builder
	b.WriteString("| check | severity | passes when |\n| --- | --- | --- |\n")
	for _, c := range ready.Checks {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", c.ID, c.ID, c.Severity, c.Title)
	}
	for _, c := range ready.Checks {
		scope := "each region"
		if c.Account {
			scope = "each account"
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s. %s\n\n", c.ID, capital(c.Title), c.Why)
		fmt.Fprintf(&b, "    %s\n\n", c.Fix)
		fmt.Fprintf(&b, "Once in %s; severity %s; needs `%s`.", scope, c.Severity, strings.Join(c.Actions, "`, `"))
		if c.Prowler != "" {
			fmt.Fprintf(&b, " Prowler: `%s`.", c.Prowler)
		}
		b.WriteString("\n")
	}
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the checks", file)
	}
	want := head + begin + "\n" + b.String() + "\n" + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(doc) != want {
		t.Errorf("%s is not what the table has: go test -update", file)
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// Every check has all that a reader needs, in a few words.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range ready.Checks {
		if seen[c.ID] || c.ID == "" || strings.ToLower(c.ID) != c.ID || strings.ContainsAny(c.ID, " _,") {
			t.Errorf("id %q", c.ID)
		}
		seen[c.ID] = true
		if c.Title == "" || strings.HasSuffix(c.Title, ".") || !strings.HasSuffix(c.Why, ".") || c.Fix == "" || len(c.Actions) == 0 || !slices.Contains(ready.Severities, c.Severity) {
			t.Errorf("%s: %+v", c.ID, c)
		}
	}
}
