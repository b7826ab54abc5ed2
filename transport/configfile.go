package transport

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// A setting is one line of an ssh_config file.
type setting struct {
	value string
	file  string
	line  int
	order int // of reading
}

func (s setting) at() string { return fmt.Sprintf("%s:%d", s.file, s.line) }

// settings are what applies to one host, by lower-case keyword, in the order of
// the files. The first value counts, except for IdentityFile and CertificateFile.
type settings map[string][]setting

func (s settings) get(key string) string {
	if all := s[key]; len(all) > 0 {
		return all[0].value
	}
	return ""
}

// A configReader evaluates ssh_config files for one host.
//
// Package ssh_config matches the patterns. Blocks and includes are evaluated
// here, since that package rejects a file for any Match but host and all (stock
// Red Hat and Fedora have "Match final all" in /etc/ssh/ssh_config), reads
// includes from the real home folder, and cannot say which file a value came from.
type configReader struct {
	home      string
	original  string // the name that the user wrote
	host      string // overrides HostName, for Match host
	user      string // overrides User, for Match user
	localUser string

	final     bool // second pass, in which Match final holds
	finalSeen bool
	out       settings
	lines     int
}

const maxInclude = 16

// read evaluates the files in order. Files that do not exist are skipped unless must.
func (r *configReader) read(files []string, must bool) (settings, error) {
	pass := func() (settings, error) {
		r.out = settings{}
		for _, f := range files {
			err := r.file(f, 0)
			if errors.Is(err, fs.ErrNotExist) && !must {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		return r.out, nil
	}
	first, err := pass()
	if err != nil || !r.finalSeen {
		return first, err
	}
	// As ssh does: read again, and take what the first pass did not set.
	r.final = true
	second, err := pass()
	if err != nil {
		return nil, err
	}
	for key, values := range second {
		if len(first[key]) == 0 || key == "identityfile" || key == "certificatefile" {
			for _, v := range values {
				if !slices.ContainsFunc(first[key], func(f setting) bool { return f.value == v.value }) {
					first[key] = append(first[key], v)
				}
			}
		}
	}
	return first, nil
}

func (r *configReader) file(path string, depth int) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read ssh_config: %w", err)
	}
	active := true
	for i, line := range strings.Split(string(data), "\n") {
		fail := func(format string, args ...any) error {
			return &configError{file: path, line: i + 1, err: fmt.Errorf(format, args...)}
		}
		key, value, err := splitLine(line)
		if err != nil {
			return fail("%w", err)
		}
		switch key {
		case "":
		case "host":
			words, err := fields(value)
			if err != nil {
				return fail("%w", err)
			}
			if active, err = matches(words, r.original); err != nil {
				return fail("%w", err)
			}
		case "match":
			if active, err = r.match(value); err != nil {
				return fail("%w", err)
			}
		case "include":
			if !active {
				continue
			}
			if depth >= maxInclude {
				return fail("includes nest too deep: does a file include itself?")
			}
			if err := r.include(path, value, depth); err != nil {
				if _, ok := errors.AsType[*configError](err); ok {
					return err
				}
				return fail("%w", err)
			}
		default:
			if active {
				r.lines++
				r.out[key] = append(r.out[key], setting{value: value, file: path, line: i + 1, order: r.lines})
			}
		}
	}
	return nil
}

func (r *configReader) include(from, value string, depth int) error {
	words, err := fields(value)
	if err != nil {
		return err
	}
	for _, w := range words {
		if w, err = expandTilde(w, r.home); err != nil {
			return err
		}
		if !filepath.IsAbs(w) {
			dir := filepath.Join(r.home, ".ssh")
			if strings.HasPrefix(filepath.Clean(from), "/etc/ssh/") {
				dir = "/etc/ssh"
			}
			w = filepath.Join(dir, w)
		}
		files, err := filepath.Glob(w)
		if err != nil {
			return fmt.Errorf("include %q: %w", w, err)
		}
		for _, f := range files {
			if err := r.file(f, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// match evaluates the criteria of a Match line.
func (r *configReader) match(value string) (bool, error) {
	words, err := fields(value)
	if err != nil {
		return false, err
	}
	if len(words) == 0 {
		return false, errors.New("match without criteria")
	}
	result := true
	for len(words) > 0 {
		word, negate := strings.CutPrefix(words[0], "!")
		word, arg, hasArg := strings.Cut(word, "=")
		words = words[1:]
		hit := false
		switch word = strings.ToLower(word); word {
		case "all":
			hit = true
		case "canonical": // host names are never canonicalised here
		case "final":
			r.finalSeen = true
			hit = r.final
		default:
			if !hasArg {
				if len(words) == 0 {
					return false, fmt.Errorf("match %s without an argument", word)
				}
				arg, words = words[0], words[1:]
			}
			var subject string
			switch word {
			case "host":
				subject = r.currentHost()
			case "originalhost":
				subject = r.original
			case "user":
				subject = firstOf(r.user, r.out.get("user"), r.localUser)
			case "localuser":
				subject = r.localUser
			default:
				if !result {
					continue // ssh would not look at it either
				}
				return false, fmt.Errorf("%q is not supported in Match (exec is never run)", word)
			}
			if hit, err = matches(strings.Split(arg, ","), subject); err != nil {
				return false, err
			}
		}
		if hit == negate {
			result = false
		}
	}
	return result, nil
}

func (r *configReader) currentHost() string {
	if r.host != "" {
		return r.host
	}
	if h := r.out.get("hostname"); h != "" {
		return strings.NewReplacer("%%", "%", "%h", r.original).Replace(h)
	}
	return r.original
}

// matches reports whether patterns select name; case does not matter.
func matches(patterns []string, name string) (bool, error) {
	var h ssh_config.Host
	for _, s := range patterns {
		if s == "" || s == "!" {
			continue
		}
		p, err := ssh_config.NewPattern(strings.ToLower(s))
		if err != nil {
			return false, err
		}
		h.Patterns = append(h.Patterns, p)
	}
	if len(h.Patterns) == 0 {
		return false, errors.New("no pattern")
	}
	return h.Matches(strings.ToLower(name)), nil
}

// splitLine takes a line apart into its lower-case keyword and the rest.
func splitLine(line string) (key, value string, err error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", nil
	}
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return "", "", fmt.Errorf("%q has no value", line)
	}
	key, value = line[:i], strings.TrimLeft(line[i:], " \t")
	value = strings.TrimLeft(strings.TrimPrefix(value, "="), " \t")
	if strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz0123456789") != "" || key == "" {
		return "", "", fmt.Errorf("%q is no keyword", key)
	}
	if value == "" {
		return "", "", fmt.Errorf("%q has no value", key)
	}
	return strings.ToLower(key), value, nil
}

// fields takes a value apart at spaces, honouring double quotes; a # that
// begins a word begins a comment.
func fields(value string) ([]string, error) {
	var words []string
	for {
		value = strings.TrimLeft(value, " \t")
		if value == "" || value[0] == '#' {
			return words, nil
		}
		var word strings.Builder
		for value != "" && value[0] != ' ' && value[0] != '\t' {
			if value[0] != '"' {
				word.WriteByte(value[0])
				value = value[1:]
				continue
			}
			quoted, rest, ok := strings.Cut(value[1:], `"`)
			if !ok {
				return nil, errors.New("a quote is not closed")
			}
			word.WriteString(quoted)
			value = rest
		}
		words = append(words, word.String())
	}
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// A configError says where an ssh_config file is wrong.
type configError struct {
	file string
	line int
	err  error
}

func (e *configError) Error() string { return fmt.Sprintf("%s:%d: %v", e.file, e.line, e.err) }
func (e *configError) Unwrap() error { return e.err }

// Hint implements Hinter.
func (e *configError) Hint() string {
	return "correct that line, or name another configuration file with --ssh-config FILE (none for no file at all)"
}
