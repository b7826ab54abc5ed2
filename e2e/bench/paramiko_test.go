//go:build e2e

package bench

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

//go:embed rival.py
var paramikoScript string

// paramikoPython is the Python that setup.sh gave paramiko to.
func paramikoPython() string {
	cache, err := lab.Cache()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(cache), "bench", "paramiko", "bin", "python")
}

// Programs in Python, all of them rival.py.
var (
	margarita     = paramiko("margarita", "tunnel", "plain")     // what Margarita Shotgun does
	margaritaWork = paramiko("margarita+work", "tunnel", "same") // the same, and shotglass's work
	paramikoWork  = paramiko("paramiko+work", "direct", "same")  // that work, as fast as Python gets
)

func paramiko(name, way, work string) contender {
	return contender{name, func(b *testing.B, r *rig, dir string) usage {
		python := paramikoPython()
		if _, err := os.Stat(python); err != nil {
			b.Skipf("no paramiko: run e2e/bench/setup.sh (make bench does): %v", err)
		}
		return together(b, r, dir, func(dir string) (*exec.Cmd, func(*usage) error) {
			t := r.sshd.Target()
			out := filepath.Join(dir, "out")
			key := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(r.sshd.HostKey.PublicKey())))
			cmd := exec.Command(python, "-I", "-c", paramikoScript, way, work, t.Host, fmt.Sprint(t.Port), t.User, r.sshd.KeyFile, key, r.port, out)
			var stdout strings.Builder
			cmd.Stdout = &stdout
			return cmd, func(u *usage) error {
				var raw int64
				var digest string
				var seconds float64
				if _, err := fmt.Sscan(stdout.String(), &raw, &u.stored, &digest, &seconds); err != nil {
					return fmt.Errorf("paramiko said %q: %w", stdout.String(), err)
				}
				u.stream = time.Duration(seconds * float64(time.Second))
				if raw != r.image.size || work == "same" && digest != r.image.sha256 {
					return fmt.Errorf("paramiko: %d bytes, digest %s, want %d, %s", raw, digest, r.image.size, r.image.sha256)
				}
				return nil
			}
		})
	}}
}
