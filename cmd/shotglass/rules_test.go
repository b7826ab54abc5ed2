package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The house rules that a machine can check. Rules that nobody checks rot.

const (
	root   = "../.."
	module = "github.com/shotglass-ir/shotglass"
)

// A source is one Go file of the repository.
type source struct {
	path string // slash-separated, from the root
	dir  string
	file *ast.File
}

// sources parses the imports and comments of every file of ours, for all systems.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && rel != "." && (name[0] == '.' || name[0] == '_' || name == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		out = append(out, source{rel, strings.TrimSuffix(rel, "/"+name), f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("found %d Go files only", len(out))
	}
	return out
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) imports() (paths []string) {
	for _, i := range s.file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// room is the top-level folder of a path of ours: "acquire" for .../acquire/lime.
func room(path string) string {
	r, _, _ := strings.Cut(path, "/")
	return r
}

func TestOneDocCommentPerPackage(t *testing.T) {
	docs, files := map[string][]string{}, map[string]int{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		files[s.dir]++
		if s.file.Doc != nil {
			docs[s.dir] = append(docs[s.dir], s.path)
		}
	}
	for dir := range files {
		if len(docs[dir]) != 1 {
			t.Errorf("package %s has %d doc comments, want one: %q", dir, len(docs[dir]), docs[dir])
		}
	}
}

func TestImportDirection(t *testing.T) {
	// may lists whom of ours a room may import, beside itself.
	may := map[string][]string{
		"cmd":           {"acquire", "transport", "sink", "kernelmodules", "containment", "docs"},
		"acquire":       {"transport", "sink", "kernelmodules"},
		"transport":     nil,
		"sink":          nil,
		"kernelmodules": nil,
		"containment":   nil,
		"docs":          nil, // the policies, embedded
	}
	for _, s := range sources(t) {
		for _, p := range s.imports() {
			if strings.HasPrefix(p, "github.com/urfave/cli") && room(s.dir) != "cmd" {
				t.Errorf("%s imports %s: only cmd knows the command line", s.path, p)
			}
			if strings.HasPrefix(p, "github.com/mattn/go-runewidth") && room(s.dir) != "cmd" {
				t.Errorf("%s imports %s: only cmd knows the terminal", s.path, p)
			}
			ours, ok := strings.CutPrefix(p, module+"/")
			if !ok {
				continue
			}
			allowed, known := may[room(s.dir)]
			if !known { // e2e looks at everything
				continue
			}
			if room(ours) != room(s.dir) && !slices.Contains(allowed, room(ours)) {
				t.Errorf("%s imports %s: %s may import of ours %q only", s.path, p, room(s.dir), allowed)
			}
		}
	}
}

func TestNoAWSUnderAcquire(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"/acquire/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, p := range strings.Fields(string(out)) {
		if strings.Contains(p, "aws") && strings.Contains(p, ".") {
			t.Errorf("acquire depends on %s: S3 lives in sink/s3 and under kernelmodules", p)
		}
	}
}

func TestNoReplace(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^\s*replace\b`).Match(data) {
		t.Error("go.mod has a replace: go install would build something else")
	}
}

func TestTopLevel(t *testing.T) {
	allowed := []string{"cmd", "acquire", "transport", "sink", "kernelmodules", "containment", "e2e", "docs"}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name()[0] != '.' && !slices.Contains(allowed, e.Name()) && !ignored(e.Name()) {
			t.Errorf("folder %s at the top: the rooms are %q", e.Name(), allowed)
		}
	}
}

// ignored reports whether git ignores a path: build products may lie anywhere.
func ignored(name string) bool {
	return exec.Command("git", "-C", root, "check-ignore", "-q", name).Run() == nil
}

func TestNoJunkDrawers(t *testing.T) {
	for _, s := range sources(t) {
		switch filepath.Base(s.dir) {
		case "util", "utils", "common", "helper", "helpers", "types", "error", "misc":
			t.Errorf("%s: a package is named after what it holds", s.path)
		}
	}
}

func TestMainIsShort(t *testing.T) {
	data, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n > 25 {
		t.Errorf("main.go has %d lines, want 25 at most", n)
	}
}

// os.Exit skips every deferred cleaning, so it stands in main and behind console.exit only.
func TestNobodyExits(t *testing.T) {
	call := regexp.MustCompile(`\bos\.Exit\(|\blog\.Fatal`)
	for _, s := range sources(t) {
		if s.test() || room(s.dir) == "e2e" || slices.Contains([]string{"cmd/shotglass/main.go", "cmd/shotglass-lambda/pack/main.go"}, s.path) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, s.path))
		if err != nil {
			t.Fatal(err)
		}
		if loc := call.FindIndex(data); loc != nil {
			t.Errorf("%s:%d exits the program", s.path, 1+strings.Count(string(data[:loc[0]]), "\n"))
		}
	}
}

func TestReadmeExitCodes(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), exitCodeTable()) {
		t.Errorf("README.md has not the table of exit codes that the program has, which is\n\n%s", exitCodeTable())
	}
}
