package s3

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/crc64nvme"
)

// A fake is a server of S3 in this process, for what real servers do not do: faults at a
// chosen call. A real one is in package e2e.
type fake struct {
	*httptest.Server

	mu      sync.Mutex
	objects map[string]*stored
	uploads map[string]*uploading
	calls   []call
	// fault, if set, may answer a call; it returns false to let it be served.
	fault func(c call, w http.ResponseWriter) bool
	// echo, if set, alters the checksums in answers.
	echo func(op, sum string) string
	// pace, if set, slows the reading of a request's body down.
	pace func(r *http.Request) io.Reader
	// versions are what the bucket keeps, by key and version; nil: it keeps none.
	versions map[string]*stored
	n        int
}

type stored struct {
	data []byte
	id   string
	etag string
}

type uploading struct {
	key, id string
	parts   map[int][]byte
}

// A call is one request as the server saw it.
type call struct {
	Op     string
	Key    string
	Header http.Header
	Query  map[string][]string
	Body   []byte
	Nth    int // of its kind, from 1
}

const bucket = "evidence"

func newFake(t *testing.T) *fake {
	f := &fake{objects: map[string]*stored{}, uploads: map[string]*uploading{}}
	f.Server = httptest.NewTLSServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

// isolate keeps the machine's own credentials and configuration out.
func isolate(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(k, v)
	}
}

func (f *fake) options() Options {
	return Options{
		Bucket: bucket, Prefix: "case-1/", Endpoint: f.URL, PathStyle: true, PartSize: minPartSize,
		HTTPClient: f.Client(), Attempts: 4, backoff: 5 * time.Millisecond,
	}
}

func (f *fake) sink(t *testing.T, change ...func(*Options)) *Sink {
	t.Helper()
	o := f.options()
	for _, c := range change {
		c(&o)
	}
	s, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func opOf(r *http.Request, key string) string {
	q := r.URL.Query()
	switch {
	case key == "" && r.Method == http.MethodHead:
		return "HeadBucket"
	case key == "" && q.Has("versioning"):
		return "GetBucketVersioning"
	case key == "" && r.Method == http.MethodGet && q.Has("list-type"):
		return "ListObjectsV2"
	case key == "" && r.Method == http.MethodGet && q.Has("uploads"):
		return "ListMultipartUploads"
	case key == "" && q.Has("object-lock"):
		return "GetObjectLockConfiguration"
	case r.Method == http.MethodHead:
		return "HeadObject"
	case r.Method == http.MethodGet && q.Has("uploadId"):
		return "ListParts"
	case r.Method == http.MethodGet:
		return "GetObject"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost && q.Has("uploadId"):
		return "CompleteMultipartUpload"
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "UploadPart"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "AbortMultipartUpload"
	}
	return r.Method + " " + r.URL.String()
}

func apiError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	b, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	in := io.Reader(r.Body)
	if f.pace != nil {
		in = f.pace(r)
	}
	body, err := io.ReadAll(in)
	f.mu.Lock()
	defer f.mu.Unlock()
	c := call{Op: opOf(r, key), Key: key, Header: r.Header.Clone(), Query: r.URL.Query(), Body: body}
	for _, old := range f.calls {
		if old.Op == c.Op {
			c.Nth++
		}
	}
	c.Nth++
	f.calls = append(f.calls, c)
	if f.fault != nil && f.fault(c, w) {
		return
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if b != bucket {
		apiError(w, 404, "NoSuchBucket")
		return
	}
	f.answer(w, c)
}

func (f *fake) sum(op string, data []byte) string {
	s := checksum(crc64nvme.Checksum(data))
	if f.echo != nil {
		s = f.echo(op, s)
	}
	return s
}

// answer serves a call. f.mu is held.
func (f *fake) answer(w http.ResponseWriter, c call) {
	sent := c.Header.Get("X-Amz-Checksum-Crc64nvme")
	upload := f.uploads[strings.Join(c.Query["uploadId"], "")]
	obj := f.objects[c.Key]
	set := func(op string, data []byte) {
		if s := f.sum(op, data); s != "" {
			w.Header().Set("X-Amz-Checksum-Crc64nvme", s)
		}
	}
	switch c.Op {
	case "HeadBucket":
	case "GetBucketVersioning":
		io.WriteString(w, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
	case "GetObjectLockConfiguration":
		io.WriteString(w, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")
	case "ListObjectsV2":
		f.list(w, c)
	case "ListMultipartUploads":
		f.listUploads(w, c)
	case "HeadObject", "GetObject":
		if v := strings.Join(c.Query["versionId"], ""); v != "" {
			obj = f.versions[c.Key+"?"+v]
		}
		if obj == nil {
			apiError(w, 404, "NoSuchKey")
			return
		}
		w.Header().Set("ETag", obj.etag)
		w.Header().Set("X-Amz-Meta-Shotglass-Id", obj.id)
		if f.versions != nil {
			w.Header().Set("X-Amz-Version-Id", versionOfETag(obj.etag))
		}
		if c.Op == "HeadObject" {
			set(c.Op, obj.data)
			w.Header().Set("Content-Length", strconv.Itoa(len(obj.data)))
			return
		}
		if m := c.Header.Get("If-Match"); m != "" && m != obj.etag {
			apiError(w, 412, "PreconditionFailed")
			return
		}
		if c.Header.Get("Range") == "" {
			w.Write(obj.data)
			return
		}
		var a, z int
		fmt.Sscanf(c.Header.Get("Range"), "bytes=%d-%d", &a, &z)
		w.Header().Set("Content-Length", strconv.Itoa(z+1-a))
		w.WriteHeader(206)
		w.Write(obj.data[a : z+1])
	case "PutObject":
		if obj != nil && c.Header.Get("If-None-Match") == "*" {
			apiError(w, 412, "PreconditionFailed")
			return
		}
		if m := c.Header.Get("If-Match"); m != "" && obj == nil {
			apiError(w, 404, "NoSuchKey")
			return
		} else if m != "" && m != obj.etag {
			apiError(w, 412, "PreconditionFailed")
			return
		}
		if sent != checksum(crc64nvme.Checksum(c.Body)) {
			apiError(w, 400, "BadDigest")
			return
		}
		f.store(c.Key, c.Header.Get("X-Amz-Meta-Shotglass-Id"), c.Body)
		set(c.Op, c.Body)
		w.Header().Set("ETag", f.objects[c.Key].etag)
	case "CreateMultipartUpload":
		f.n++
		id := fmt.Sprintf("upload-%d", f.n)
		f.uploads[id] = &uploading{c.Key, c.Header.Get("X-Amz-Meta-Shotglass-Id"), map[int][]byte{}}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case "UploadPart":
		if upload == nil {
			apiError(w, 404, "NoSuchUpload")
			return
		}
		if sent != checksum(crc64nvme.Checksum(c.Body)) {
			apiError(w, 400, "BadDigest")
			return
		}
		n, _ := strconv.Atoi(c.Query["partNumber"][0])
		upload.parts[n] = c.Body
		set(c.Op, c.Body)
		w.Header().Set("ETag", fmt.Sprintf("%q", "part"+strconv.Itoa(n)))
	case "ListParts":
		if upload == nil {
			apiError(w, 404, "NoSuchUpload")
			return
		}
		io.WriteString(w, "<ListPartsResult>")
		for n, data := range upload.parts {
			fmt.Fprintf(w, "<Part><PartNumber>%d</PartNumber><ETag>%q</ETag><Size>%d</Size></Part>", n, "part"+strconv.Itoa(n), len(data))
		}
		io.WriteString(w, "</ListPartsResult>")
	case "AbortMultipartUpload":
		if upload == nil {
			apiError(w, 404, "NoSuchUpload")
			return
		}
		delete(f.uploads, c.Query["uploadId"][0])
		w.WriteHeader(204)
	case "CompleteMultipartUpload":
		f.complete(w, c, upload, obj)
	default:
		apiError(w, 501, "NotImplemented")
	}
}

// list answers two objects a page.
func (f *fake) list(w http.ResponseWriter, c call) {
	prefix, after := strings.Join(c.Query["prefix"], ""), strings.Join(c.Query["continuation-token"], "")
	var keys []string
	for k := range f.objects {
		if rest, ok := strings.CutPrefix(k, prefix); ok && k > after && (!slices.Contains(c.Query["delimiter"], "/") || !strings.Contains(rest, "/")) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	text, encoding := c.keyText()
	io.WriteString(w, "<ListBucketResult>"+encoding)
	if len(keys) > 2 {
		keys = keys[:2]
		fmt.Fprint(w, "<IsTruncated>true</IsTruncated><NextContinuationToken>")
		xml.EscapeText(w, []byte(keys[1]))
		fmt.Fprint(w, "</NextContinuationToken>")
	}
	for _, k := range keys {
		fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>%d</Size><LastModified>2026-01-31T10:11:12Z</LastModified></Contents>", text(k), len(f.objects[k].data))
	}
	io.WriteString(w, "</ListBucketResult>")
}

// listUploads answers two uploads a page.
func (f *fake) listUploads(w http.ResponseWriter, c call) {
	after := strings.Join(c.Query["key-marker"], "") + "\x00" + strings.Join(c.Query["upload-id-marker"], "")
	where := func(id string) string { return f.uploads[id].key + "\x00" + id }
	var ids []string
	for id := range f.uploads {
		if where(id) > after {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(where(a), where(b)) })
	text, encoding := c.keyText()
	io.WriteString(w, "<ListMultipartUploadsResult>"+encoding)
	if len(ids) > 2 {
		ids = ids[:2]
		fmt.Fprintf(w, "<IsTruncated>true</IsTruncated><NextKeyMarker>%s</NextKeyMarker><NextUploadIdMarker>%s</NextUploadIdMarker>", text(f.uploads[ids[1]].key), ids[1])
	}
	for _, id := range ids {
		fmt.Fprintf(w, "<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>2026-01-31T10:11:12Z</Initiated></Upload>", text(f.uploads[id].key), id)
	}
	io.WriteString(w, "</ListMultipartUploadsResult>")
}

// keyText is how a key stands in a list: without an encoding, S3 writes references to control characters, which XML 1.0 forbids.
func (c call) keyText() (text func(string) string, encoding string) {
	if slices.Contains(c.Query["encoding-type"], "url") {
		return func(k string) string { return strings.ReplaceAll(url.QueryEscape(k), "%2F", "/") }, "<EncodingType>url</EncodingType>"
	}
	return func(k string) string {
		var b strings.Builder
		for _, r := range k {
			if r < ' ' {
				fmt.Fprintf(&b, "&#x%x;", r)
			} else {
				xml.EscapeText(&b, []byte(string(r)))
			}
		}
		return b.String()
	}, ""
}

func (f *fake) complete(w http.ResponseWriter, c call, upload *uploading, obj *stored) {
	if obj != nil && c.Header.Get("If-None-Match") == "*" {
		apiError(w, 412, "PreconditionFailed")
		return
	}
	if upload == nil {
		apiError(w, 404, "NoSuchUpload")
		return
	}
	var list struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(c.Body, &list); err != nil {
		apiError(w, 400, "MalformedXML")
		return
	}
	var all bytes.Buffer
	for i, p := range list.Part {
		data, ok := upload.parts[p.PartNumber]
		if !ok || p.PartNumber != i+1 {
			apiError(w, 400, "InvalidPart")
			return
		}
		if i < len(list.Part)-1 && len(data) < minPartSize {
			apiError(w, 400, "EntityTooSmall")
			return
		}
		all.Write(data)
	}
	if c.Header.Get("X-Amz-Mp-Object-Size") != strconv.Itoa(all.Len()) {
		apiError(w, 400, "InvalidRequest")
		return
	}
	if c.Header.Get("X-Amz-Checksum-Crc64nvme") != checksum(crc64nvme.Checksum(all.Bytes())) || c.Header.Get("X-Amz-Checksum-Type") != "FULL_OBJECT" {
		apiError(w, 400, "BadDigest")
		return
	}
	f.store(c.Key, upload.id, all.Bytes())
	delete(f.uploads, c.Query["uploadId"][0])
	fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>%s</ETag><ChecksumCRC64NVME>%s</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>",
		f.objects[c.Key].etag, f.sum(c.Op, all.Bytes()))
}

func (f *fake) store(key, id string, data []byte) {
	f.n++
	o := &stored{data, id, fmt.Sprintf("%q", "etag-"+strconv.Itoa(f.n))}
	f.objects[key] = o
	if f.versions != nil {
		f.versions[key+"?"+versionOfETag(o.etag)] = o
	}
}

func versionOfETag(etag string) string { return "v-" + strings.Trim(etag, `"`) }

// of returns the calls of a kind.
func (f *fake) of(op string) (found []call) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c.Op == op {
			found = append(found, c)
		}
	}
	return found
}

func (f *fake) keys() (keys []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k := range f.objects {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// noUploads fails when an upload was left behind.
func (f *fake) noUploads(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, u := range f.uploads {
		t.Errorf("upload %s of %s was left with %d parts", id, u.key, len(u.parts))
	}
}
