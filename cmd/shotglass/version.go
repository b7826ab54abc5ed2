package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
)

// version and commit are set by releases: -ldflags "-X main.version=1.2.3 -X main.commit=...".
var version, commit string

// toolInfo says what this program is. Its digest ties a manifest to one binary.
func toolInfo() acquire.Tool {
	t := acquire.Tool{Name: "shotglass", Version: version, Commit: commit, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if t.Version == "" && info.Main.Version != "(devel)" {
			t.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && commit == "":
				t.Commit = s.Value + t.Commit
			case s.Key == "vcs.modified" && s.Value == "true" && commit == "":
				t.Commit += "+modified"
			}
		}
	}
	if t.Version == "" {
		t.Version = "devel"
	}
	t.SHA256, _ = executableSum() // a manifest without it is still true
	return t
}

func executableSum() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func versionCommand(c *console) *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version, the commit and the digest of this program",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(ctx *cli.Context) error {
			if err := noArgs(ctx); err != nil {
				return err
			}
			t := toolInfo()
			if ctx.Bool("json") {
				c.json = true
				c.message("version", t)
				return nil
			}
			fmt.Fprintf(c, "shotglass %s\n", t.Version)
			if t.Commit != "" {
				fmt.Fprintf(c, "commit %s\n", t.Commit)
			}
			fmt.Fprintf(c, "sha256 %s\n%s %s/%s\n", t.SHA256, t.Go, runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}

func noArgs(ctx *cli.Context) error {
	if ctx.NArg() > 0 {
		return usagef("%s takes no arguments", ctx.Command.Name)
	}
	return nil
}
