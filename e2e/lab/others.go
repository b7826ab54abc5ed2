package lab

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed guests.sh
var guests []byte

// Debian13 is the lab with a guest of Debian 13, and LiME for that one's kernel, packed
// with xz. There is no OtherModule. Its error wraps ErrNotBuilt if guests.sh has to run.
func (l *Lab) Debian13() (*Lab, error) {
	o, err := l.other("guest-13", "modules-13")
	if err != nil {
		return nil, err
	}
	o.Module = filepath.Join(l.dir, "modules-13", "lime-"+o.KernelRelease+".ko.xz")
	return o, nil
}

// Arm64 is the lab with a guest that is Debian 12's arm64 kernel, with busybox and sshd in
// an initramfs and nothing else: no LiME, no sudo, no user but root.
// Its error wraps ErrNotBuilt if guests.sh has to run.
func (l *Lab) Arm64() (*Lab, error) {
	o, err := l.other("guest-arm64")
	if err != nil {
		return nil, err
	}
	o.arm64 = true
	if _, err := exec.LookPath(o.qemu()); err != nil {
		return nil, notBuilt(err)
	}
	return o, nil
}

//go:embed workstation.sh
var workstation []byte

// Workstation is the lab with a guest on a disk with a GPT, with udev, Debian's own initramfs, the AWS CLI and Python's venv: what the first boot of an
// analysis instance needs. It boots from Options.Disk, which begins as a copy of Disk, and there are no modules. Its error wraps ErrNotBuilt if
// workstation.sh has to run.
func (l *Lab) Workstation() (*Lab, error) {
	h := sha256.New()
	h.Write(setup)
	h.Write(workstation)
	got, err := os.ReadFile(filepath.Join(l.dir, "guest-workstation", ".stamp"))
	if err == nil && strings.TrimSpace(string(got)) != hex.EncodeToString(h.Sum(nil)) {
		err = errors.New("guest-workstation is of another version")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w: run e2e/lab/workstation.sh (make e2e does)", ErrNotBuilt, err)
	}
	return l.with("guest-workstation")
}

// Disk is the disk of a guest of Workstation, in raw format, which nothing may write.
func (l *Lab) Disk() string { return filepath.Join(l.guest, "disk.img") }

// SignFile is the program of the guest's kernel that signs modules. Its error wraps
// ErrNotBuilt if guests.sh has to run.
func (l *Lab) SignFile() (string, error) {
	return filepath.Join(l.dir, "sign-file", "sign-file"), l.built("sign-file")
}

func notBuilt(err error) error {
	return fmt.Errorf("%w: %w: run e2e/lab/guests.sh (make e2e does)", ErrNotBuilt, err)
}

// built tells whether this version of guests.sh has built the parts.
func (l *Lab) built(parts ...string) error {
	h := sha256.New()
	h.Write(setup)
	h.Write(guests)
	stamp := hex.EncodeToString(h.Sum(nil))
	for _, part := range parts {
		got, err := os.ReadFile(filepath.Join(l.dir, part, ".stamp"))
		if err != nil {
			return notBuilt(err)
		}
		if strings.TrimSpace(string(got)) != stamp {
			return notBuilt(fmt.Errorf("%s is of another version", part))
		}
	}
	return nil
}

// other is the lab with another guest, and no modules. More parts have to be there.
func (l *Lab) other(guest string, parts ...string) (*Lab, error) {
	if err := l.built(append(parts, guest)...); err != nil {
		return nil, err
	}
	return l.with(guest)
}

// with is the lab with another guest that is there, and no modules.
func (l *Lab) with(guest string) (*Lab, error) {
	o := *l
	o.guest, o.Module, o.OtherModule = filepath.Join(l.dir, guest), "", ""
	release, err := os.ReadFile(filepath.Join(o.guest, "release"))
	if err != nil {
		return nil, fmt.Errorf("read the guest's kernel release: %w", err)
	}
	o.KernelRelease = strings.TrimSpace(string(release))
	return &o, nil
}
