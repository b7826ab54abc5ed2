//go:build unix

package main

import (
	"context"
	"errors"
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
