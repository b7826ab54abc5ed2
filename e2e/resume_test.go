//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// resuming captures the guest under the names one and two into a place. The run is killed with
// two under way, and resumed at once: one is kept, two is taken although LiME of the killed run
// may still be loaded, and what that run left stays as it is.
func (r *rig) resuming(env []string, to []string, begun func(p *run) string, again func(left string)) {
	t := r.t
	file := filepath.Join(r.home, "hosts.yml")
	known, err := os.ReadFile(r.known())
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(r.home, "known_hosts.both") // two names for one machine
	if err := os.WriteFile(both, slices.Concat(known, bytes.ReplaceAll(known, []byte("127.0.0.1"), []byte("localhost"))), 0o600); err != nil {
		t.Fatal(err)
	}
	host := func(name, addr string) string {
		return fmt.Sprintf("- {addr: %s, port: %s, name: %s, username: ops, key: %s, known_hosts: %s}\n", addr, r.guest.Port(), name, parts.Key, both)
	}
	args := append([]string{"capture", "-c", file, "--ssh-config", "none", "--no-agent", "--sign-key", r.signKey(), "--case", "killed",
		"--module", parts.Module, "--module-sha256", sha256File(t, parts.Module), "--progress", "lines", "--compress", "none"}, to...)
	write := func(hosts string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("hosts:\n"+hosts), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(host("one", "localhost"))
	first := start(t, env, args...)
	first.want(0, 5*time.Minute)
	line := strings.Split(strings.TrimSpace(first.stdout.String()), "\t")

	write(host("one", "localhost") + host("two", "127.0.0.1"))
	killed := start(t, env, append(args, "--resume")...)
	left := begun(killed)
	killed.cmd.Process.Kill()
	<-killed.done

	resumed := start(t, env, append(args, "--resume")...)
	resumed.want(0, 8*time.Minute, "of a run that was cut off", left, "one: complete, kept from")
	r.clean(30 * time.Second)
	out := strings.Split(strings.TrimSpace(resumed.stdout.String()), "\n")
	if len(out) != 2 || !strings.HasPrefix(out[0], "one\tcomplete (kept from ") || !strings.HasPrefix(out[1], "two\tcomplete\t") ||
		!strings.HasSuffix(out[0], strings.Join(line[2:], "\t")) {
		t.Errorf("stdout %q, the first run said %q", out, line)
	}
	again(left)
	// Nothing is left to do, and the guest is not touched.
	third := start(t, env, append(args, "--resume")...)
	third.want(0, 5*time.Minute)
	if n := strings.Count(third.stdout.String(), "\tcomplete (kept from "); n != 2 {
		t.Errorf("%d images were kept, want 2: %s", n, third.stdout.String())
	}
}

func TestResumeDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var size int64
	r.resuming(nil, []string{"--output", r.dir}, r.streaming, func(left string) {
		info, err := os.Stat(left)
		if err != nil {
			t.Fatal(err)
		}
		if size = info.Size(); size < 3<<20 {
			t.Errorf("the killed run's file has %d bytes", size)
		}
		if _, err := os.Stat(strings.TrimSuffix(left, ".partial") + ".json"); err == nil {
			t.Error("the killed run has a manifest")
		}
		images, _ := filepath.Glob(filepath.Join(r.dir, "*.lime"))
		if len(images) != 2 {
			t.Errorf("images %q", images)
		}
		start(t, nil, append([]string{"verify", "--signers", r.signers()}, images...)...).want(0, time.Minute)
	})
}

func TestResumeS3(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	srv := startS3(t)
	access := []string{"--s3-endpoint", srv.Endpoint, "--s3-path-style", "--to", "s3://" + srv.Bucket + "/killed/"}
	r.resuming(srv.Env(), access, func(p *run) string {
		var key string
		r.eventually(3*time.Minute, "an upload is under way", func() bool {
			select {
			case <-p.done:
				t.Fatalf("the program ended: %s", p.stderr.String())
			default:
			}
			keys, err := srv.Uploads(t.Context())
			i := slices.IndexFunc(keys, func(k string) bool { return strings.HasSuffix(k, "-mem.lime") })
			if err == nil && i >= 0 {
				key = keys[i]
			}
			return key != ""
		})
		return "s3://" + srv.Bucket + "/" + key + "?uploadId="
	}, func(string) {
		if left, err := srv.Uploads(t.Context()); err != nil || len(left) != 1 {
			t.Errorf("uploads %q, %v: that of the killed run must stay, and no other", left, err)
		}
	})
}
