//go:build unix

package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var endingSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// onStatusSignal calls f at each SIGUSR1, until stop is called. It also keeps SIGPIPE from
// ending the program when nobody reads its output any more: a capture must then still
// clean its target. Ignoring the signal would pass on to proxy commands.
func onStatusSignal(f func()) (stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGUSR1, syscall.SIGPIPE)
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case s := <-ch:
				if s == syscall.SIGUSR1 {
					f()
				}
			case <-end:
				return
			}
		}
	})
	return func() {
		signal.Stop(ch)
		close(end)
		wg.Wait()
	}
}

// onStop calls before when the terminal asks the program to stop (Ctrl-Z), then stops it, and calls
// after when it goes on.
func onStop(before, after func()) (stop func()) {
	if signal.Ignored(syscall.SIGTSTP) {
		return func() {}
	}
	ch, cont := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGTSTP)
	signal.Notify(cont, syscall.SIGCONT)
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ch:
			case <-end:
				return
			}
			before()
			select {
			case <-cont: // of an earlier stop
			default:
			}
			// A SIGTSTP that Go once had a handler for does nothing any more (the handler stays), and
			// SIGSTOP would stop us also where no shell could continue us. SIGTTIN does neither.
			syscall.Kill(syscall.Getpid(), syscall.SIGTTIN)
			select {
			case <-cont:
			case <-time.After(time.Second): // there is no shell: the kernel dropped it
			}
			after()
		}
	})
	return func() {
		signal.Stop(ch)
		signal.Stop(cont)
		close(end)
		wg.Wait()
	}
}

// inForeground reports whether the terminal fd is this program's now, and not its shell's.
func inForeground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// understandsEscapes: a terminal that is not dumb does.
func understandsEscapes(int) bool { return true }
