//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func kill(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func soon(t *testing.T, what string, ch <-chan int) int {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s does not happen", what)
		return 0
	}
}

func TestSignals(t *testing.T) {
	exits, firsts, lasts := make(chan int, 2), make(chan int, 2), make(chan int, 2)
	ctx, stop := catchSignals(context.Background(), func(code int) { exits <- code },
		func(name string) {
			if name != "SIGTERM" {
				t.Errorf("name %s", name)
			}
			firsts <- 1
		}, func() { lasts <- 1 })
	defer stop()
	kill(t, syscall.SIGTERM)
	soon(t, "the first signal", firsts)
	<-ctx.Done()
	var s *signalError
	if !errors.As(context.Cause(ctx), &s) || s.Signal != "SIGTERM" {
		t.Errorf("cause: %v", context.Cause(ctx))
	}
	if len(exits) != 0 {
		t.Error("the first signal ends the program")
	}
	kill(t, syscall.SIGINT)
	soon(t, "the report", lasts)
	if code := soon(t, "the end", exits); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
}

// A report that cannot be printed must not keep the program from leaving.
func TestSecondSignalWithStuckTerminal(t *testing.T) {
	exits, firsts := make(chan int, 2), make(chan int, 2)
	stuck := make(chan struct{})
	defer close(stuck)
	_, stop := catchSignals(context.Background(), func(code int) { exits <- code }, func(string) { firsts <- 1 }, func() { <-stuck })
	defer stop()
	kill(t, syscall.SIGINT)
	soon(t, "the first signal", firsts)
	kill(t, syscall.SIGINT)
	soon(t, "the end", exits)
}

func TestStatusSignal(t *testing.T) {
	shown := make(chan int, 8)
	stop := onStatusSignal(func() { shown <- 1 })
	defer stop()
	kill(t, syscall.SIGPIPE)
	kill(t, syscall.SIGUSR1)
	soon(t, "the status", shown)
}

// TestStop: Ctrl-Z stops the program after it has left the terminal, and it takes it again when it
// goes on.
func TestStop(t *testing.T) {
	if os.Getenv("TEST_STOPS") != "" { // the program
		went := make(chan int)
		onStop(func() { os.Stdout.WriteString("leaves\n") }, func() { os.Stdout.WriteString("back\n"); close(went) })
		os.Stdout.WriteString("ready\n")
		<-went
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestStop$")
	cmd.Env = append(os.Environ(), "TEST_STOPS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // we are its shell
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	r.SetReadDeadline(time.Now().Add(20 * time.Second))
	text := ""
	read := func(want string) {
		t.Helper()
		buf := make([]byte, 100)
		for !strings.HasSuffix(text, want) {
			n, err := r.Read(buf)
			text += string(buf[:n])
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
	}
	read("ready\n")
	if err := cmd.Process.Signal(syscall.SIGTSTP); err != nil {
		t.Fatal(err)
	}
	read("ready\nleaves\n")
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &ws, syscall.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatalf("it does not stop: %v, status %x, it said %q", err, ws, text)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	read("leaves\nback\n")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
