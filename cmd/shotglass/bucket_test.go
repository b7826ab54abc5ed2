package main

import (
	"bytes"
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// A shelf is a bucket in this process, of a server that stores and answers, and does not check: package e2e has one that does.
type shelf struct {
	url string

	mu      sync.Mutex
	objects map[string][]byte
	parts   map[string][]byte // of uploads that have not ended, by key and number
	// after, if set, is told what lies there after each request that changes it: what a kill at that time leaves.
	after func(objects map[string][]byte)
	last  http.Header                // of the last object that was put
	down  func(r *http.Request) bool // if set: whether a request fails
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1", "AWS_PROFILE": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(k, v)
	}
	s := &shelf{objects: map[string][]byte{}, parts: map[string][]byte{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	const sum = "X-Amz-Checksum-Crc64nvme"
	key, q := strings.TrimPrefix(r.URL.Path, "/evidence/"), r.URL.Query()
	data, there := s.objects[key]
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
	}
	etag := func(b []byte) string { return fmt.Sprintf(`"%x"`, md5.Sum(b)) }
	w.Header().Set(sum, r.Header.Get(sum))
	changed := true
	if s.down != nil && s.down(r) {
		fail(503, "ServiceUnavailable")
		return
	}
	switch part := q.Get("partNumber"); {
	case (r.Method == http.MethodPost && !q.Has("uploads") || r.Method == http.MethodPut && part == "") && there && r.Header.Get("If-None-Match") == "*":
		fail(412, "PreconditionFailed")
	case r.Method == http.MethodPut && part != "":
		n, _ := strconv.Atoi(part)
		s.parts[fmt.Sprintf("%s %05d", key, n)] = body
		w.Header().Set("ETag", etag(body))
	case r.Method == http.MethodPut:
		s.objects[key], s.last = body, r.Header
		w.Header().Set("ETag", etag(body))
	case q.Has("uploads"):
		xml.NewEncoder(w).Encode(struct {
			XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
			UploadId string
		}{UploadId: "1"})
	case r.Method == http.MethodPost:
		var all []byte
		for _, p := range slices.Sorted(maps.Keys(s.parts)) {
			if strings.HasPrefix(p, key+" ") {
				all = append(all, s.parts[p]...)
				delete(s.parts, p)
			}
		}
		s.objects[key] = all
		xml.NewEncoder(w).Encode(struct {
			XMLName                 xml.Name `xml:"CompleteMultipartUploadResult"`
			ETag, ChecksumCRC64NVME string
		}{ETag: etag(all), ChecksumCRC64NVME: r.Header.Get(sum)})
	case r.Method == http.MethodGet && q.Has("uploadId"):
		type part struct {
			PartNumber, Size int
			ETag             string
		}
		var list []part
		for p, b := range s.parts {
			if n, ours := strings.CutPrefix(p, key+" "); ours {
				number, _ := strconv.Atoi(n)
				list = append(list, part{number, len(b), etag(b)})
			}
		}
		xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"ListPartsResult"`
			Part    []part
		}{Part: list})
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		maps.DeleteFunc(s.parts, func(p string, _ []byte) bool { return strings.HasPrefix(p, key+" ") })
		w.WriteHeader(204)
	case q.Get("list-type") == "2":
		type contents struct {
			Key  string
			Size int
		}
		var list []contents
		text, encoding := func(k string) string { return k }, q.Get("encoding-type")
		if encoding == "url" {
			text = func(k string) string { return strings.ReplaceAll(url.QueryEscape(k), "%2F", "/") }
		}
		for _, k := range slices.Sorted(maps.Keys(s.objects)) {
			if strings.HasPrefix(k, q.Get("prefix")) {
				list = append(list, contents{text(k), len(s.objects[k])})
			}
		}
		xml.NewEncoder(w).Encode(struct {
			XMLName      xml.Name `xml:"ListBucketResult"`
			EncodingType string   `xml:",omitempty"`
			Contents     []contents
		}{EncodingType: encoding, Contents: list})
	case !there:
		fail(404, "NoSuchKey")
	default:
		changed = false
		w.Header().Set("ETag", etag(data))
		w.Header().Del(sum)
		http.ServeContent(w, r, "", startTime, bytes.NewReader(data))
	}
	if changed && s.after != nil {
		s.after(s.objects)
	}
}

// put stores an object as captures do, in segments if it is larger than that.
func (s *shelf) put(t *testing.T, name string, data []byte, segment int64) {
	t.Helper()
	to, err := s3.New(t.Context(), s3.Options{Bucket: "evidence", Endpoint: s.url, PathStyle: true, PartSize: 5 << 20, SegmentSize: segment})
	if err != nil {
		t.Fatal(err)
	}
	obj, err := to.CreateSized(t.Context(), name, int64(len(data)))
	if err == nil {
		_, err = obj.Write(data)
	}
	if err == nil {
		_, err = obj.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *shelf) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects))
}

// run runs the program with access to the shelf.
func (s *shelf) run(t *testing.T, command string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"shotglass", command, "--s3-endpoint", s.url, "--s3-path-style"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// shelfImage is a LiME image that does not compress.
func shelfImage(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := lime.NewWriter(&b)
	if err := w.Begin(lime.Range{Start: 0x100000, End: 0x100000 + uint64(size) - 1}); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	w.Write(noise)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
