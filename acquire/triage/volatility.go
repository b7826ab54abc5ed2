package triage

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// programs are the names under which Volatility 3 is installed.
var programs = []string{"vol", "vol3", "volatility3", "vol.py"}

// A volatility runs plugins.
type volatility struct {
	o       Options
	program string
	version string
	plugins []string // that its help lists, of Linux; nil: not known
	cache   string
	config  string // what the first plugin found out
	known   bool   // config is there
}

var versionLine = regexp.MustCompile(`Volatility 3 Framework ([0-9][0-9A-Za-z.+-]{0,30})`)

// findVolatility finds the program and asks its version.
func findVolatility(ctx context.Context, o Options) (*volatility, error) {
	v := &volatility{o: o}
	names := programs
	if o.Volatility != "" {
		names = []string{o.Volatility}
	}
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			v.program = path
			break
		}
	}
	if v.program == "" {
		return nil, ErrNone
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("it said nothing for two minutes"))
	defer cancel()
	out, err := v.command(ctx, "-h").CombinedOutput()
	for _, p := range pluginLine.FindAllSubmatch(out, 1000) {
		v.plugins = append(v.plugins, string(p[1]))
	}
	m := versionLine.FindSubmatch(out)
	if m == nil { // from 2.26 its help does not say it, and the complaint that there is no plugin does
		out, err = v.command(ctx).CombinedOutput()
		m = versionLine.FindSubmatch(out)
	}
	if m == nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%s was asked for its version: %w", v.program, context.Cause(ctx))
	}
	if m == nil {
		return nil, fmt.Errorf("%s does not say that it is Volatility 3: %w", v.program, errors.Join(err, fmt.Errorf("it printed %.200q", out)))
	}
	v.version = string(m[1])
	return v, nil
}

// command is a call of the program. When ctx ends, so does all that it started, and who waits waits for a few seconds more at most.
func (v *volatility) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, v.program, args...)
	cmd.WaitDelay = 5 * time.Second
	killGroup(cmd)
	return cmd
}

// pluginLine is where the help names a plugin; the next one begins below it, or what it is for stands beside it.
var pluginLine = regexp.MustCompile(`(?m)^ {2,8}(linux(?:\.\w{1,60}){2,5})(?: |$)`)

// named are plugins by the names that the installed Volatility has for them, each once. A part of a name will do, as for Volatility itself, if
// one plugin alone has it: what is made of linux.pslist is looked for by its whole name. Releases of 2025 moved those that look for malware
// to linux.malware, and later ones know no other name; 2.11 knows the earlier ones alone.
func (v *volatility) named(plugins []string) (names []string) {
	for _, p := range plugins {
		other := malware + strings.TrimPrefix(p, "linux.")
		if rest, ok := strings.CutPrefix(p, malware); ok {
			other = "linux." + rest
		}
		if !slices.Contains(v.plugins, p) {
			p = cmp.Or(v.only(p), v.only(other), p) // linux.tty_check.tty_check became Tty_Check
		}
		if !slices.Contains(names, p) {
			names = append(names, p)
		}
	}
	return names
}

// only is the plugin that is called so or, if there is none, the one whose name has that part; "" if there is none, or several.
func (v *volatility) only(part string) string {
	var with []string
	for _, p := range v.plugins {
		if strings.EqualFold(p, part) {
			return p
		}
		if strings.Contains(strings.ToLower(p), strings.ToLower(part)) && !slices.Contains(with, p) {
			with = append(with, p)
		}
	}
	if len(with) != 1 {
		return ""
	}
	return with[0]
}

const malware = "linux.malware."

// maxOutput bounds what a plugin may print, in bytes: linux.lsof of a large host prints some 100 MB.
const maxOutput = 1 << 30

var plain = regexp.MustCompile(`^[A-Za-z0-9_.]{1,100}$`)

// run runs one plugin. find lets it find the kernel in the image and keep what it found.
func (v *volatility) run(ctx context.Context, plugin string, find bool) PluginResult {
	return v.runAs(ctx, plugin, plugin, find)
}

// runAs does so with arguments for the plugin, and calls its files name.
func (v *volatility) runAs(ctx context.Context, plugin, name string, find bool, more ...string) (r PluginResult) {
	r.Name = plugin
	fail := func(err error) PluginResult {
		if err != nil && r.Error == "" {
			r.Error = err.Error()
		}
		return r
	}
	if !plain.MatchString(plugin) {
		return fail(fmt.Errorf("%.100q is no name of a plugin", plugin))
	}
	if ctx.Err() != nil {
		return fail(errors.New("not run: interrupted"))
	}
	args := []string{"-q", "-r", "json", "--offline", "--cache-path", v.cache, "-s", v.o.Symbols}
	switch {
	case find:
		args = append(args, "--save-config", v.config, "-f", v.o.Image)
	case v.known:
		args = append(args, "-c", v.config)
	default:
		args = append(args, "-f", v.o.Image)
	}
	out, err := create(v.o.Folder, name+".json")
	if err != nil {
		return fail(err)
	}
	defer out.Close()
	told, err := create(v.o.Folder, name+".stderr")
	if err != nil {
		return fail(err)
	}
	defer told.Close()
	r.File, r.Stderr = name+".json", name+".stderr"

	ctx, cancel := context.WithTimeoutCause(ctx, v.o.Timeout, fmt.Errorf("not done within %s", v.o.Timeout))
	defer cancel()
	cmd := v.command(ctx, slices.Concat(args, []string{plugin}, more)...)
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8") // names in an image are what they are
	stdout := &limited{w: out, left: maxOutput, sum: sha256.New()}
	stderr := &limited{w: told, left: 16 << 20, sum: sha256.New()}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	begin := time.Now()
	err = cmd.Run()
	r.Took, r.Bytes, r.SHA256 = time.Since(begin), stdout.n, hex.EncodeToString(stdout.sum.Sum(nil))
	switch {
	case err != nil && ctx.Err() != nil:
		return fail(context.Cause(ctx))
	case stdout.over:
		return fail(fmt.Errorf("it printed more than %d bytes", int64(maxOutput)))
	case err != nil && noKernel(stderr.tail):
		r.lost = true
		return fail(fmt.Errorf("%s: %s", lostText, lastLine(stderr.tail)))
	case err != nil:
		r.crashed = true
		return fail(fmt.Errorf("%w: %s", err, lastLine(stderr.tail)))
	}
	if r.Rows, err = v.rows(r.File); err != nil {
		// It exits with 0 when it could not find the kernel, too.
		if said := lastLine(stderr.tail); said != nothing {
			return fail(fmt.Errorf("no result: %s", said))
		}
		return fail(err)
	}
	return r
}

const lostText = "it found no kernel in the image: the symbols are another kernel's, or the kernel has five levels of page tables, which Volatility cannot read"

// noKernel reports whether a plugin says that no kernel was found.
func noKernel(stderr []byte) bool {
	_, what, ok := strings.Cut(string(stderr), "Unable to validate the plugin requirements: ")
	return ok && strings.Contains(what, ".kernel.layer_name")
}

// rows counts the rows of what a plugin printed, which proves that it is whole.
func (v *volatility) rows(file string) (n int, err error) {
	return n, eachRow(filepath.Join(v.o.Folder, file), func(any) error { n++; return nil })
}

func create(folder, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(folder, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// lastLine is the last line that says something, for people. Of an unreadable page Volatility says which, and then
// what may be the reason.
func lastLine(b []byte) string {
	text := string(b)
	if i := strings.LastIndex(text, "\nPage error "); i >= 0 {
		text, _, _ = strings.Cut(text[i+1:], "\n")
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		s := strings.TrimSpace(lines[i])
		if s == "" || strings.HasPrefix(s, "No further results") || strings.Trim(s, "^~") == "" || versionLine.MatchString(s) {
			continue
		}
		return fmt.Sprintf("%.200q", s)
	}
	return nothing
}

const nothing = "it says nothing"

// A limited writer passes on, digests and counts what it may, and keeps the end.
type limited struct {
	w    io.Writer
	left int64
	n    int64
	sum  hash.Hash
	over bool
	tail []byte
}

func (l *limited) Write(p []byte) (int, error) {
	take := p[:min(int64(len(p)), l.left)]
	n, err := l.w.Write(take)
	l.sum.Write(take[:n])
	l.n, l.left = l.n+int64(n), l.left-int64(n)
	l.tail = append(l.tail, take[:n]...)
	if over := len(l.tail) - 4096; over > 0 {
		l.tail = bytes.Clone(l.tail[over:])
	}
	if err == nil && n < len(p) {
		l.over = true
		err = io.ErrShortWrite // ends the plugin, which has nobody to write to
	}
	return n, err
}
