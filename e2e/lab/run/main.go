// Command run boots a guest of the lab, for a person to try things on ("make
// lab") or for a command that needs one:
//
//	go run ./e2e/lab/run [-mem MIB] [-append ARGS] [-s3] [-exec CMD ARG...]
//
// The command gets the guest in LAB_ADDR, LAB_HOST, LAB_PORT, LAB_KNOWN_HOSTS,
// LAB_KEY, LAB_KEY_ENCRYPTED, LAB_PASSPHRASE, LAB_PASSWORD, LAB_MODULE,
// LAB_OTHER_MODULE, LAB_KERNEL, LAB_VOLATILITY and LAB_CONSOLE; with -s3 also
// LAB_S3_ENDPOINT, LAB_S3_BUCKET and the AWS_* variables that open them. run exits with
// its exit code.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab: error:", err)
	}
	os.Exit(code)
}

func run(ctx context.Context) (code int, err error) {
	mem := flag.Int("mem", 0, "the guest's memory in `MiB` (default 192)")
	args := flag.String("append", "", "more kernel `arguments`")
	do := flag.Bool("exec", false, "run the command in the arguments with the guest in its environment")
	s3 := flag.Bool("s3", false, "start an S3 server too, for the command")
	flag.Parse()
	if *do == (flag.NArg() == 0) {
		return 64, errors.New("-exec takes a command, and only -exec does")
	}

	dir, err := os.MkdirTemp("", "shotglass-run-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	start := time.Now()
	g, err := lab.Boot(ctx, lab.Options{MemoryMiB: *mem, KernelArgs: *args, LogDir: dir})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	known := filepath.Join(dir, "known_hosts")
	if err := g.KnownHosts(known); err != nil {
		return 1, err
	}
	fmt.Fprintf(os.Stderr, "lab: booted Debian 12 with %d MiB in %.1f s at %s\n", g.MemoryMiB, time.Since(start).Seconds(), g.Addr())
	env := environment(g, dir, known)
	if *s3 {
		srv, err := g.Lab.StartS3(ctx)
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, srv.Close()) }()
		env = append(env, srv.Env()...)
		env = append(env, "LAB_S3_ENDPOINT="+srv.Endpoint, "LAB_S3_BUCKET="+srv.Bucket)
	}
	if *do {
		return execute(ctx, flag.Args(), env)
	}
	describe(g, known)
	wait(ctx)
	return 0, nil
}

func environment(g *lab.Guest, dir, known string) []string {
	l := g.Lab
	return append(os.Environ(),
		"LAB_ADDR="+g.Addr(), "LAB_HOST=127.0.0.1", "LAB_PORT="+g.Port(), "LAB_KNOWN_HOSTS="+known,
		"LAB_KEY="+l.Key, "LAB_KEY_ENCRYPTED="+l.KeyEncrypted, "LAB_KEY_RSA="+l.KeyRSA, "LAB_KEY_ECDSA="+l.KeyECDSA,
		"LAB_PASSPHRASE="+lab.Passphrase, "LAB_PASSWORD="+lab.Password,
		"LAB_MODULE="+l.Module, "LAB_OTHER_MODULE="+l.OtherModule, "LAB_KERNEL="+l.KernelRelease,
		"LAB_VOLATILITY="+l.Volatility, "LAB_CONSOLE="+filepath.Join(dir, "console.log"))
}

// execute runs the command. A cancelled ctx interrupts it, so that it can clean up.
func execute(ctx context.Context, argv, env []string) (int, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

func describe(g *lab.Guest, known string) {
	for _, user := range []struct{ name, about string }{
		{lab.Ops, "sudo without a password"},
		{lab.OpsPW, "sudo with the password " + lab.Password + ", which logs in too"},
		{lab.NoSudo, "no sudo"},
		{lab.Root, "root"},
	} {
		fmt.Printf("ssh -p %s -i %s -o UserKnownHostsFile=%s %s@127.0.0.1   # %s\n",
			g.Port(), g.Lab.Key, known, user.name, user.about)
	}
	fmt.Printf("\nkernel  %s\nmodule  %s\n\nCtrl-C or Ctrl-D stops the guest.\n", g.Lab.KernelRelease, g.Lab.Module)
}

// wait returns at Ctrl-C, and at the end of standard input.
func wait(ctx context.Context) {
	eof := make(chan struct{})
	// The one goroutine that may outlive its function: a read of a terminal can't
	// be interrupted, and the process is about to end.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(eof)
	}()
	select {
	case <-ctx.Done():
	case <-eof:
	}
}
