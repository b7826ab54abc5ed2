//go:build e2e

package bench

import (
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/e2e/lab"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// BenchmarkS3 captures into a bucket, beside the same capture to disk: once with a
// server that throws everything away, so that it is shotglass that is measured, and once
// with a real one on the same two cores.
func BenchmarkS3(b *testing.B) {
	for _, im := range images(b) {
		for _, c := range []struct {
			compression string
			server      func(*testing.B) s3.Options
			name        string
		}{
			{frame.Zstd, nullS3, "null"},
			{frame.None, nullS3, "null"},
			{frame.Zstd, versitygw, "versitygw"},
		} {
			b.Run(im.name+"/"+c.compression+"-"+c.name, func(b *testing.B) {
				r := newRig(b, im)
				o := c.server(b)
				var n atomic.Int32
				run := captureTo("→s3-"+c.name, c.compression, func(b *testing.B, dir string) (sink.Sink, error) {
					o.Prefix = fmt.Sprintf("run-%d/", n.Add(1))
					return s3.New(b.Context(), o)
				})
				rival := captureTo("→disk", c.compression, toDisk)
				race(b, r, "To S3, beside the same to disk", im.name, run, rival, 0)
			})
		}
	}
}

func setenv(b *testing.B, env []string) {
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		b.Setenv(k, v)
	}
}

func versitygw(b *testing.B) s3.Options {
	l, err := lab.Open()
	if err != nil {
		b.Skip(err)
	}
	srv, err := l.StartS3(b.Context())
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { srv.Close() })
	setenv(b, srv.Env())
	return s3.Options{Bucket: srv.Bucket, Endpoint: srv.Endpoint, PathStyle: true}
}

// nullS3 is a server that reads, answers and forgets.
func nullS3(b *testing.B) s3.Options {
	dir := b.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := lab.SelfSigned(cert, key); err != nil {
		b.Fatal(err)
	}
	addr := startHelper(b, nil, "s3", cert, key)
	none := filepath.Join(dir, "none")
	setenv(b, []string{
		"AWS_ACCESS_KEY_ID=null", "AWS_SECRET_ACCESS_KEY=null", "AWS_REGION=us-east-1", "AWS_CA_BUNDLE=" + cert,
		"AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none, "AWS_EC2_METADATA_DISABLED=true",
	})
	return s3.Options{Bucket: "null", Endpoint: "https://" + addr, PathStyle: true}
}

// serveNull answers what sink/s3 asks while it stores an image. It echoes the checksums that
// it is sent: to compute them costs next to nothing, and is not what is measured.
func serveNull(args []string) error {
	cert, err := tls.LoadX509KeyPair(args[0], args[1])
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	const sum = "X-Amz-Checksum-Crc64nvme"
	only := new(http.Protocols)
	only.SetHTTP1(true) // as S3
	srv := http.Server{Protocols: only, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 256<<10)); err != nil {
			return
		}
		_, begins := r.URL.Query()["uploads"]
		w.Header().Set("ETag", `"0123456789abcdef"`)
		if v := r.Header.Get(sum); v != "" {
			w.Header().Set(sum, v)
		}
		switch {
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case begins:
			xml.NewEncoder(w).Encode(struct {
				XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
				UploadId string
			}{UploadId: "1"})
		case r.Method == http.MethodPost:
			xml.NewEncoder(w).Encode(struct {
				XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
				ETag              string
				ChecksumCRC64NVME string
			}{ETag: `"0123456789abcdef-1"`, ChecksumCRC64NVME: r.Header.Get(sum)})
		}
	}), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}}
	fmt.Fprintln(os.Stderr, "bench: null S3 server on", l.Addr())
	return srv.ServeTLS(l, "", "")
}
