// Package records writes what is said of a case beside its evidence: JSON, signed as manifests are, each kind in a namespace of its own.
package records

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// A Named is a file by its name and digest.
type Named struct {
	Name string `json:"name"`
	acquire.Digest
}

// Stored is a record that was written.
type Stored struct {
	Named
	Location string
}

// ErrUnsigned says that a record was stored, and its signature not.
var ErrUnsigned = errors.New("it was stored without its signature")

// Write stores v under name, and then its signature; a nil signer makes none. The error wraps sink.ErrExists if name is
// taken, and ErrUnsigned if the record stands alone: what is returned is then of that.
func Write(ctx context.Context, where sink.Sink, name, namespace string, signer ssh.Signer, v any) (done Stored, err error) {
	data, err := JSON(v)
	if err != nil {
		return done, err
	}
	done.Name, done.Digest = name, DigestOf(data)
	if done.Location, err = Put(ctx, where, name, data); err != nil {
		return done, fmt.Errorf("record %s: %w", name, err)
	}
	if signer == nil {
		return done, nil
	}
	sig, err := signature.SignIn(namespace, data, signer)
	if err != nil {
		return done, fmt.Errorf("%w: sign %s: %w", ErrUnsigned, name, err)
	}
	if _, err := Put(ctx, where, name+acquire.SignatureSuffix, sig); err != nil {
		return done, fmt.Errorf("%w: signature of %s: %w", ErrUnsigned, name, err)
	}
	return done, nil
}

// JSON is v as records have it: for people, too.
func JSON(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return append(data, '\n'), err
}

// Put writes one small object, which must not exist yet, and returns where it is. After an error there is none.
func Put(ctx context.Context, where sink.Sink, name string, data []byte) (location string, err error) {
	o, err := where.Create(ctx, name)
	if err != nil {
		return "", err
	}
	if _, err = o.Write(data); err == nil {
		var r sink.Receipt
		if r, err = o.Commit(ctx); err == nil {
			return r.Location, nil
		}
	}
	return "", errors.Join(err, o.Abort(ctx))
}

// DigestOf is the digest of some bytes.
func DigestOf(data []byte) acquire.Digest {
	sum := sha256.Sum256(data)
	return acquire.Digest{Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}
