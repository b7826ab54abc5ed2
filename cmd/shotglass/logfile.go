package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/transport"
)

// The log file is for who looks for a fault: everything that was said, every event and what
// libraries log, in detail. It is no evidence; that is the audit log.

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log-dir", EnvVars: env("LOG_DIR"), TakesFile: true, Usage: "write a detailed log of the run, JSON Lines, into this folder: `DIR`", Category: groupOutput, DefaultText: "no log; of the working folder with --log-prefix"},
		&cli.StringFlag{Name: "log-prefix", EnvVars: env("LOG_PREFIX"), Usage: "begin the log's name with `TEXT`-", Category: groupOutput},
	}
}

// readLogging takes what flags, else the hosts file, say of the log.
func (o *captureOptions) readLogging(ctx *cli.Context, file *hostsfile.File) error {
	o.LogDir, o.LogPrefix = ctx.String("log-dir"), ctx.String("log-prefix")
	for _, k := range []struct {
		flag, value string
		to          *string
	}{{"log-dir", file.Logging.Dir, &o.LogDir}, {"log-prefix", file.Logging.Prefix, &o.LogPrefix}} {
		if *k.to == "" && k.value != "" {
			*k.to = k.value
			o.Engine.Settings = setSetting(o.Engine.Settings, k.flag, k.value, "file "+file.Path)
		}
	}
	if err := hostsfile.ValidPrefix(o.LogPrefix); err != nil {
		return usagef("--log-prefix: %v", err)
	}
	return nil
}

// logged does something with the log file open, if one is wanted. Its name is
// [PREFIX-]TIME-memory-capture.log; nothing is overwritten.
func (o *captureOptions) logged(c *console, do func() error) error {
	if o.LogDir == "" && o.LogPrefix == "" {
		return do()
	}
	dir := o.LogDir
	if dir == "" {
		dir = "."
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usagef("--log-dir: %v", err)
	}
	name := time.Now().UTC().Format("20060102T150405.000000Z") + "-memory-capture.log"
	if o.LogPrefix != "" {
		name = o.LogPrefix + "-" + name
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usagef("--log-dir: %v", err)
	}
	e := &o.Engine
	t := newTrace(f)
	if d, ok := e.Dialer.(*transport.SSH); ok {
		d.Logger = slog.New(slog.NewMultiHandler(d.Logger.Handler(), t.log.Handler()))
	}
	e.Log = slog.New(slog.NewMultiHandler(e.Log.Handler(), t.log.Handler()))
	t.log.Info("start", "program", e.Tool.Name, "version", e.Tool.Version, "commit", e.Tool.Commit, "pid", os.Getpid())
	for _, s := range e.Settings {
		t.log.Debug("option", "name", s.Name, "value", s.Value, "origin", s.Origin)
	}
	c.trace.Store(t)
	err = do()
	c.trace.Store(nil)
	if cerr := t.end(exitCode(err)); cerr != nil {
		c.warn("the log %s is not whole: %v", f.Name(), cerr)
	}
	return err
}

// A trace is an open log file. Logging never waits for the disk: a goroutine writes.
type trace struct {
	log *slog.Logger
	w   *lineQueue
}

func newTrace(f *os.File) *trace {
	w := &lineQueue{file: f, lines: make(chan []byte, 4096), done: make(chan struct{})}
	go w.run()
	utc := func(_ []string, a slog.Attr) slog.Attr {
		if t, ok := a.Value.Any().(time.Time); ok {
			return slog.Time(a.Key, t.UTC())
		}
		return a
	}
	return &trace{slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: utc})), w}
}

// A lineQueue is a writer that does not wait. Lines that it has no room for are counted and left
// out.
type lineQueue struct {
	file  *os.File
	lines chan []byte
	done  chan struct{}
	mu    sync.Mutex // close against Write
	ended bool
	lost  int
	err   error // the first
}

func (q *lineQueue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return 0, os.ErrClosed
	}
	select {
	case q.lines <- bytes.Clone(p):
	default:
		q.lost++
	}
	return len(p), nil
}

func (q *lineQueue) run() {
	defer close(q.done)
	for l := range q.lines {
		if _, err := q.file.Write(l); err != nil && q.err == nil {
			q.err = err
		}
	}
}

// close writes what is queued, and says whether all of it was.
func (q *lineQueue) close() error {
	q.mu.Lock()
	q.ended = true
	close(q.lines)
	q.mu.Unlock()
	<-q.done
	if q.lost > 0 {
		q.err = errors.Join(q.err, fmt.Errorf("%d lines came faster than the disk took them", q.lost))
	}
	return errors.Join(q.err, q.file.Close())
}

// event logs an event of the engine. It may be called on nil.
func (t *trace) event(e acquire.Event) {
	if t == nil {
		return
	}
	kind := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", e), "acquire."))
	level := slog.LevelDebug
	args := []any{"host", e.Host()}
	switch e := e.(type) {
	case acquire.Problem:
		level, args = slog.LevelWarn, append(args, "error", e.Err.Error())
	case acquire.Planned:
		if e.Step != nil {
			args = append(args, "image", e.Step.Name, "expected_bytes", e.Step.Expected, "source", e.Step.Source, "connection", e.Step.Info)
		}
	case acquire.Connected:
		args = append(args, "rtt", e.RTT.String())
	case acquire.Preparing:
		args = append(args, "what", e.What)
	case acquire.Stalled:
		args = append(args, "for", e.For.String())
	case acquire.Resumed:
		args = append(args, "after", e.After.String())
	case acquire.Rejected:
		level, args = slog.LevelWarn, append(args, "reasons", e.Result.Reasons, "second", e.Second)
	case acquire.Finished:
		if level = slog.LevelInfo; e.Result != nil {
			args = append(args, "state", e.Result.State, "location", e.Result.Image.Location, "raw", e.Result.Image.Raw, "stored", e.Result.Image.Stored, "seconds", e.Result.Duration.Seconds(), "left", e.Result.Left)
			if e.Result.Err != nil {
				level, args = slog.LevelError, append(args, "error", e.Result.Err.Error())
			}
		}
	}
	t.log.Log(context.Background(), level, kind, args...)
}

// said logs a line of the story.
func (t *trace) said(line string) {
	if t != nil {
		t.log.Info("said", "line", line)
	}
}

// end logs the exit code and closes the file.
func (t *trace) end(code int) error {
	t.log.Info("end", "code", code)
	return t.w.close()
}
