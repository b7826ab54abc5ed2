package records_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/sink"
)

// refusing takes nothing whose name ends so.
type refusing struct {
	sink.Sink
	suffix string
}

func (r refusing) Create(ctx context.Context, name string) (sink.Object, error) {
	if strings.HasSuffix(name, r.suffix) {
		return nil, errors.New("the bucket is gone")
	}
	return r.Sink.Create(ctx, name)
}

// A record is there with its signature, or alone, which is told, or not at all; a second of its name changes nothing.
func TestWrite(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	disk, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	write := func(where sink.Sink, name string, signer ssh.Signer) (records.Stored, error) {
		return records.Write(t.Context(), where, name, "test@shotglass-ir", signer, map[string]int{"v": 1})
	}
	s, err := write(disk, "a.record", signer)
	data, rerr := os.ReadFile(filepath.Join(dir, "a.record"))
	if err != nil || rerr != nil || string(data) != "{\n  \"v\": 1\n}\n" || records.DigestOf(data) != s.Digest || s.Location != filepath.Join(dir, "a.record") {
		t.Errorf("%+v %v %v %q", s, err, rerr, data)
	}
	if _, err := write(disk, "a.record", nil); !errors.Is(err, sink.ErrExists) {
		t.Error(err)
	}
	if s, err := write(refusing{disk, ".sig"}, "b.record", signer); !errors.Is(err, records.ErrUnsigned) || s.Location == "" {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := write(refusing{disk, ".record"}, "c.record", signer); err == nil || errors.Is(err, records.ErrUnsigned) {
		t.Error(err)
	}
	if _, err := write(disk, "d.record", nil); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 4 { // a with its signature, b, d
		t.Errorf("%q %v", files, err)
	}
}
