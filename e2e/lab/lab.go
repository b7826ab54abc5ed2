// Package lab boots the guest that the end-to-end tests, the demo and "make lab"
// capture: a stock Debian 12 with its own kernel, OpenSSH and sudo, in QEMU
// without acceleration, so that it runs wherever the tests do.
//
// setup.sh builds everything a guest needs into the cache: the disk, the kernel,
// LiME modules for it and for another kernel, keys, and Volatility. Open finds it
// there, and Boot starts a guest on a loopback port. Guests never write the disk
// they start from, so any number may run, and each starts the same.
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

	"golang.org/x/crypto/ssh"
)

// What setup.sh sets, and TestLogins holds the two to.
const (
	// Password is that of the user opspw, for sudo and for logging in.
	Password = "correct horse"
	// Passphrase is that of KeyEncrypted.
	Passphrase = "open sesame"
)

// The guest's users. Every key logs in as each of them.
const (
	Root   = "root"
	Ops    = "ops"    // sudo without a password
	OpsPW  = "opspw"  // sudo with Password; may log in with it too
	NoSudo = "nosudo" // not allowed to sudo
)

// ErrNotBuilt is wrapped by Open's error when setup.sh has to run first.
var ErrNotBuilt = errors.New("the lab is not built")

//go:embed setup.sh
var setup []byte

// Lab is what setup.sh built. The fields are paths unless they say otherwise.
type Lab struct {
	Key          string // ed25519
	KeyEncrypted string // the same key, encrypted with Passphrase
	KeyRSA       string
	KeyECDSA     string
	Password     string // the password itself
	Passphrase   string // the passphrase itself

	Module        string // LiME for the guest's kernel: modules/lime-RELEASE.ko
	OtherModule   string // LiME for a kernel that the guest does not run
	KernelRelease string // the guest's uname -r
	Debs          string // folder of the packages that LiME is compiled from, for the guest's kernel

	Volatility   string          // the executable vol
	HostKeys     []ssh.PublicKey // the guest's, as every guest has them
	Fingerprints []string        // of HostKeys, as ssh-keygen -l prints them

	dir   string // of all parts
	guest string // folder of the disk, kernel and initramfs
	arm64 bool   // what the kernel is for; else x86-64
}

// Cache returns the folder that setup.sh builds into.
func Cache() (string, error) {
	if dir := os.Getenv("SHOTGLASS_LAB_CACHE"); dir != "" {
		return filepath.Join(dir, "lab"), nil
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "shotglass", "lab"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(home, ".cache", "shotglass", "lab"), nil
}

// Open finds what setup.sh built. Its error wraps ErrNotBuilt if a part is
// missing or was built by another version of the script.
func Open() (*Lab, error) {
	dir, err := Cache()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(setup)
	stamp := hex.EncodeToString(sum[:])
	for _, part := range []string{"keys", "guest", "modules", "modules-other", "volatility"} {
		got, err := os.ReadFile(filepath.Join(dir, part, ".stamp"))
		if err != nil {
			return nil, fmt.Errorf("%w: %w: run e2e/lab/setup.sh (make e2e does)", ErrNotBuilt, err)
		}
		if strings.TrimSpace(string(got)) != stamp {
			return nil, fmt.Errorf("%w: %s is of another version: run e2e/lab/setup.sh (make e2e does)",
				ErrNotBuilt, filepath.Join(dir, part))
		}
	}
	l, err := read(dir)
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(l.qemu()); err != nil {
		return nil, fmt.Errorf("%w: %w: run e2e/lab/setup.sh (make e2e does)", ErrNotBuilt, err)
	}
	return l, nil
}

func read(dir string) (*Lab, error) {
	keys := filepath.Join(dir, "keys")
	l := &Lab{
		Key:          filepath.Join(keys, "id_ed25519"),
		KeyEncrypted: filepath.Join(keys, "id_encrypted"),
		KeyRSA:       filepath.Join(keys, "id_rsa"),
		KeyECDSA:     filepath.Join(keys, "id_ecdsa"),
		Password:     Password,
		Passphrase:   Passphrase,
		Volatility:   filepath.Join(dir, "volatility", "venv", "bin", "vol"),
		Debs:         filepath.Join(dir, "guest", "debs"),
		dir:          dir,
		guest:        filepath.Join(dir, "guest"),
	}
	release, err := os.ReadFile(filepath.Join(l.guest, "release"))
	if err != nil {
		return nil, fmt.Errorf("read the guest's kernel release: %w", err)
	}
	l.KernelRelease = strings.TrimSpace(string(release))
	l.Module = filepath.Join(dir, "modules", "lime-"+l.KernelRelease+".ko")
	others, err := filepath.Glob(filepath.Join(dir, "modules-other", "lime-*.ko"))
	if err != nil || len(others) != 1 {
		return nil, fmt.Errorf("find the other kernel's module: found %q: %w", others, ErrNotBuilt)
	}
	l.OtherModule = others[0]

	rest, err := os.ReadFile(filepath.Join(keys, "host_keys"))
	if err != nil {
		return nil, fmt.Errorf("read the guest's host keys: %w", err)
	}
	for len(rest) > 0 {
		key, _, _, more, err := ssh.ParseAuthorizedKey(rest)
		if err != nil {
			return nil, fmt.Errorf("read the guest's host keys: %w", err)
		}
		l.HostKeys = append(l.HostKeys, key)
		l.Fingerprints = append(l.Fingerprints, ssh.FingerprintSHA256(key))
		rest = more
	}
	return l, nil
}
