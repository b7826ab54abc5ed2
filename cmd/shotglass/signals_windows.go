package main

import (
	"os"
	"syscall"
)

// endingSignals: closing the console window arrives as SIGTERM.
var endingSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// onStatusSignal does nothing: Windows has no signal to ask for status.
func onStatusSignal(func()) (stop func()) { return func() {} }
