package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

var update = flag.Bool("update", false, "write the man page and the completion scripts anew")

func testApp(t *testing.T) *cli.App {
	t.Helper()
	// Values of the environment would turn up as defaults.
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "SHOTGLASS_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	return newApp(newConsole(strings.NewReader(""), new(strings.Builder), new(strings.Builder)), nil)
}

func golden(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(have)); d != "" {
		t.Errorf("%s is not current; run go test ./cmd/shotglass -update\n%s", file, d)
	}
}

func TestManPageIsCurrent(t *testing.T) {
	page, err := makeManPage(testApp(t))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "man/shotglass.1", page)
}

func TestCompletionsAreCurrent(t *testing.T) {
	for _, s := range shells {
		script, err := makeCompletion(testApp(t), s.name)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "completion/shotglass."+s.ext, script)
	}
}

func TestManPageRenders(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("no groff here")
	}
	out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "man/shotglass.1").CombinedOutput()
	if err != nil {
		t.Fatalf("groff: %v\n%s", err, out)
	}
	text := regexp.MustCompile(".\x08").ReplaceAllString(string(out), "")
	for _, want := range []string{"EXIT STATUS", "130  interrupted", "SHOTGLASS_SIGN_KEY"} {
		if !strings.Contains(text, want) {
			t.Errorf("the rendered man page lacks %q", want)
		}
	}
}

func TestBashCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash here")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "image.lime"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("completion/shotglass.bash")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line string // words, separated by |
		want string // one of the replies; empty for none at all
		not  string
	}{
		{"shotglass|cap", "capture", "plan"},
		{"shotglass|", "verify", ""},
		{"shotglass|capture|--comp", "--compress", "--json"},
		{"shotglass|capture|--compress|", "s2", "--json"},
		{"shotglass|capture|--compress-level|", "better", "zstd"},
		{"shotglass|capture|--output|im", "image.lime", ""},
		{"shotglass|plan|-", "--insecure-ignore-host-key", "--lime-timeout"},
		{"shotglass|verify|im", "image.lime", ""},
		{"shotglass|cat|--f", "--force", ""},
		{"shotglass|help|exit", "exit-codes", "capture"},
		{"shotglass|completion|z", "zsh", "bash"},
		{"shotglass|hosts|", "check", "image.lime"},
		{"shotglass|hosts|check|im", "image.lime", "check"},
		{"shotglass|hosts|check|--j", "--json", ""},
		{"shotglass|capture|--config|im", "image.lime", ""},
		{"shotglass|nonsense|", "", ""},
		{"shotglass|capture|$(touch pwned)|--js", "--json", ""},
	} {
		words := strings.Split(c.line, "|")
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+w+"'")
		}
		cmd := exec.Command(bash, "--norc", "-c", `source "$1"; COMP_WORDS=(`+strings.Join(quoted, " ")+
			`); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _shotglass; printf '%s\n' "${COMPREPLY[@]}"`, "bash", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.line, err, out)
			continue
		}
		replies := "\n" + string(out)
		if c.want == "" && strings.TrimSpace(replies) != "" || !strings.Contains(replies, "\n"+c.want+"\n") {
			t.Errorf("%s: replies %q, want %q", c.line, out, c.want)
		}
		if c.not != "" && strings.Contains(replies, "\n"+c.not+"\n") {
			t.Errorf("%s: replies hold %q", c.line, c.not)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("completing ran what stood on the line")
	}
}
