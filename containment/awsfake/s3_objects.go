package awsfake

import (
	"crypto/md5"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// objectOps are S3's reads of objects.
var objectOps = map[string]operation{
	"ListObjectsV2": {action: "s3:ListBucket", on: onBucket, do: (&setting{}).guarded("s3:ListBucket", listObjects)},
	"GetObject": {action: "s3:GetObject", on: func(r *Request) []string { return []string{onBucket(r)[0] + "/" + r.Path["key"]} },
		do: (&setting{}).guarded("s3:GetObject", getObject)},
}

// objectRead is the operation among these that a request is for; empty: none.
func objectRead(r *Request, key string) string {
	switch {
	case r.HTTP.Method != http.MethodGet:
		return ""
	case key != "":
		return "GetObject"
	case r.HTTP.URL.Query().Get("list-type") == "2":
		return "ListObjectsV2"
	}
	return ""
}

func listObjects(r *Request, b *Bucket) (any, error) {
	q := r.HTTP.URL.Query()
	var keys []string
	for _, k := range sorted(b.Objects) {
		if strings.HasPrefix(k, q.Get("prefix")) {
			keys = append(keys, k)
		}
	}
	from, _ := strconv.Atoi(q.Get("continuation-token"))
	keys = keys[min(from, len(keys)):]
	size := 1000
	if n := r.Cloud.PageSize; n > 0 {
		size = n
	}
	x := X{Name: "ListBucketResult", Kids: []X{el("Name", b.Name), el("Prefix", q.Get("prefix")), el("IsTruncated", size < len(keys))}}
	if size < len(keys) {
		keys = keys[:size]
		x.Kids = append(x.Kids, el("NextContinuationToken", from+size))
	}
	encoded := q.Get("encoding-type") == "url"
	if encoded {
		x.Kids = append(x.Kids, el("EncodingType", "url"))
	}
	for _, k := range keys {
		text := k
		if encoded {
			text = strings.ReplaceAll(url.QueryEscape(k), "%2F", "/")
		}
		x.Kids = append(x.Kids, el("Contents", []X{el("Key", text), el("Size", len(b.Objects[k])), el("ETag", etag(b.Objects[k])), el("LastModified", stamp(Start)), el("StorageClass", "STANDARD")}))
	}
	return xmlOf(x), nil
}

// getObject gives an object, or a range of it if it is still the one that is asked for.
func getObject(r *Request, b *Bucket) (any, error) {
	body, ok := b.Objects[r.Path["key"]]
	if !ok {
		return nil, &Error{Code: "NoSuchKey", Message: "The specified key does not exist.", Status: http.StatusNotFound}
	}
	out := &rest{header: map[string]string{"ETag": etag(body)}}
	if want := r.HTTP.Header.Get("If-Match"); want != "" && want != etag(body) {
		return nil, &Error{Code: "PreconditionFailed", Message: "At least one of the pre-conditions you specified did not hold", Status: http.StatusPreconditionFailed}
	}
	if want := r.HTTP.Header.Get("Range"); want != "" {
		var from, to int
		if n, err := fmt.Sscanf(want, "bytes=%d-%d", &from, &to); n != 2 || err != nil || from >= len(body) || to < from {
			return nil, &Error{Code: "InvalidRange", Message: "The requested range is not satisfiable", Status: http.StatusRequestedRangeNotSatisfiable}
		}
		to = min(to, len(body)-1)
		out.status, out.header["Content-Range"] = http.StatusPartialContent, fmt.Sprintf("bytes %d-%d/%d", from, to, len(body))
		body = body[from : to+1]
	}
	out.body = string(body)
	return out, nil
}

func etag(body []byte) string { return fmt.Sprintf("\"%x\"", md5.Sum(body)) }
