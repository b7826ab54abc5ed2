package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// pages are the README, the changelog and docs/*.md: text by path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d pages in docs: %v", len(files), err)
	}
	found := map[string]string{}
	for _, f := range append(files, filepath.Join(root, "README.md"), filepath.Join(root, "CHANGELOG.md")) {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, f)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.ToSlash(name)] = string(data)
	}
	return found
}

// prose is a page without its blocks of code, in which nothing is a link or a heading.
func prose(page string) string {
	var b strings.Builder
	fenced := false
	for l := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(l, "```"):
			fenced = !fenced
		case fenced, strings.HasPrefix(l, "    "):
		default:
			b.WriteString(l)
		}
	}
	return b.String()
}

var (
	codeSpan = regexp.MustCompile("`[^`\n]*`")
	mdLink   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
)

// anchors are the names that GitHub gives to the headings of a page.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(prose(page), -1) {
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(mdLink.ReplaceAllString(m[1], "]")))
		name := slug
		for i := 1; found[name]; i++ {
			name = fmt.Sprintf("%s-%d", slug, i)
		}
		found[name] = true
	}
	return found
}

// TestDocsLinks follows every link of the documentation that stays in this repository.
func TestDocsLinks(t *testing.T) {
	all, links := pages(t), 0
	for name, text := range all {
		for _, m := range mdLink.FindAllStringSubmatch(codeSpan.ReplaceAllString(prose(text), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			file, anchor, anchored := strings.Cut(m[1], "#")
			to := name
			if file != "" {
				to = path.Join(path.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil || strings.HasPrefix(to, "..") {
				t.Errorf("%s links to %s, which is not there", name, m[1])
				continue
			}
			if anchored && !anchors(all[to])[anchor] {
				t.Errorf("%s links to %s: %s has no such heading", name, m[1], to)
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links were found", links)
	}
}

// TestDocsIndex: who starts at the README finds every page.
func TestDocsIndex(t *testing.T) {
	all := pages(t)
	for name := range all {
		if strings.HasPrefix(name, "docs/") && !strings.Contains(prose(all["README.md"]), "]("+name+")") {
			t.Errorf("README.md does not link to %s", name)
		}
	}
}

// writings are the files of the tree that may name a page.
func writings(t *testing.T) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name == ".git":
			return fs.SkipDir
		case d.Name() == "Makefile", slices.Contains([]string{".go", ".sh", ".yml", ".yaml"}, path.Ext(name)):
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestDocsNamed: messages, help and scripts name pages, and sections of pages, that are there.
func TestDocsNamed(t *testing.T) {
	all, named := pages(t), 0
	page := regexp.MustCompile(`\bdocs/([a-z0-9.-]+\.(?:md|json|yml|sh))(?:#([a-z0-9_-]+))?`)
	for _, f := range writings(t) {
		data, err := os.ReadFile(filepath.Join(root, f))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.FindAllStringSubmatch(string(data), -1) {
			named++
			if _, err := os.Stat(filepath.Join(root, "docs", m[1])); err != nil {
				t.Errorf("%s names %s, which is not there", f, m[0])
			} else if m[2] != "" && !anchors(all["docs/"+m[1]])[m[2]] {
				t.Errorf("%s names %s: the page has no such heading", f, m[0])
			}
		}
	}
	if named < 20 {
		t.Errorf("only %d names were found", named)
	}
}

// TestDocsChangelog: each version has one section, the newest first, and no line stands twice, as it
// does after a merge that kept both sides.
func TestDocsChangelog(t *testing.T) {
	text := pages(t)["CHANGELOG.md"]
	seen, sections := map[string]bool{}, []string{}
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if v, ok := strings.CutPrefix(l, "## "); ok {
			sections = append(sections, v)
		}
		if strings.HasPrefix(l, "### ") || l == "" { // areas come again with each version
			continue
		}
		if seen[l] {
			t.Errorf("CHANGELOG.md has this line twice: %s", l)
		}
		seen[l] = true
	}
	if len(sections) < 2 || sections[0] != "Unreleased" {
		t.Fatalf("CHANGELOG.md has the sections %q, want Unreleased first, then versions", sections)
	}
	version := regexp.MustCompile(`^\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d$`)
	for _, s := range sections[1:] {
		if !version.MatchString(s) {
			t.Errorf("CHANGELOG.md: %q is not VERSION - DATE", s)
		}
	}
}
