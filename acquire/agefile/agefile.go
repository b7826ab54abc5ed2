// Package agefile stores a stream encrypted to age recipients, and reads it back by range.
//
// What a [Writer] makes is a plain age file (age-encryption.org/v1), which stock age
// decrypts: a header with the file key for each recipient, a nonce, then the
// payload in chunks of 64 KiB, each with a tag of its own. So any part can be read
// alone, and damage stays in its chunk. The last chunk is marked as such: a file that
// was cut short shows it.
//
// Encrypting, and the header, are the age library's. [Reader] decrypts the payload itself:
// the library's DecryptReaderAt refuses a file whose last chunk is missing, and that is how
// a full disk leaves one, and asks its source for one chunk at a time, which from S3
// would be a request for each 64 KiB.
//
// The format: https://github.com/C2SP/C2SP/blob/main/age.md
package agefile

import (
	"bytes"
	"errors"
)

const (
	// Suffix ends the names of encrypted files.
	Suffix = ".age"

	chunkSize = 64 << 10       // of plain bytes
	encChunk  = chunkSize + 16 // with the tag of ChaCha20-Poly1305
	nonceSize = 16             // before the payload
	maxHeader = 1 << 20        // that is read: some hundred recipients of the longest kind
)

var (
	// ErrSecretKey says that a secret key was given where a public one belongs.
	ErrSecretKey = errors.New("this is a secret key, where a recipient, its public key, belongs")
	// ErrNoMatch says that none of the identities opens the file. A damaged
	// header looks the same.
	ErrNoMatch = errors.New("none of the identities can decrypt this file")
	// ErrHeader is wrapped by errors about a header that is not age's, or damaged.
	ErrHeader = errors.New("bad age header")
	// ErrChunk is wrapped by errors about a part that does not decrypt.
	ErrChunk = errors.New("does not decrypt: damaged or altered")
)

const (
	intro      = "age-encryption.org/v1\n"
	armorIntro = "-----BEGIN AGE ENCRYPTED FILE-----"
)

// Is reports whether a file that begins with head is an age file.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte(intro)) }

// IsArmored reports whether a file that begins with head is an age file as text,
// which cannot be read by range.
func IsArmored(head []byte) bool { return bytes.HasPrefix(head, []byte(armorIntro)) }
