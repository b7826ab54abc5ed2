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
)

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}
