package acquire

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed avml.sh
var avmlScript string

//go:embed avmlclean.sh
var avmlCleanScript string

// avmlSource captures with AVML (https://github.com/microsoft/avml), which the user brings: it
// is put into a folder in the target's memory, run, and removed as soon as it runs. It is for one step.
type avmlSource struct {
	from string // where AVML reads memory, on the target
	dir  string // the folder in which its own is made
	on   string // the file system there
}

func (*avmlSource) Name() string { return MethodAvml }

// Probe refuses for every reason at once.
func (a *avmlSource) Probe(ctx context.Context, h *remote) error {
	f, bin := h.facts, h.opts.Avml
	var errs []error
	refuse := func(hint, format string, args ...any) {
		errs = append(errs, &refusal{fmt.Sprintf(format, args...), hint})
	}
	if bin == nil {
		return &refusal{"no AVML was given", "name the program with --avml, and its digest with --avml-sha256"}
	}
	if bin.Machine != f.Machine {
		refuse("give one for this machine", "%s is for %s, the target is %q", bin.Origin, bin.Machine, f.Machine)
	}
	if !bin.Pinned && !h.opts.AllowUnverifiedModule {
		refuse(fmt.Sprintf("compare its digest with that of its release, then pass --avml-sha256 %s; or accept it on record with --insecure-unverified-module", bin.SHA256),
			"%s is not verified: nobody pinned its digest", bin.Origin)
	}
	if f.Container != "" {
		refuse("connect to the host of the container", "the login is inside a container (%q)", f.Container)
	}
	if a.from = "/proc/kcore"; f.kcoreDenied != "" || f.Lockdown == "confidentiality" {
		out, err := h.root(ctx, `[ -c /dev/crash ] && echo yes`)
		if err != nil && !errorIsExit(err) {
			return fmt.Errorf("look for /dev/crash: %w", err)
		}
		if a.from = "/dev/crash"; strings.TrimSpace(string(out)) != "yes" {
			refuse("take a snapshot of the machine, or give a LiME module that the kernel accepts", "AVML can read neither /proc/kcore (%q, lockdown %q) nor /dev/crash there", f.kcoreDenied, f.Lockdown)
		}
	}
	for _, t := range []string{"dd", "cat", "grep", "sha256sum", "mkdir", "mkfifo", "sleep"} {
		if !f.tools[t] {
			refuse("", "the target has no %s", t)
		}
	}
	var ok bool
	if a.dir, a.on, ok = f.programFolder(h.opts.AvmlFolder); !ok {
		refuse("name a folder with --avml-folder, even one on a disk, where traces stay", "no folder in memory is there from which programs can be run (/dev/shm, /run, /tmp: missing, noexec, or on a disk)")
	}
	return errors.Join(errs...)
}

// programFolder picks a folder for a program: in memory, and not mounted noexec. A given one is taken as
// it is.
func (f *Facts) programFolder(given string) (dir, fstype string, ok bool) {
	types, noexec := map[string]string{}, map[string]bool{}
	for line := range strings.Lines(f.mounts) {
		if m := strings.Fields(line); len(m) >= 4 {
			options := strings.Split(m[3], ",")
			types[m[1]] = m[2]
			noexec[m[1]] = slices.Contains(options, "noexec") || slices.Contains(options, "ro")
		}
	}
	if given != "" {
		at := given // the longest mount point above it
		for types[at] == "" && at != "/" && at != "." {
			at = path.Dir(at)
		}
		return given, types[at] + ", as told", true
	}
	for _, dir := range []string{"/dev/shm", "/run", "/tmp", "/var/run"} {
		if t := types[dir]; (t == "tmpfs" || t == "ramfs") && !noexec[dir] {
			return dir, t, true
		}
	}
	return "", "", false
}

// Open pushes AVML, starts it, and returns once it writes, or begins to read.
func (a *avmlSource) Open(ctx context.Context, h *remote) (Stream, *Cleanup, error) {
	st := &avmlStream{
		h: h, src: a, bin: h.opts.Avml, mark: newNonce(), dir: path.Join(a.dir, ".sg-"+newNonce()),
		reports: make(chan report, 16), done: make(chan struct{}), first: make(chan struct{}),
	}
	h.mark("starting AVML from %s (%s), %d bytes", st.dir, a.on, st.bin.Size)
	st.start(ctx)
	err := st.awaitStart(ctx)
	if err == nil {
		h.mark("AVML runs")
		return st, nil, nil
	}
	return st, st.Cleanup(context.WithoutCancel(ctx)), err
}

// start runs avml.sh.
func (st *avmlStream) start(ctx context.Context) {
	h := st.h
	pr, pw := io.Pipe()
	st.out = pr
	st.image = newAvmlReader(st)
	cmd := h.rootCmd(st.mark, avmlScript, bytes.NewReader(st.bin.Data), st.mark, st.dir,
		strconv.FormatInt(st.bin.Size, 10), st.bin.SHA256, st.src.from, strconv.Itoa(int((pushLimit + time.Minute).Seconds())))
	errs := &lineReader{prefix: "@" + st.mark + " ", line: st.report, rest: &st.stderr}
	cmd.Stdout, cmd.Stderr = &arrivals{Writer: pw, n: &st.received, first: st.first}, errs
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	st.cancel = cancel
	conn := h.conn
	st.run.Go(func() {
		st.err = conn.Run(runCtx, cmd)
		close(st.done)
		pw.Close() // what follows is for the reader to judge
	})
}

// awaitStart waits until AVML has opened its end of the pipe, or the first bytes have come: they hold
// up all that follows until they are read.
func (st *avmlStream) awaitStart(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, pushLimit+listenLimit, fmt.Errorf("AVML did not start within %s", pushLimit+listenLimit))
	defer cancel()
	for {
		select {
		case r := <-st.reports:
			switch r.word {
			case "running":
				return nil
			case "failed":
				return st.startFailed(r.args)
			}
		case <-st.first:
			return nil
		case <-st.done:
			return fmt.Errorf("start AVML: %w", st.ended())
		case <-ctx.Done():
			return fmt.Errorf("start AVML: %w", context.Cause(ctx))
		}
	}
}

// startFailed explains why the script gave up.
func (st *avmlStream) startFailed(args []string) error {
	what := strings.Join(args, " ")
	switch {
	case strings.HasPrefix(what, "digest"):
		return fmt.Errorf("push AVML: it arrived altered: %q", what)
	case strings.HasPrefix(what, "run 126"):
		return &hinted{fmt.Errorf("start AVML: the target does not run it: %q", what), "its folder may be mounted noexec, or a policy of SELinux or AppArmor is against it: name another folder with --avml-folder"}
	}
	return fmt.Errorf("start AVML: %q failed on the target: %q", what, st.stderr.String())
}

var _ Source = (*avmlSource)(nil)
