package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/transport"
)

// knownHint advises on errors of packages that know no command line.
func knownHint(err error) string {
	var mismatch *kernelmodules.MismatchError
	switch {
	case errors.Is(err, transport.ErrAuth):
		return "name a key with --key FILE, load it with ssh-add, or give a password with --ask-password; the login is set with --user"
	case errors.As(err, &mismatch), errors.Is(err, kernelmodules.ErrNoModule):
		return "build LiME against the headers of that kernel on a like machine (never on the target), then pass it with --module FILE --module-sha256 HEX"
	case errors.Is(err, syscall.ENOSPC):
		return "choose a folder with more room with --output DIR, or a bucket with --to s3://BUCKET/PREFIX/"
	case errors.Is(err, fs.ErrExist):
		return "nothing is overwritten; choose another --name, --output or --to"
	default:
		return ""
	}
}

// operator names who runs this program, where nobody said it.
func operator() string {
	user := os.Getenv("USER")
	if runtime.GOOS == "windows" {
		user = os.Getenv("USERNAME")
	}
	if user == "" {
		user = os.Getenv("LOGNAME")
	}
	if user == "" {
		user = fmt.Sprintf("uid-%d", os.Getuid())
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	return strings.ToValidUTF8(user+"@"+host, "?")
}
