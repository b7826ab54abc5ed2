// Package proc runs the programs that modules are built with: package managers, make, compilers. They get
// a clean environment, and end with all that they started when they are told to.
package proc

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"time"
)

// maxOutput bounds what is kept of a program's output: its end.
const maxOutput = 256 << 10

// Environment is what programs get, and more: nothing of ours, which may hold secrets, or change what they do.
// dir is their home and temporary folder.
func Environment(dir string, more ...string) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return append([]string{"PATH=" + path, "HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C"}, more...)
}

// Run runs a program in dir and returns the end of what it printed. When ctx ends, it is killed, with all that it
// started, and the error is ctx's cause.
func Run(ctx context.Context, dir string, env, argv []string) ([]byte, error) {
	out := &tail{max: maxOutput}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, out, out
	cmd.WaitDelay = 5 * time.Second // for what it started and left
	killGroup(cmd)
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out.Bytes(), err
}

// A tail keeps the end of what is written to it.
type tail struct {
	bytes.Buffer
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	n, _ := t.Buffer.Write(p)
	if over := t.Len() - t.max; over > t.max {
		t.Next(over)
	}
	return n, nil
}
