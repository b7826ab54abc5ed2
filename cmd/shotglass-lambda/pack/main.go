// Command pack makes the zip that Lambda takes of a function's program: `pack PROGRAM ZIP`. The same program
// makes the same zip, wherever and whenever.
package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack: error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: pack PROGRAM ZIP")
	}
	program, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer program.Close()
	out, err := os.Create(args[1])
	if err != nil {
		return err
	}
	return errors.Join(pack(out, program), out.Close())
}

// epoch is the time of the file in the zip: the earliest that zip knows.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack writes a zip with the program as bootstrap, which the runtime provided.al2023 starts.
func pack(w io.Writer, program io.Reader) error {
	z := zip.NewWriter(w)
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: epoch}
	h.SetMode(0o755)
	f, err := z.CreateHeader(h)
	if err == nil {
		_, err = io.Copy(f, program)
	}
	return errors.Join(err, z.Close())
}
