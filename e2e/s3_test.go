//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/e2e/lab"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
	"github.com/shotglass-ir/shotglass/sink/sinktest"
)

func startS3(t *testing.T) *lab.S3 {
	t.Helper()
	srv, err := parts.StartS3(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv
}

// s3Sink is a sink of the server, in this process.
func s3Sink(t *testing.T, srv *lab.S3, prefix string, change func(*s3.Options)) *s3.Sink {
	t.Helper()
	o := s3.Options{Bucket: srv.Bucket, Prefix: prefix, Endpoint: srv.Endpoint, PathStyle: true, PartSize: 5 << 20}
	if change != nil {
		change(&o)
	}
	s, err := s3.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func noUploads(t *testing.T, srv *lab.S3) {
	t.Helper()
	if left, err := srv.Uploads(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("uploads left: %q, %v", left, err)
	}
}

// forSymbols is what symbol files are made of. The tests collect nothing unless they ask.
const forSymbols = "version,vmcoreinfo,btf,kallsyms"

// TestS3 holds the sink against a real S3 server.
func TestS3(t *testing.T) {
	srv := startS3(t)
	for _, e := range srv.Env() {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	t.Run("sink", func(t *testing.T) {
		var n atomic.Int32
		sinktest.Test(t, func(t *testing.T) sink.Sink {
			return s3Sink(t, srv, fmt.Sprintf("sink-%d/", n.Add(1)), nil)
		}, sinktest.Options{Size: 16<<20 + 4097})
		noUploads(t, srv)
	})
	t.Run("locked", func(t *testing.T) { s3Locked(t, srv) })
	t.Run("check", func(t *testing.T) {
		s := s3Sink(t, srv, "check/", nil)
		if err := s.Check(t.Context(), "image.lime"); err != nil {
			t.Fatal(err)
		}
		noUploads(t, srv)
		if keys, err := srv.Keys(t.Context(), "check/"); err != nil || len(keys) > 0 {
			t.Errorf("objects left: %q, %v", keys, err)
		}
		if tell := strings.Join(s.Tell(), "; "); !strings.Contains(tell, "versioning is on, Object Lock is on") {
			t.Errorf("it tells %q", tell)
		}
		missing := s3Sink(t, srv, "", func(o *s3.Options) { o.Bucket = "no-such-bucket" })
		if err := missing.Check(t.Context(), "image.lime"); err == nil || !strings.Contains(err.Error(), "bucket") && !strings.Contains(err.Error(), "Bucket") {
			t.Errorf("no bucket: %v", err)
		}
	})
}

// s3Locked stores under retention and legal hold, as one part and as several, and tries to
// delete.
func s3Locked(t *testing.T, srv *lab.S3) {
	s := s3Sink(t, srv, "locked/", func(o *s3.Options) {
		o.LockMode, o.RetainFor, o.LegalHold, o.Tags = "GOVERNANCE", time.Hour, true, map[string]string{"case": "42"}
	})
	for name, size := range map[string]int{"small.lime": 10, "big.lime": 11 << 20} {
		o, err := s.CreateSized(t.Context(), name, int64(size))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		r, err := o.Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.Checksums["crc64nvme"] == "" || r.VersionID == "" {
			t.Errorf("%s: receipt %+v", name, r)
		}
		head, err := srv.Client.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: &srv.Bucket, Key: aws.String("locked/" + name)})
		if err != nil {
			t.Fatal(err)
		}
		if head.ObjectLockMode != types.ObjectLockModeGovernance || head.ObjectLockRetainUntilDate == nil || head.ObjectLockLegalHoldStatus != types.ObjectLockLegalHoldStatusOn {
			t.Errorf("%s: lock %q until %v, hold %q", name, head.ObjectLockMode, head.ObjectLockRetainUntilDate, head.ObjectLockLegalHoldStatus)
		}
		if _, err := srv.Client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &srv.Bucket, Key: aws.String("locked/" + name), VersionId: &r.VersionID}); err == nil {
			t.Errorf("%s: a locked object was deleted", name)
		}
	}
}

// TestS3Capture captures to a real S3 server.
func TestS3Capture(t *testing.T) {
	t.Parallel()
	srv := startS3(t)
	r := newRig(t)
	access := []string{"--s3-endpoint", srv.Endpoint, "--s3-path-style"}
	capture := func(prefix string, more ...string) []string {
		args := r.capture("ops", append(append(more, access...), "--to", "s3://"+srv.Bucket+"/"+prefix)...)
		i := slices.Index(args, "--output")
		return slices.Delete(args, i, i+2)
	}
	read := func(cmd string, args ...string) []string { return append(append([]string{cmd}, access...), args...) }
	manifest := func(prefix, suffix string) *acquire.Manifest {
		t.Helper()
		m, keys := s3Manifest(t, srv, prefix, suffix)
		want := 6 // with the audit log and its signature
		if slices.Contains(keys, prefix+m.Image.Name+".isf.json.xz") {
			want++
		}
		if slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(k, ".live.tar") }) {
			want++
		}
		// On a busy machine the symbols take so long that the image gets an interim manifest, which stays.
		if i := slices.Index(keys, prefix+m.Image.Name+acquire.InterimSuffix); i >= 0 {
			if !slices.Contains(keys, keys[i]+".sig") {
				t.Errorf("%s is not signed: %q", keys[i], keys)
			}
			want += 2
		}
		if len(keys) != want {
			t.Fatalf("not %d objects: %q", want, keys)
		}
		return m
	}

	t.Run("complete", func(t *testing.T) {
		p := start(t, srv.Env(), capture("whole/", "--symbols", "--collect", forSymbols)...)
		p.want(0, 5*time.Minute, "versioning is on, Object Lock is on", "not proven")
		r.clean(30 * time.Second)
		m := manifest("whole/", "-mem.lime.zst.json")
		if !m.Complete || m.Image.Partial || m.Image.Checksums["crc64nvme"] == "" || m.Image.VersionID == "" || !strings.HasPrefix(m.Image.Location, "s3://evidence/whole/") {
			t.Fatalf("manifest: complete %t %q, image %+v", m.Complete, m.Reasons, m.Image)
		}
		if !slices.ContainsFunc(m.Options, func(s acquire.Setting) bool { return s.Name == "s3-endpoint" && s.Value == srv.Endpoint }) {
			t.Error("the manifest does not record the endpoint")
		}
		// The symbol file that the capture made is there, whole, and is not made again.
		file, err := srv.Stored(t.Context(), "whole/"+m.Image.Name+".isf.json.xz")
		if err != nil || len(file) < 1e6 || !strings.Contains(p.stderr.String(), ".isf.json.xz") {
			t.Errorf("the symbol file: %d bytes, %v", len(file), err)
		}
		start(t, srv.Env(), read("symbols", m.Image.Location)...).want(1, time.Minute)
		start(t, srv.Env(), read("verify", "--signers", r.signers(), m.Image.Location)...).want(0, time.Minute)
		log := strings.TrimSuffix(m.Image.Location, m.Image.Name) + m.Previous.Name
		start(t, srv.Env(), read("verify", "--signers", r.signers(), log)...).want(0, time.Minute)
		start(t, srv.Env(), read("inspect", m.Image.Location)...).want(0, time.Minute)
		page := filepath.Join(t.TempDir(), "case.html")
		start(t, srv.Env(), read("report", "--verify", "--signers", r.signers(), "-o", page, strings.TrimSuffix(m.Image.Location, m.Image.Name))...).want(0, time.Minute)
		if data, err := os.ReadFile(page); err != nil || !strings.Contains(string(data), m.Image.Raw.SHA256) || !strings.Contains(string(data), "was read again in full") {
			t.Errorf("the page of the case: %v", err)
		}
		sum := sha256.New()
		cat := exec.Command(program, read("cat", m.Image.Location)...)
		cat.Env, cat.Stdout = append(os.Environ(), srv.Env()...), sum
		if err := cat.Run(); err != nil || hex.EncodeToString(sum.Sum(nil)) != m.Image.Raw.SHA256 {
			t.Errorf("cat: %v, or not the image", err)
		}
		noUploads(t, srv)
	})
	t.Run("encrypted", func(t *testing.T) {
		key, recipient := ageKeygen(t, r.home)
		p := start(t, srv.Env(), capture("sealed/", "--recipient", recipient, "--collect", forSymbols)...)
		p.want(0, 5*time.Minute)
		m := manifest("sealed/", "-mem.lime.zst.age.json")
		if !m.Complete || m.Image.Encryption != "age" || m.Image.Checksums["crc64nvme"] == "" {
			t.Fatalf("manifest: complete %t %q, image %+v", m.Complete, m.Reasons, m.Image)
		}
		v := start(t, srv.Env(), read("verify", "--signers", r.signers(), m.Image.Location)...)
		if v.want(0, time.Minute); !strings.Contains(v.stdout.String(), ": intact; encrypted with age") {
			t.Errorf("without the key: %s", v.stdout.String())
		}
		v = start(t, srv.Env(), read("verify", "--signers", r.signers(), "--identity", key, m.Image.Location)...)
		if v.want(0, time.Minute); !strings.Contains(v.stdout.String(), ": verified; ") {
			t.Errorf("with the key: %s", v.stdout.String())
		}
		start(t, srv.Env(), read("inspect", "-i", key, m.Image.Location)...).want(0, time.Minute)
		sum := sha256.New()
		cat := exec.Command(program, read("cat", "-i", key, m.Image.Location)...)
		cat.Env, cat.Stdout = append(os.Environ(), srv.Env()...), sum
		if err := cat.Run(); err != nil || hex.EncodeToString(sum.Sum(nil)) != m.Image.Raw.SHA256 {
			t.Errorf("cat: %v, or not the image", err)
		}
		start(t, srv.Env(), read("symbols", m.Image.Location)...).want(1, time.Minute, "encrypted with age", "--identity FILE")
		start(t, srv.Env(), read("symbols", "-i", key, m.Image.Location)...).want(0, time.Minute, "missing: ")
		mountS3(t, srv, m, append([]string{"--identity", key, "--signers", r.signers()}, access...)...)
		noUploads(t, srv)
	})
	t.Run("interrupted", func(t *testing.T) {
		// Not compressed, so that it fills parts.
		p := start(t, srv.Env(), capture("cut/", "--compress", "none")...)
		r.eventually(3*time.Minute, "an upload is under way", func() bool {
			select {
			case <-p.done:
				t.Fatalf("the program ended: %s", p.stderr.String())
			default:
			}
			keys, err := srv.Uploads(t.Context())
			return err == nil && slices.ContainsFunc(keys, func(k string) bool { return strings.HasSuffix(k, "-mem.lime") })
		})
		time.Sleep(2 * time.Second) // into the next part
		p.cmd.Process.Signal(syscall.SIGINT)
		p.want(130, time.Minute)
		r.clean(10 * time.Second)
		m := manifest("cut/", "-mem.lime.partial.json")
		if m.Complete || !m.Image.Partial || m.Image.Checksums["crc64nvme"] == "" || strings.HasSuffix(m.Image.Location, ".partial") {
			t.Errorf("manifest: complete %t, image %+v", m.Complete, m.Image)
		}
		noUploads(t, srv)
		start(t, srv.Env(), read("verify", "--signers", r.signers(), m.Image.Location)...).want(3, time.Minute)
		mount(t, srv.Env(), append(access, "--signers", r.signers(), m.Image.Location)...).end(3)
	})
}
