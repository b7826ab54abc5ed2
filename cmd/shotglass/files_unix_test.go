//go:build unix

package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestOpenFiles: a soft limit below the hard one does not count. (Some versions of Go leave one
// file to the hard limit, so that children can have their soft limit back.)
func TestOpenFiles(t *testing.T) {
	if os.Getenv("TEST_OPEN_FILES") != "" {
		os.Stdout.WriteString("limit " + strconv.Itoa(openFiles()) + "\n")
		return
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 100 && ulimit -Hn 200 && exec "$0" -test.run '^TestOpenFiles$' -test.v`, os.Args[0])
	cmd.Env = append(os.Environ(), "TEST_OPEN_FILES=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "limit 199\n") && !strings.Contains(string(out), "limit 200\n") {
		t.Errorf("%v: %s", err, out)
	}
}
