// Command shotglass captures the memory of Linux hosts over SSH, as evidence that
// stands up.
//
// This package holds everything that knows a command line, an environment, a
// terminal or an exit code, and nothing else: a command turns flags into an
// Options struct, makes one call into the engine and prints what came back.
package main

import (
	"context"
	"os"
	"runtime/debug"
)

func main() {
	// Half the heap's slack for the same CPU time: docs/performance.md, Memory.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
