//go:build e2e

package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

// The pipes. A process substitution, as in `tee >(sha256sum)`, is a child of
// tee, which waits for nothing: neither its end nor its CPU time could be seen.
// Fifos and background jobs are the same plumbing, and bash waits for them.
var (
	// pipe does what shotglass does with zstd, but for looking into the image.
	pipe = script("pipe", "out.zst", `
$SHA <raw >raw.sum & $SHA <stored >stored.sum &
$SSH cat "$IMAGE" | tee raw | zstd -q -1 -T1 | tee stored >out.zst && sync out.zst || exit
wait`)
	// pipeNone is what shotglass does without compression: one digest for both.
	pipeNone = script("pipe", "out.lime", `
$SHA <raw >raw.sum &
$SSH cat "$IMAGE" | tee raw >out.lime && sync out.lime || exit
wait`)
	// pipeSimple is the pipe that people type: it digests only the stored bytes and syncs
	// nothing.
	pipeSimple = script("simple", "out.zst", `
$SHA <stored >stored.sum &
$SSH cat "$IMAGE" | zstd -q -1 | tee stored >out.zst || exit
wait`)
)

// What digests in the pipes. coreutils uses plain C on most systems, OpenSSL the SHA
// instructions, as Go does: the pipe of somebody who knows.
var (
	coreutils = digester{"", "sha256sum"}
	openssl   = digester{"+openssl", "openssl dgst -sha256 -r"}
)

type digester struct{ suffix, command string }

func script(name, out, text string) func(digester) contender {
	return func(sha digester) contender {
		return contender{name + sha.suffix, func(b *testing.B, r *rig, dir string) usage {
			return together(b, r, dir, func(dir string) (*exec.Cmd, func(*usage) error) {
				return r.pipe(b, dir, text, sha.command), func(u *usage) error {
					info, err := os.Stat(filepath.Join(dir, out))
					if err != nil {
						return err
					}
					u.stored = info.Size()
					if !strings.Contains(text, "raw.sum") {
						return nil
					}
					sum, err := os.ReadFile(filepath.Join(dir, "raw.sum"))
					if err != nil {
						return err
					}
					if got, _, _ := strings.Cut(string(sum), " "); got != r.image.sha256 {
						return fmt.Errorf("pipe: raw digest %s, want %s", got, r.image.sha256)
					}
					return nil
				}
			})
		}}
	}
}

// pipe is a command that runs a pipe in dir.
func (r *rig) pipe(b *testing.B, dir, text, sha string) *exec.Cmd {
	for _, fifo := range []string{"raw", "stored"} {
		if err := syscall.Mkfifo(filepath.Join(dir, fifo), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	t := r.sshd.Target()
	known := filepath.Join(dir, "known_hosts")
	line := fmt.Sprintf("[%s]:%d %s\n", t.Host, t.Port, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(r.sshd.HostKey.PublicKey()))))
	if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
		b.Fatal(err)
	}
	ssh := strings.Join([]string{"ssh", "-F", "none", "-c", "aes128-gcm@openssh.com", "-o", "IdentitiesOnly=yes",
		"-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "GlobalKnownHostsFile=none",
		"-o", "UserKnownHostsFile=" + known, "-i", r.sshd.KeyFile, "-p", fmt.Sprint(t.Port), t.User + "@" + t.Host}, " ")
	cmd := exec.Command(r.bash, "-c", "set -o pipefail\n"+text)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "SSH="+ssh, "SHA="+sha, "IMAGE="+r.image.path)
	return cmd
}

// together runs a program once for each host, all at once, each in a folder of its own,
// and looks at what each did. Its CPU time is that of the program and all that it waited for,
// which is everything but sshd and what feeds it.
func together(b *testing.B, r *rig, dir string, program func(dir string) (*exec.Cmd, func(*usage) error)) usage {
	cmds := make([]*exec.Cmd, r.hosts)
	looks := make([]func(*usage) error, r.hosts)
	for i := range cmds {
		sub, err := os.MkdirTemp(dir, "")
		if err != nil {
			b.Fatal(err)
		}
		cmds[i], looks[i] = program(sub)
	}
	begin := time.Now()
	var g errgroup.Group
	for _, cmd := range cmds {
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		g.Go(func() error {
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("%w: %s", err, &stderr)
			}
			return nil
		})
	}
	err := g.Wait()
	u := usage{wall: time.Since(begin)}
	if err != nil {
		b.Fatal(err)
	}
	for i, cmd := range cmds {
		u.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if err := looks[i](&u); err != nil {
			b.Fatal(err)
		}
	}
	return u
}

func needBash(b *testing.B) string {
	for _, tool := range []string{"ssh", "zstd", "tee", "sha256sum", "openssl", "sync"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skip(err)
		}
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		b.Skip(err)
	}
	return bash
}
