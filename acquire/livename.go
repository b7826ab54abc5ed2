package acquire

import (
	"regexp"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
)

// LiveSuffix follows the name of an image in that of the archive with what was collected beside it.
// Encrypted, agefile.Suffix follows.
const LiveSuffix = ".live.tar.zst"

// LiveName is the name of the archive beside an image.
func LiveName(image string, encrypted bool) string {
	if encrypted {
		return image + LiveSuffix + agefile.Suffix
	}
	return image + LiveSuffix
}

// File is the name of its archive beside an image: LiveName, or where that could not be created and
// the manifest says so, that name after a nonce.
func (l *Live) File(image string) string {
	name := LiveName(image, l.Image.Encryption == encryptionAge)
	if nonce, ok := strings.CutSuffix(l.Image.Name, "-"+name); ok && nonceForm.MatchString(nonce) {
		return l.Image.Name
	}
	return name
}

// WithoutNonce returns the name that an archive should have had, if it had to be stored under another.
func WithoutNonce(archive string) (name string, ok bool) {
	nonce, name, _ := strings.Cut(archive, "-")
	_, ok = liveOwner(name)
	return name, ok && nonceForm.MatchString(nonce)
}

// nonceForm is what newNonce returns.
var nonceForm = regexp.MustCompile(`^[0-9a-f]{16}$`)

// TriageSuffix follows the name of an image in that of what its triage found; a number, "-2", may follow.
const TriageSuffix = ".triage"

// triageFile is what a triage writes beside an image.
var triageFile = regexp.MustCompile(`\.triage(-[1-9][0-9]?)?$`)

// liveOwner is the image that an archive lies beside, by its name.
func liveOwner(name string) (image string, ok bool) {
	return strings.CutSuffix(strings.TrimSuffix(name, agefile.Suffix), LiveSuffix)
}

// withoutLive returns the image of an archive, or name as it is.
func withoutLive(name string) string {
	if image, ok := liveOwner(name); ok {
		return image
	}
	return name
}
