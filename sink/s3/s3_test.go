package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/minio/crc64nvme"

	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/sinktest"
)

func TestConformance(t *testing.T) {
	isolate(t)
	sinktest.Test(t, func(t *testing.T) sink.Sink {
		f := newFake(t)
		t.Cleanup(func() { f.noUploads(t) })
		return f.sink(t)
	}, sinktest.Options{})
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>12) ^ byte(i*7)
	}
	return b
}

func create(t *testing.T, s *Sink, name string) sink.Object {
	t.Helper()
	o, err := s.CreateSized(t.Context(), name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func write(t *testing.T, o sink.Object, data []byte) {
	t.Helper()
	if n, err := o.Write(data); n != len(data) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
}

func (f *fake) content(t *testing.T, name string, want []byte) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.objects["case-1/"+name]; o == nil || !bytes.Equal(o.data, want) {
		t.Errorf("%s is not stored as written", name)
	}
}

func TestPartSizes(t *testing.T) {
	const mib, gib, tib = 1 << 20, int64(1) << 30, int64(1) << 40
	for _, tt := range []struct{ expected, want int64 }{
		{0, 16}, {gib, 16}, {140 * gib, 16}, {512 * gib, 56}, {tib, 111}, {4 * tib, 444}, {12 * tib, 1330},
	} {
		size := partSize(defaultPartSize, tt.expected)
		if size != tt.want*mib {
			t.Errorf("parts for %d bytes have %d MiB, want %d", tt.expected, size/mib, tt.want)
		}
		var fits int64
		for n := range maxParts {
			fits += grown(size, tt.expected > 0, n)
		}
		if fits < tt.expected+tt.expected/10 || tt.expected == 0 && fits < 10*tib {
			t.Errorf("parts planned for %d bytes take %d in all", tt.expected, fits)
		}
	}
}

func TestMultipart(t *testing.T) {
	isolate(t)
	for _, n := range []int{minPartSize - 1, minPartSize, minPartSize + 1, 3*minPartSize - 1, 3 * minPartSize, 7*minPartSize + 5} {
		f := newFake(t)
		o, data := create(t, f.sink(t), "image.lime"), pattern(n)
		for rest := data; len(rest) > 0; {
			k := min(len(rest), 1_234_567)
			write(t, o, rest[:k])
			rest = rest[k:]
		}
		r, err := o.Commit(t.Context())
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		f.content(t, "image.lime", data)
		if want := checksum(crc64nvme.Checksum(data)); r.Checksums["crc64nvme"] != want || r.ETag == "" || r.Size != int64(n) {
			t.Errorf("%d bytes: receipt %+v, want checksum %s", n, r, want)
		}
		f.noUploads(t)
	}
}

// TestTerms checks on the requests what not every server checks.
func TestTerms(t *testing.T) {
	isolate(t)
	f := newFake(t)
	until := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	s := f.sink(t, func(o *Options) {
		o.KMSKey, o.BucketKey, o.StorageClass, o.Tags = "alias/evidence", true, "STANDARD_IA", map[string]string{"case": "a b&c"}
		o.LockMode, o.RetainUntil, o.LegalHold, o.BucketOwner = "COMPLIANCE", until, true, "123456789012"
	})
	if err := s.Check(t.Context(), "image.lime"); err != nil {
		t.Fatal(err)
	}
	big := create(t, s, "image.lime")
	write(t, big, pattern(minPartSize+1))
	if _, err := big.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	small, err := s.Create(t.Context(), "image.lime.json")
	if err != nil {
		t.Fatal(err)
	}
	write(t, small, []byte("{}"))
	if _, err := small.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	terms := map[string]string{
		"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "alias/evidence",
		"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": "true", "X-Amz-Tagging": "case=a%20b%26c",
		"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date": "2031-02-03T04:05:06Z", "X-Amz-Object-Lock-Legal-Hold": "ON",
	}
	check := func(op string, want map[string]string) {
		calls := f.of(op)
		if len(calls) == 0 {
			t.Errorf("no %s", op)
		}
		for _, c := range calls {
			for k, v := range want {
				if got := c.Header.Get(k); got != v {
					t.Errorf("%s of %s: %s is %q, want %q", op, c.Key, k, got, v)
				}
			}
		}
	}
	with := func(more map[string]string) map[string]string {
		all := maps.Clone(terms)
		maps.Copy(all, more)
		return all
	}
	check("CreateMultipartUpload", with(map[string]string{"X-Amz-Checksum-Algorithm": "CRC64NVME", "X-Amz-Checksum-Type": "FULL_OBJECT", "X-Amz-Storage-Class": "STANDARD_IA"}))
	check("PutObject", with(map[string]string{"If-None-Match": "*", "X-Amz-Storage-Class": "", "X-Amz-Checksum-Crc64nvme": checksum(crc64nvme.Checksum([]byte("{}"))), "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}))
	check("CompleteMultipartUpload", map[string]string{"If-None-Match": "*", "X-Amz-Checksum-Type": "FULL_OBJECT"})
	for _, c := range f.calls {
		if c.Header.Get("X-Amz-Expected-Bucket-Owner") != "123456789012" {
			t.Errorf("%s of %s goes to whoever owns the bucket", c.Op, c.Key)
		}
	}
	for _, c := range f.of("UploadPart") {
		if c.Header.Get("X-Amz-Checksum-Crc64nvme") == "" {
			t.Error("a part without checksum")
		}
	}
}

func TestCheckLeavesNothing(t *testing.T) {
	isolate(t)
	f := newFake(t)
	s := f.sink(t)
	if s.Tell() != nil {
		t.Error("it tells before it looked")
	}
	if err := s.Check(t.Context(), "image.lime"); err != nil {
		t.Fatal(err)
	}
	f.noUploads(t)
	if k := f.keys(); len(k) > 0 {
		t.Errorf("objects %q", k)
	}
	if tell := strings.Join(s.Tell(), "\n"); !strings.Contains(tell, "versioning is on, Object Lock is on") || !strings.Contains(tell, "not proven") {
		t.Errorf("it tells %q", tell)
	}
}

// faulty calls f with each call of op and its number.
func faulty(op string, f func(n int, w http.ResponseWriter) bool) func(call, http.ResponseWriter) bool {
	return func(c call, w http.ResponseWriter) bool { return c.Op == op && f(c.Nth, w) }
}

func replying(status int, code string) func(int, http.ResponseWriter) bool {
	return func(_ int, w http.ResponseWriter) bool { apiError(w, status, code); return true }
}

func upTo(n int, f func(int, http.ResponseWriter) bool) func(int, http.ResponseWriter) bool {
	return func(i int, w http.ResponseWriter) bool { return i <= n && f(i, w) }
}

func reset(int, http.ResponseWriter) bool { panic(http.ErrAbortHandler) }

// TestSurvived are faults that end in a complete object.
func TestSurvived(t *testing.T) {
	isolate(t)
	for name, fault := range map[string]func(*fake) func(call, http.ResponseWriter) bool{
		"500 on parts": func(*fake) func(call, http.ResponseWriter) bool {
			return faulty("UploadPart", upTo(3, replying(500, "InternalError")))
		},
		"slow down": func(*fake) func(call, http.ResponseWriter) bool {
			return faulty("UploadPart", upTo(3, replying(503, "SlowDown")))
		},
		"reset in a part": func(*fake) func(call, http.ResponseWriter) bool { return faulty("UploadPart", upTo(2, reset)) },
		"damaged part": func(*fake) func(call, http.ResponseWriter) bool {
			return faulty("UploadPart", upTo(1, replying(400, "BadDigest")))
		},
		"500 on begin": func(*fake) func(call, http.ResponseWriter) bool {
			return faulty("CreateMultipartUpload", upTo(2, replying(500, "InternalError")))
		},
		"500 on complete": func(*fake) func(call, http.ResponseWriter) bool {
			return faulty("CompleteMultipartUpload", upTo(2, replying(500, "InternalError")))
		},
		"answer to complete lost": func(f *fake) func(call, http.ResponseWriter) bool {
			return func(c call, w http.ResponseWriter) bool {
				if c.Op == "CompleteMultipartUpload" && c.Nth == 1 {
					f.complete(&nowhere{http.Header{}}, c, f.uploads[c.Query["uploadId"][0]], nil)
					panic(http.ErrAbortHandler)
				}
				return false
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.fault = fault(f)
			o, data := create(t, f.sink(t), "image.lime"), pattern(3*minPartSize+9)
			write(t, o, data)
			r, err := o.Commit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if r.Checksums["crc64nvme"] == "" {
				t.Error("no checksum in the receipt")
			}
			f.content(t, "image.lime", data)
			f.noUploads(t)
		})
	}
	t.Run("answer to put lost", func(t *testing.T) {
		f := newFake(t)
		f.fault = func(c call, w http.ResponseWriter) bool {
			if c.Op == "PutObject" && c.Nth == 1 {
				f.answer(&nowhere{http.Header{}}, c)
				panic(http.ErrAbortHandler)
			}
			return false
		}
		o := create(t, f.sink(t), "image.lime")
		write(t, o, []byte("small"))
		if _, err := o.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.content(t, "image.lime", []byte("small"))
	})
}

// TestHang: a connection that goes silent is given up, and the part sent again.
func TestHang(t *testing.T) {
	isolate(t)
	f := newFake(t)
	end := make(chan struct{})
	defer close(end)
	f.fault = faulty("UploadPart", func(n int, _ http.ResponseWriter) bool {
		if n > 1 {
			return false
		}
		f.mu.Unlock()
		<-end
		f.mu.Lock()
		return true
	})
	o, data := create(t, f.sink(t, func(o *Options) { o.patient = time.Second / 2 }), "image.lime"), pattern(2*minPartSize+9)
	write(t, o, data)
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.content(t, "image.lime", data)
}

type nowhere struct{ h http.Header }

func (n *nowhere) Header() http.Header         { return n.h }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

// TestKeptShort lets one part fail for good: what is before it is kept, and told.
func TestKeptShort(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.fault = func(c call, w http.ResponseWriter) bool {
		if c.Op == "UploadPart" && c.Query["partNumber"][0] == "3" {
			apiError(w, 500, "InternalError")
			return true
		}
		return false
	}
	o, data := create(t, f.sink(t), "image.lime"), pattern(12*minPartSize)
	var err error
	for rest := data; len(rest) > 0 && err == nil; {
		k := min(len(rest), 1<<20)
		_, err = o.Write(rest[:k])
		rest = rest[k:]
	}
	if err == nil {
		_, err = o.Commit(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "part 3") {
		t.Fatalf("error %v, want that of part 3", err)
	}
	if _, again := o.Write([]byte("x")); again == nil {
		t.Error("Write after the failure succeeded")
	}
	r, err := o.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Size != 2*minPartSize || !r.Partial {
		t.Errorf("receipt %+v", r)
	}
	f.content(t, "image.lime", data[:2*minPartSize])
	f.noUploads(t)
}

// TestKeptWhole lets a part fail until Keep tries it once more.
func TestKeptWhole(t *testing.T) {
	isolate(t)
	f := newFake(t)
	s := f.sink(t)
	failing := 0
	f.fault = func(c call, w http.ResponseWriter) bool {
		if c.Op == "UploadPart" && c.Query["partNumber"][0] == "2" && failing < 8 { // Commit tries it again, too
			failing++
			apiError(w, 500, "InternalError")
			return true
		}
		return false
	}
	o, data := create(t, s, "image.lime"), pattern(2*minPartSize+3)
	write(t, o, data)
	if _, err := o.Commit(t.Context()); err == nil {
		t.Fatal("Commit succeeded")
	}
	r, err := o.Keep(t.Context())
	if err != nil || r.Size != int64(len(data)) {
		t.Fatalf("Keep = %+v, %v", r, err)
	}
	f.content(t, "image.lime", data)
}

func TestNothingKept(t *testing.T) {
	isolate(t)
	f := newFake(t)
	for _, op := range []string{"UploadPart", "CreateMultipartUpload PutObject"} {
		f.fault = func(c call, w http.ResponseWriter) bool {
			denied := strings.Contains(op, c.Op)
			if denied {
				apiError(w, 403, "AccessDenied")
			}
			return denied
		}
		o := create(t, f.sink(t), "image.lime")
		o.Write(pattern(minPartSize + 1))
		if _, err := o.Keep(t.Context()); !errors.Is(err, sink.ErrNothing) {
			t.Errorf("%s: Keep: %v, want ErrNothing", op, err)
		}
	}
	f.noUploads(t)
}

// TestTakenMeanwhile: another object appears under the name while ours is written.
func TestTakenMeanwhile(t *testing.T) {
	isolate(t)
	f := newFake(t)
	s := f.sink(t)
	big, small := create(t, s, "big.lime"), create(t, s, "small.lime")
	write(t, big, pattern(minPartSize+1))
	write(t, small, []byte("mine"))
	f.mu.Lock()
	f.store("case-1/big.lime", "other", []byte("theirs"))
	f.store("case-1/small.lime", "other", []byte("theirs"))
	f.mu.Unlock()
	for _, o := range []sink.Object{big, small} {
		if _, err := o.Commit(t.Context()); !errors.Is(err, sink.ErrExists) {
			t.Errorf("Commit: %v, want ErrExists", err)
		}
	}
	r, err := small.Keep(t.Context())
	if err != nil || r.Name == "small.lime" || r.Location != small.Location() {
		t.Errorf("Keep of the small one = %+v, %v", r, err)
	}
	f.content(t, r.Name, []byte("mine"))
	if _, err := big.Keep(t.Context()); err == nil || !strings.Contains(err.Error(), "upload-1") {
		t.Errorf("Keep of the big one: %v, want the upload that holds the bytes", err)
	}
	if l := big.Location(); !strings.HasSuffix(l, "big.lime?uploadId=upload-1") {
		t.Errorf("location %s", l)
	}
	if len(f.uploads) != 1 {
		t.Error("the captured parts were thrown away")
	}
	f.content(t, "big.lime", []byte("theirs"))
	f.content(t, "small.lime", []byte("theirs"))
}

// TestLies: a service that answers with other checksums is not believed.
func TestLies(t *testing.T) {
	isolate(t)
	for _, op := range []string{"UploadPart", "CompleteMultipartUpload", "PutObject"} {
		f := newFake(t)
		f.echo = func(o, sum string) string {
			if o == op {
				return "AAAAAAAAAAA="
			}
			return sum
		}
		o := create(t, f.sink(t), "image.lime")
		size := minPartSize + 1
		if op == "PutObject" {
			size = 9
		}
		write(t, o, pattern(size))
		if _, err := o.Commit(t.Context()); !errors.Is(err, errChecksum) {
			t.Errorf("%s: %v, want errChecksum", op, err)
		}
	}
}

func TestSilentServer(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.echo = func(_, sum string) string { return "" }
	o := create(t, f.sink(t), "image.lime")
	write(t, o, []byte("small"))
	r, err := o.Commit(t.Context())
	if err != nil || len(r.Checksums) > 0 {
		t.Errorf("receipt %+v, %v: want one without checksums", r, err)
	}
}

// TestAbortAfterCancel: the abort must get through although the user has cancelled.
func TestAbortAfterCancel(t *testing.T) {
	isolate(t)
	f := newFake(t)
	o := create(t, f.sink(t), "image.lime")
	write(t, o, pattern(2*minPartSize+1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	f.noUploads(t)
	if k := f.keys(); len(k) > 0 {
		t.Errorf("objects %q", k)
	}
}

func TestErrors(t *testing.T) {
	isolate(t)
	for _, tt := range []struct {
		op, code string
		status   int
		says     string
	}{
		{"CreateMultipartUpload", "AccessDenied", 403, "docs/s3.md"},
		{"CreateMultipartUpload", "KMS.DisabledException", 400, "--s3-kms-key"},
		{"CreateMultipartUpload", "ExpiredToken", 400, "--s3-role-arn"},
		{"CreateMultipartUpload", "RequestTimeTooSkewed", 403, "clock"},
	} {
		f := newFake(t)
		f.fault = faulty(tt.op, replying(tt.status, tt.code))
		err := f.sink(t).Check(t.Context(), "image.lime")
		var e *Error
		if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Hint(), tt.says) {
			t.Errorf("%s: %v", tt.code, err)
		}
	}
	f := newFake(t)
	s := f.sink(t, func(o *Options) { o.Bucket = "missing" })
	err := s.Check(t.Context(), "image.lime")
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no bucket: %v", err)
	}
	s = f.sink(t, func(o *Options) { o.LockMode, o.RetainFor = "GOVERNANCE", time.Hour })
	f.fault = faulty("GetObjectLockConfiguration", replying(404, "ObjectLockConfigurationNotFoundError"))
	if err := s.Check(t.Context(), "image.lime"); err == nil || !strings.Contains(err.Error(), "Object Lock") {
		t.Errorf("a lock in a bucket without: %v", err)
	}
}

// TestExpired: credentials that end while a capture runs are fetched again.
func TestExpired(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.fault = faulty("UploadPart", upTo(1, replying(400, "ExpiredToken")))
	s := f.sink(t)
	fetched := 0
	s.cfg.Credentials = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		fetched++
		return aws.Credentials{AccessKeyID: "A", SecretAccessKey: "B", CanExpire: true, Expires: time.Now().Add(time.Hour)}, nil
	}))
	o := create(t, s, "image.lime")
	write(t, o, pattern(minPartSize+1))
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if fetched < 2 {
		t.Errorf("credentials were fetched %d times", fetched)
	}
}

func TestTree(t *testing.T) {
	isolate(t)
	f := newFake(t)
	for _, key := range []string{"case-1/a.lime", "case-1/sub/a b", "case-2/c.lime"} {
		f.objects[key] = &stored{data: pattern(3), etag: "x"}
	}
	names, err := f.sink(t).Tree(t.Context())
	if err != nil || !slices.Equal(names, []string{"a.lime", "sub/a b"}) {
		t.Errorf("%q, %v", names, err)
	}
	f.fault = func(c call, w http.ResponseWriter) bool { apiError(w, 403, "AccessDenied"); return true }
	if _, err := f.sink(t).Tree(t.Context()); err == nil {
		t.Error("a place that may not be listed is listed")
	}
}

// TestOddKeys: keys that XML has no room for, and those that have what encodes them, are listed as they are.
func TestOddKeys(t *testing.T) {
	isolate(t)
	f := newFake(t)
	odd := []string{"\x01\x1b[2J.lime", "a b&<.lime", "a%41.lime", "a+b=c@d.lime", "é.lime"}
	for i, name := range odd {
		f.objects["case-1/"+name] = &stored{data: pattern(3), etag: "x"}
		f.uploads[fmt.Sprint("u", i)] = &uploading{key: "case-1/" + name}
	}
	f.uploads["again"] = &uploading{key: "case-1/a+b=c@d.lime"}
	names, err := f.sink(t).Tree(t.Context())
	if err != nil || !slices.Equal(names, odd) {
		t.Errorf("%q, %v", names, err)
	}
	l, err := f.sink(t).List(t.Context())
	if err != nil || l.Unknown != nil || len(l.Objects) != 1 || l.Objects[0].Name != "a+b=c@d.lime" {
		t.Errorf("%+v, %v", l, err)
	}
	if len(l.Unfinished) != 2 || l.Unfinished[0].Name != "a+b=c@d.lime" || l.Unfinished[1].Name != "a+b=c@d.lime" {
		t.Errorf("%+v", l.Unfinished)
	}
	if n := len(f.of("ListMultipartUploads")); n != 3 {
		t.Errorf("%d pages of uploads", n)
	}
}

// TestListDenied: who may not see uploads learns that, and gets the objects.
func TestListDenied(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.objects["case-1/a.lime"] = &stored{data: pattern(3), etag: "x"}
	f.objects["case-1/sub/b.lime"] = &stored{data: pattern(3), etag: "y"}
	f.objects["case-2/c.lime"] = &stored{data: pattern(3), etag: "z"}
	f.fault = func(c call, w http.ResponseWriter) bool {
		if c.Op == "ListMultipartUploads" {
			apiError(w, 403, "AccessDenied")
			return true
		}
		return false
	}
	l, err := f.sink(t).List(t.Context())
	if err != nil || len(l.Objects) != 1 || l.Objects[0].Name != "a.lime" || l.Objects[0].Size != 3 || l.Unknown == nil {
		t.Errorf("%+v, %v", l, err)
	}
	f.fault = func(c call, w http.ResponseWriter) bool { apiError(w, 403, "AccessDenied"); return true }
	if _, err := f.sink(t).List(t.Context()); err == nil {
		t.Error("a place that may not be listed is listed")
	}
}
