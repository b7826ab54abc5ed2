package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// SignatureHeader carries "t=SECONDS,v1=HEX": the HMAC-SHA256, under the secret, of the
// seconds in decimal, a dot, and the body. A receiver compares it, and refuses old times.
const SignatureHeader = "X-Shotglass-Signature"

// A Webhook takes messages as JSON, by POST.
type Webhook struct {
	url    *url.URL
	secret []byte
	client *http.Client
	now    func() time.Time
}

var _ Target = (*Webhook)(nil)

// NewWebhook checks the URL; it is of https, or of http on this machine, unless insecure.
// A secret, if there is one, signs the messages.
func NewWebhook(raw string, secret []byte, insecure bool) (*Webhook, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("no valid URL") // the error would show what may be a secret
	case u.User != nil:
		return nil, errors.New("a password does not belong in a URL; sign with a secret")
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("not a URL of https")
	case u.Scheme == "http" && !insecure && !loopback(u.Hostname()):
		return nil, fmt.Errorf("http://%s: without TLS anybody in between reads where the evidence is, and can forge it", u.Host)
	}
	client := &http.Client{
		// A redirect could lead anywhere, and turns POST into GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Webhook{url: u, secret: secret, client: client, now: time.Now}, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// String names the server alone: the path of a webhook is often its password.
func (w *Webhook) String() string { return w.url.Scheme + "://" + w.url.Host + "/..." }

// Send makes one attempt.
func (w *Webhook) Send(ctx context.Context, m Message, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(body))
	if err != nil {
		return &permanent{errors.New("the URL cannot be asked for")}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "shotglass")
	req.Header.Set("X-Shotglass-Delivery", m.ID)
	req.Header.Set("X-Shotglass-Event", m.Event)
	if w.secret != nil {
		req.Header.Set(SignatureHeader, sign(w.secret, w.now(), body))
	}
	resp, err := w.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // it would show the URL
			err = u.Err
		}
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.IsNotFound {
			return &permanent{err}
		}
		return err
	}
	io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	resp.Body.Close()
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return fmt.Errorf("it answered %d", code)
	default:
		return &permanent{fmt.Errorf("it answered %d", code)}
	}
}

func sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(t + "."))
	h.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(h.Sum(nil))
}
