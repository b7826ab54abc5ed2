//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// TestRefusals: what cannot work is refused before the target is touched, with
// its reason and exit code 1, and leaves nothing, there or here.
func TestRefusals(t *testing.T) {
	t.Parallel()
	main := newRig(t)
	pin := []string{"--module-sha256", sha256File(t, parts.Module)}
	for _, tt := range []struct {
		name  string
		user  string
		prep  func(r *rig)
		flags func(r *rig) []string
		env   []string
		says  []string
	}{
		{name: "unknown host", user: "ops", prep: func(r *rig) { os.WriteFile(r.known(), nil, 0o600) },
			says: []string{"is unknown", "SHA256:"}},
		{name: "wrong host key", user: "ops", prep: func(r *rig) {
			keygen(r.t, filepath.Join(r.home, "impostor"))
			pub, _ := os.ReadFile(filepath.Join(r.home, "impostor.pub"))
			os.WriteFile(r.known(), append([]byte("[127.0.0.1]:"+r.guest.Port()+" "), pub...), 0o600)
		}, says: []string{"changed", "SHA256:", "known_hosts:1"}},
		{name: "wrong pin", user: "ops", flags: func(r *rig) []string {
			return []string{"--host-key", "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
		}, says: []string{"SHA256:AAAA", ssh.FingerprintSHA256(parts.HostKeys[0])[:0]}},
		{name: "no sudo", user: "nosudo", says: []string{"cannot become root"}},
		{name: "wrong sudo password", user: "opspw", env: []string{"SHOTGLASS_SUDO_PASSWORD=wrong"}, says: []string{"sudo refused the password"}},
		{name: "sudo password missing", user: "opspw", says: []string{"cannot become root", "sudo-password"}},
		{name: "module for another kernel", user: "ops", flags: func(r *rig) []string {
			return []string{"--module", parts.OtherModule, "--module-sha256", sha256File(r.t, parts.OtherModule)}
		}, says: []string{"does not fit", parts.KernelRelease}},
		{name: "truncated module", user: "ops", flags: func(r *rig) []string {
			cut := filepath.Join(r.home, "cut.ko")
			data, err := os.ReadFile(parts.Module)
			if err != nil {
				r.t.Fatal(err)
			}
			os.WriteFile(cut, data[:len(data)*2/3], 0o600)
			return []string{"--module", cut, "--module-sha256", sha256File(r.t, cut)}
		}, says: []string{"missing"}},
		{name: "unpinned module", user: "ops", flags: func(r *rig) []string { return []string{"--module", parts.Module} },
			says: []string{"not verified", "--module-sha256"}},
		{name: "LiME already loaded", user: "ops", prep: func(r *rig) {
			data, err := os.ReadFile(parts.Module)
			if err != nil {
				r.t.Fatal(err)
			}
			r.push(data, "/run/other.ko")
			r.ssh("insmod /run/other.ko path=tcp:4444 format=lime localhostonly=1 timeout=0 >/dev/null 2>&1 & sleep 0; while ! grep -q '^lime ' /proc/modules; do :; done; rm /run/other.ko")
		}, says: []string{"already loaded"}},
		{name: "port taken", user: "ops", prep: func(r *rig) { r.ssh("/usr/sbin/sshd -p 5555 -o ListenAddress=127.0.0.1 -o PidFile=/run/5555.pid") },
			flags: func(r *rig) []string {
				return append([]string{"--lime-port", "5555", "--module", parts.Module}, pin...)
			}, says: []string{"5555"}},
		{name: "disk too small", user: "ops", flags: func(r *rig) []string {
			return append([]string{"--module", parts.Module, "--output", smallDisk(r.t, "16m")}, pin...)
		}, says: []string{"may need", "--allow-low-space"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rigOf(t, main.guest)
			if tt.prep != nil {
				tt.prep(r)
			}
			flags := append([]string{"--module", parts.Module}, pin...)
			if tt.flags != nil {
				flags = tt.flags(r)
				if tt.name == "wrong pin" {
					flags = append(append(flags, "--module", parts.Module), pin...)
				}
			}
			args := append([]string{"capture"}, r.target(tt.user)...)
			args = append(args, "--method", "lime", "--output", r.dir, "--sign-key", r.signKey(), "--progress", "lines")
			args = append(append(args, flags...), "127.0.0.1")
			start(t, tt.env, args...).want(1, time.Minute, tt.says...)
			if f := r.files(); len(f) != 0 {
				t.Errorf("left here: %v", f)
			}
			if tt.name == "LiME already loaded" {
				if r.ssh("grep -c '^lime ' /proc/modules") != "1\n" {
					t.Error("another's LiME was unloaded")
				}
				r.ssh("pkill -KILL insmod; true")
			}
			if tt.name == "wrong sudo password" {
				// One try: a target may lock the login after three.
				if log := r.ssh("journalctl -q -t sudo | grep 'incorrect password'; true"); !strings.Contains(log, " 1 incorrect password attempt") {
					t.Errorf("sudo's log: %s", log)
				}
			}
			if tt.name == "port taken" {
				r.ssh("kill $(cat /run/5555.pid)")
			}
			r.clean(10 * time.Second)
		})
	}

	t.Run("wrong key", func(t *testing.T) {
		r := rigOf(t, main.guest)
		keygen(t, filepath.Join(r.home, "stranger"))
		args := []string{"capture", "--ssh-config", "none", "--no-agent", "--known-hosts", r.known(), "--key", filepath.Join(r.home, "stranger"),
			"--user", "ops", "--port", r.guest.Port(), "--output", r.dir, "--unsigned", "--module", parts.Module, "--module-sha256", sha256File(t, parts.Module), "127.0.0.1"}
		start(t, nil, args...).want(1, time.Minute, "authentication failed")
		if f := r.files(); len(f) != 0 {
			t.Errorf("left here: %v", f)
		}
	})
}
