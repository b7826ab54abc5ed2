package repository

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Fetcher reads the files of a repository. It is safe for concurrent use.
type Fetcher interface {
	// Fetch returns the file called name, slash-separated and below the
	// repository, of at most limit bytes: of a longer one it returns an error, not a part. Its
	// error wraps fs.ErrNotExist if there is no such file. It ends when ctx does.
	Fetch(ctx context.Context, name string, limit int64) ([]byte, error)
	// String is the repository's URL or folder, without secrets.
	String() string
}

// A refusal is an error that another try would not mend.
type refusal struct{ error }

// TooLong is the error of a Fetcher for a file that is longer than limit.
func TooLong(limit int64) error { return refusal{fmt.Errorf("has more than %d bytes", limit)} }

// ReadAtMost reads all of r, if that is not more than limit bytes. Fetchers are made of it.
func ReadAtMost(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, TooLong(limit)
	}
	return data, err
}

// A Folder is a repository in the file system. Links that lead out of it are not followed.
type Folder struct{ path string }

var _ Fetcher = (*Folder)(nil)

// NewFolder returns the repository in the folder at path. The folder need not be there
// before something is fetched.
func NewFolder(path string) (*Folder, error) {
	abs, err := filepath.Abs(path)
	return &Folder{abs}, err
}

func (f *Folder) String() string { return f.path }

// Fetch reads a regular file.
func (f *Folder) Fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	name = filepath.FromSlash(name)
	// Opening a FIFO would block, so the name is looked at first.
	if err := regular(root.Stat(name)); err != nil {
		return nil, err
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := regular(file.Stat()); err != nil {
		return nil, err
	}
	return ReadAtMost(file, limit)
}

func regular(info fs.FileInfo, err error) error {
	if err == nil && !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	return err
}

// Web is a repository behind HTTPS.
type Web struct {
	base     *url.URL
	client   *http.Client
	insecure bool
	wait     time.Duration // before the second try; twice as long before the third
}

var _ Fetcher = (*Web)(nil)

// WebOptions tune a Web. The zero value is for https, and for http to this machine.
type WebOptions struct {
	// InsecureHTTP takes http to other machines: anybody in between sees which kernels are
	// asked for, and can withhold newer lists. Signatures are checked all the same.
	InsecureHTTP bool
	// Roots are the CAs that may vouch for the server; nil means the system's.
	Roots *x509.CertPool
	// Transport is for tests; nil means one with time limits and the system's CAs.
	Transport http.RoundTripper
}

const (
	answerTimeout = 20 * time.Second // until a server's headers are there
	fileTimeout   = 5 * time.Minute  // for one file: 16 MiB at 56 kB/s
	attempts      = 3                // for what may pass
	maxRedirects  = 5
)

// NewWeb returns the repository at an https URL, or an http URL of this machine.
func NewWeb(address string, o WebOptions) (*Web, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("is no valid URL") // the error could hold a password
	case u.User != nil:
		return nil, errors.New("has a login name or a password in it, which would end up in manifests")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("has a query or a fragment: it must be the repository's folder")
	case u.Host == "":
		return nil, errors.New("names no host")
	}
	u.Path = strings.TrimRight(u.Path, "/") // one repository, one name
	w := &Web{base: u, insecure: o.InsecureHTTP, wait: time.Second / 2}
	if err := w.allowed(u); err != nil {
		return nil, err
	}
	rt := o.Transport
	if rt == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.ResponseHeaderTimeout = answerTimeout
		t.MaxResponseHeaderBytes = 64 << 10
		t.TLSClientConfig = &tls.Config{RootCAs: o.Roots}
		rt = t
	}
	w.client = &http.Client{Transport: rt, Timeout: fileTimeout, CheckRedirect: w.redirect}
	return w, nil
}

// allowed refuses to talk in clear to other machines.
func (w *Web) allowed(u *url.URL) error {
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("%q is neither https nor http", u.Scheme)
	case w.insecure || loopback(u.Hostname()):
		return nil
	}
	return errors.New("http to another machine: anybody in between sees which kernels you ask for, and can withhold newer lists; use https")
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// redirect follows within the same host only: a repository is who the user named.
func (w *Web) redirect(req *http.Request, via []*http.Request) error {
	switch err := w.allowed(req.URL); {
	case len(via) > maxRedirects:
		return refusal{fmt.Errorf("more than %d redirects", maxRedirects)}
	case err != nil:
		return refusal{fmt.Errorf("redirect to %s: %w", req.URL.Redacted(), err)}
	case !strings.EqualFold(req.URL.Hostname(), w.base.Hostname()):
		return refusal{fmt.Errorf("redirect to another host, %s: give its URL if that is where the repository is", req.URL.Host)}
	case w.base.Scheme == "https" && req.URL.Scheme != "https":
		return refusal{errors.New("redirect from https to http")}
	}
	return nil
}

func (w *Web) String() string { return w.base.String() }

// Fetch gets one file. What may pass, such as a connection that breaks or an answer of 500,
// is tried again twice.
func (w *Web) Fetch(ctx context.Context, name string, limit int64) (data []byte, err error) {
	for try := range attempts {
		if try > 0 {
			wait := time.NewTimer(time.Duration(try) * w.wait)
			select {
			case <-ctx.Done():
				wait.Stop()
				return nil, ctx.Err()
			case <-wait.C:
			}
		}
		if data, err = w.fetch(ctx, name, limit); err == nil || ctx.Err() != nil {
			return data, err
		}
		if r, ok := errors.AsType[refusal](err); ok {
			return nil, r.error
		}
	}
	return nil, fmt.Errorf("%w (tried %d times)", err, attempts)
}

func (w *Web) fetch(ctx context.Context, name string, limit int64) (data []byte, err error) {
	// Some servers take a plus sign for a blank.
	u := w.base.String() + "/" + strings.ReplaceAll(name, "+", "%2B")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "shotglass")
	// Otherwise the library would unpack what a server says is packed, such as a list.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := w.client.Do(req)
	if err != nil {
		var wrong *url.Error
		if errors.As(err, &wrong) {
			err = wrong.Err // the URL stands in our own message
		}
		return nil, err
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusNotFound, code == http.StatusGone:
		return nil, refusal{fmt.Errorf("the server says %s: %w", resp.Status, fs.ErrNotExist)}
	case code == http.StatusForbidden: // S3's word for what is not there, to who may not list
		return nil, refusal{fmt.Errorf("the server says %s: %w", resp.Status, fs.ErrPermission)}
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return nil, fmt.Errorf("the server says %.60q", resp.Status)
	default:
		return nil, refusal{fmt.Errorf("the server says %.60q", resp.Status)}
	}
	if resp.ContentLength > limit {
		return nil, TooLong(limit)
	}
	if data, err = ReadAtMost(resp.Body, limit); err != nil {
		return nil, fmt.Errorf("broken off: %w", err)
	}
	return data, nil
}
