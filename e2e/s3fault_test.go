//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/e2e/lab"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// s3Args are the flags of a capture to the server, not compressed so that it fills parts.
func (r *rig) s3Args(srv *lab.S3, prefix string, more ...string) []string {
	args := r.capture("ops", append(append(more, s3Access(srv)...), "--compress", "none", "--to", "s3://"+srv.Bucket+"/"+prefix)...)
	i := slices.Index(args, "--output")
	return slices.Delete(args, i, i+2)
}

func s3Access(srv *lab.S3) []string {
	return []string{"--s3-endpoint", srv.Endpoint, "--s3-path-style"}
}

// uploading waits until an upload of an image is under way.
func (r *rig) uploading(srv *lab.S3, p *run) {
	r.t.Helper()
	r.eventually(3*time.Minute, "an upload is under way", func() bool {
		select {
		case <-p.done:
			r.t.Fatalf("the program ended: %s", p.stderr.String())
		default:
		}
		keys, err := srv.Uploads(r.t.Context())
		return err == nil && slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(k, "-mem.lime") })
	})
}

// s3Manifest reads the manifest under a prefix whose name ends so, and lists all objects there.
func s3Manifest(t *testing.T, srv *lab.S3, prefix, suffix string) (*acquire.Manifest, []string) {
	t.Helper()
	keys, err := srv.Keys(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(keys, func(k string) bool { return strings.HasSuffix(k, suffix) })
	if i < 0 {
		t.Fatalf("no manifest: %q", keys)
	}
	data, err := srv.Stored(t.Context(), keys[i])
	if err != nil {
		t.Fatal(err)
	}
	m, err := acquire.ParseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	return m, keys
}

// TestS3Crash kills the server in the middle of captures.
func TestS3Crash(t *testing.T) {
	t.Parallel()
	srv := startS3(t)
	r := newRig(t)

	// What is wrong with the bucket is told before the target is touched: exit 1.
	t.Run("refused", func(t *testing.T) {
		r := rigOf(t, r.guest)
		for _, tt := range []struct {
			bucket, says string
			env, flags   []string
		}{
			{bucket: "no-such-bucket", says: "check the name of the bucket"},
			{bucket: srv.Bucket, env: []string{"AWS_SECRET_ACCESS_KEY=wrong"}, says: "check the secret key"},
			{bucket: srv.Bucket, env: []string{"AWS_ACCESS_KEY_ID=AKIANOBODY"}, says: "No user exists"},
			{bucket: srv.Bucket, flags: []string{"--s3-bucket-owner", "123456789012"}, says: "needs the policy of docs/s3.md"},
		} {
			args := r.s3Args(srv, "refused/", tt.flags...)
			for i, a := range args {
				args[i] = strings.Replace(a, "s3://"+srv.Bucket+"/", "s3://"+tt.bucket+"/", 1)
			}
			p := start(t, append(srv.Env(), tt.env...), args...)
			p.want(1, 2*time.Minute, tt.says)
			if strings.Contains(p.stderr.String(), "loading LiME") {
				t.Errorf("%v: the target was touched", tt)
			}
		}
		noUploads(t, srv)
	})

	// It comes back within the attempts, and the image, in segments, is complete.
	t.Run("comes back", func(t *testing.T) {
		r := rigOf(t, r.guest)
		p := start(t, srv.Env(), r.s3Args(srv, "back/", "--s3-segment-size", "64MiB")...)
		r.uploading(srv, p)
		srv.Kill()
		time.Sleep(5 * time.Second) // parts fail
		if err := srv.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.want(0, 8*time.Minute)
		m, keys := s3Manifest(t, srv, "back/", "-mem.lime.json")
		if !m.Complete || len(m.Image.Segments) != 3 {
			t.Fatalf("complete %t, %d segments, objects %q", m.Complete, len(m.Image.Segments), keys)
		}
		read := func(cmd string, more ...string) *run {
			return start(t, srv.Env(), append(append(append([]string{cmd}, s3Access(srv)...), more...), m.Image.Location)...)
		}
		read("verify", "--signers", r.signers()).want(0, 2*time.Minute)
		read("inspect").want(0, 2*time.Minute)
		noUploads(t, srv)
	})

	// It stays away: the image waits in pieces, and is finished later.
	t.Run("stays away", func(t *testing.T) {
		r := rigOf(t, r.guest)
		spill := filepath.Join(t.TempDir(), "spill")
		p := start(t, srv.Env(), r.s3Args(srv, "gone/", "--spill", spill)...)
		r.uploading(srv, p)
		time.Sleep(8 * time.Second) // some parts are stored
		srv.Kill()
		p.want(3, 15*time.Minute, "the bucket failed, what comes now goes to", "shotglass upload "+spill)
		r.clean(30 * time.Second)
		if !strings.Contains(p.stdout.String(), "\tpartial\t") {
			t.Errorf("the result says %q", p.stdout.String())
		}
		finish := append(append([]string{"upload"}, s3Access(srv)...), spill)
		start(t, srv.Env(), finish...).want(1, 5*time.Minute)

		if err := srv.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		start(t, srv.Env(), append(append([]string{"upload"}, s3Access(srv)...), "--signers", r.signers(), spill)...).want(0, 3*time.Minute)
		if e, err := os.ReadDir(spill); err != nil || len(e) > 0 {
			t.Errorf("the folder still holds %v, %v", e, err)
		}
		m, keys := s3Manifest(t, srv, "gone/", "-mem.lime.json")
		if !m.Complete || m.Image.Pieces == nil || m.Image.Pieces.Here == 0 || len(keys) < 4 {
			t.Errorf("complete %t, pieces %+v, objects %q", m.Complete, m.Image.Pieces, keys)
		}
		if m.Image.Pieces != nil && m.Image.Pieces.There == 0 {
			t.Error("the bucket had taken nothing before it failed: the test proves less than it should")
		}
		start(t, srv.Env(), append(append([]string{"verify"}, s3Access(srv)...), "--signers", r.signers(), m.Image.Location)...).want(0, 2*time.Minute)
		noUploads(t, srv)
	})

	t.Run("killed", func(t *testing.T) { killedSpilling(t, rigOf(t, r.guest), srv) })
}

// killedSpilling kills shotglass once it spills: what it had is stored later, as a partial image of a host that is named.
func killedSpilling(t *testing.T, r *rig, srv *lab.S3) {
	spill := filepath.Join(t.TempDir(), "spill")
	p := start(t, srv.Env(), r.s3Args(srv, "killed/", "--spill", spill, "--limit-rate", "8MB/s")...) // it does not end before it is killed
	r.uploading(srv, p)
	srv.Kill()
	r.eventually(3*time.Minute, "a part is in the journal", func() bool {
		select {
		case <-p.done:
			t.Fatalf("the program ended: %s", p.stderr.String())
		default:
		}
		files, _ := filepath.Glob(filepath.Join(spill, "*.spill", "journal"))
		if len(files) == 0 {
			return false
		}
		data, err := os.ReadFile(files[0])
		return err == nil && bytes.Count(data, []byte("\n")) > 1
	})
	p.cmd.Process.Kill()
	<-p.done
	r.clean(30 * time.Second)
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, srv.Env(), append(append([]string{"upload"}, s3Access(srv)...), "--sign-key", r.signKey(), spill)...).want(3, 3*time.Minute, "what was recorded before")
	m, keys := s3Manifest(t, srv, "killed/", "-mem.lime.partial.json")
	f := m.Target.Facts
	if m.Complete || m.Rescued == nil || m.Rescued.Recorded.IsZero() || m.Case != "e2e" || m.Method.Source == "" || f == nil || !strings.HasPrefix(f.Version, "Linux version ") || len(m.RAM) == 0 || m.Image.Raw.Bytes == 0 {
		t.Errorf("objects %q, manifest %+v", keys, m)
	}
	start(t, srv.Env(), append(append([]string{"verify"}, s3Access(srv)...), "--signers", r.signers(), m.Image.Location)...).want(3, 2*time.Minute)
	noUploads(t, srv)
}

// TestS3Hangs lets the server hang in the middle of a capture, and interrupts that: what was
// captured is kept, and the user gets away.
func TestS3Hangs(t *testing.T) {
	t.Parallel()
	srv := startS3(t)
	r := newRig(t)
	spill := filepath.Join(t.TempDir(), "spill")
	p := start(t, srv.Env(), r.s3Args(srv, "hangs/", "--spill", spill)...)
	r.uploading(srv, p)
	time.Sleep(8 * time.Second) // some parts are stored
	if err := srv.Freeze(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(8 * time.Second) // some hang
	p.cmd.Process.Signal(syscall.SIGINT)
	begin := time.Now()
	p.want(130, 5*time.Minute, "shotglass upload "+spill)
	t.Logf("left %s after the signal", time.Since(begin).Round(time.Second))
	r.clean(30 * time.Second)
	if err := srv.Thaw(); err != nil {
		t.Fatal(err)
	}
	start(t, srv.Env(), append(append([]string{"upload"}, s3Access(srv)...), spill)...).want(3, 3*time.Minute)
	keys, err := srv.Keys(t.Context(), "hangs/")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(keys, func(k string) bool { return strings.HasSuffix(k, "-mem.lime.partial.json") })
	if i < 0 {
		t.Fatalf("objects %q", keys)
	}
	image := "s3://" + srv.Bucket + "/" + strings.TrimSuffix(keys[i], ".partial.json")
	start(t, srv.Env(), append(append([]string{"verify"}, s3Access(srv)...), "--signers", r.signers(), image)...).want(3, 2*time.Minute)
	noUploads(t, srv)
}

// TestS3BadLink stores through a link that cuts connections and holds them up.
func TestS3BadLink(t *testing.T) {
	srv := startS3(t)
	for _, e := range srv.Env() {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	link := newBadLink(t, strings.TrimPrefix(srv.Endpoint, "https://"))
	s := s3Sink(t, srv, "link/", func(o *s3.Options) { o.Endpoint, o.SegmentSize = "https://"+link.addr, 23<<20 })
	data := bytes.Repeat([]byte("0123456789abcdef"), 60<<20/16)
	o, err := s.CreateSized(t.Context(), "image.lime", int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Write(data); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if link.cuts.Load() < 3 {
		t.Errorf("the link cut %d connections only", link.cuts.Load())
	}
	rd, err := s3Sink(t, srv, "link/", nil).Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	if got, err := io.ReadAll(rd); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v, or they differ", len(got), err)
	}
	noUploads(t, srv)
}

// A badLink forwards connections. It cuts every other one after 3 MB, with a reset, and holds
// every third up for a second.
type badLink struct {
	addr string
	cuts atomic.Int32
}

func newBadLink(t *testing.T, to string) *badLink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &badLink{addr: l.Addr().String()}
	go func() {
		for n := 0; ; n++ {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go b.forward(in, to, n)
		}
	}()
	return b
}

func (b *badLink) forward(in net.Conn, to string, n int) {
	defer in.Close()
	if n%3 == 0 {
		time.Sleep(time.Second)
	}
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		io.Copy(in, out)
		in.Close()
	}()
	if n%2 == 0 {
		if k, _ := io.CopyN(out, in, 3_000_000); k == 3_000_000 {
			b.cuts.Add(1)
			in.(*net.TCPConn).SetLinger(0)
		}
		return
	}
	io.Copy(out, in)
}
