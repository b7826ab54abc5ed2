package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// endingSignals: closing the console window arrives as SIGTERM.
var endingSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// onStatusSignal does nothing: Windows has no signal to ask for status.
func onStatusSignal(func()) (stop func()) { return func() {} }

// onStop does nothing: Windows does not stop programs.
func onStop(before, after func()) (stop func()) { return func() {} }

func inForeground(int) bool { return true }

// understandsEscapes turns escape sequences on; consoles before Windows 10 have none.
func understandsEscapes(fd int) bool {
	var mode uint32
	h := windows.Handle(fd)
	if windows.GetConsoleMode(h, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
