//go:build unix

package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
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
