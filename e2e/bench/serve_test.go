//go:build e2e

package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// helperEnv makes the test binary one of these: a process of its own, so that its CPU
// time is not ours. Their end is that of standard input.
const helperEnv = "SHOTGLASS_BENCH_HELPER"

var helpers = map[string]func(args []string) error{"lime": serve, "s3": serveNull, "delay": forward}

// becomeHelper runs a helper, and does not return then.
func becomeHelper() {
	name, ok := os.LookupEnv(helperEnv)
	if !ok {
		return
	}
	if name == "target" { // whose standard input is a client's
		if err := target(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, "bench:", helpers[name](os.Args[1:]))
	os.Exit(1)
}

// startServer returns the port on which the image is served until b ends.
func startServer(b *testing.B, path string) string { return startHelper(b, nil, "lime", path) }

// startHelper starts a helper, which lives until b ends, and returns its first line.
func startHelper(b *testing.B, files []*os.File, name string, args ...string) string {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+name)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, files
	stdin, err := cmd.StdinPipe() // its end is the server's
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// serve sends the file to whoever connects, as LiME does with memory.
func serve(args []string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	fmt.Println(port)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			f, err := os.Open(args[0])
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				return
			}
			defer f.Close()
			io.Copy(c, f)
		}()
	}
}
